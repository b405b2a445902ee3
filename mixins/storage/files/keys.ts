/** keys — which names a file may have. Checked before any driver sees them. */
import { fault } from '../../shared/errors.ts';
import { isHostileName } from '../../shared/json.ts';

const MAX_KEY_BYTES = 900;
const MAX_SEGMENT_BYTES = 240;

const refuse = (key: unknown, why: string) =>
  fault('BadParametersError', {
    message: `'${String(key).slice(0, 100)}' cannot name a file: ${why}.`,
    data: { key: String(key).slice(0, 100) },
  });

/** @throws BadParametersError */
export function checkKey(key: unknown): string {
  if (typeof key !== 'string' || key === '') throw refuse(key, 'a name is expected');
  if (!key.isWellFormed()) throw refuse(key, 'it is not valid Unicode');
  // S3 allows 1024 bytes with the area before the key; a file system allows 255 per segment, and drivers add a suffix to some.
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw refuse(key, `it is longer than ${MAX_KEY_BYTES} bytes`);
  for (const segment of key.split('/')) {
    if (segment === '' || segment === '.' || segment === '..') throw refuse(key, "it has a segment that is empty, '.' or '..'");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
    if (/[\u0000-\u001f\u007f]/.test(segment) || segment.includes('\\')) throw refuse(key, 'it has a control character or a backslash');
    if (Buffer.byteLength(segment) > MAX_SEGMENT_BYTES) throw refuse(key, `a segment is longer than ${MAX_SEGMENT_BYTES} bytes`);
    if (isHostileName(segment)) throw refuse(key, `'${segment}' is a reserved word`);
  }
  return key;
}

/** A folder: a key without the last slash, or '' for everything. @throws BadParametersError */
export function checkPrefix(prefix: unknown): string {
  if (prefix === '') return '';
  return checkKey(typeof prefix === 'string' && prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);
}

/** Name of an area: the first segment of every key in a shared store. @throws BadParametersError */
export function checkArea(area: unknown): string {
  if (typeof area !== 'string' || !/^[a-z][a-z0-9-]{0,31}$/.test(area))
    throw refuse(area, 'an area has 1 to 32 lower case letters, digits or dashes');
  return area;
}
