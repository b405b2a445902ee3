/** key-part — text from outside as part of a cache key: as it is when short and harmless, else its hash. */
import { createHash } from 'node:crypto';

const MAX_CHARS = 200;

export const keyPart = (text: string): string =>
  text.length <= MAX_CHARS && text.isWellFormed() && !/[\0{}]/.test(text) ? text : `#${createHash('sha256').update(text).digest('hex')}`;
