/** http-client — how isomorphic-git reaches a server: guarded addresses, no redirects (credentials stay where they were meant for), a limit of bytes. */
import { MINUTE } from '../../../mixins/shared/clock.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { Guard } from '../../../mixins/shared/guard.ts';
import { undici } from '../../../mixins/shared/packages.ts';

interface Asked {
  url: string;
  method?: string;
  headers?: Record<string, string>;
  body?: AsyncIterableIterator<Uint8Array> | Uint8Array[];
}

interface Answered {
  url: string;
  method: string;
  statusCode: number;
  statusMessage: string;
  headers: Record<string, string>;
  body: AsyncIterableIterator<Uint8Array>;
}

export interface GitHttp {
  request(asked: Asked): Promise<Answered>;
}

/** Bytes of one answer: the history of a repository as packed by the server. */
const MAX_BYTES = 200_000_000;
const PATIENCE_MS = 2 * MINUTE;

export function gitHttp(guard: Guard, options: { isPlatform: boolean }): GitHttp {
  return {
    async request({ url, method = 'GET', headers = {}, body }) {
      const parts: Uint8Array[] = [];
      if (body) for await (const part of body) parts.push(part);
      const answer = await undici().request(url, {
        method: method as 'GET',
        headers,
        ...(parts.length > 0 ? { body: Buffer.concat(parts) } : {}),
        dispatcher: guard.dispatcherFor(new URL(url), options),
        headersTimeout: PATIENCE_MS,
        bodyTimeout: PATIENCE_MS,
      });
      return {
        url,
        method,
        statusCode: answer.statusCode,
        statusMessage: String(answer.statusCode),
        headers: Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)])),
        body: limited(answer.body),
      };
    },
  };
}

async function* limited(body: AsyncIterable<Uint8Array>): AsyncIterableIterator<Uint8Array> {
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > MAX_BYTES)
      throw fault('PayloadTooLarge', { message: `The repository sends more than ${MAX_BYTES} bytes.`, data: { maxBytes: MAX_BYTES } });
    yield part;
  }
}
