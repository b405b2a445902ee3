/**
 * s3 — files in a bucket of any S3-compatible server, through minio's client. Keys are `<area>/<key>`.
 *
 * Conditional writes send `If-Match` / `If-None-Match`, which S3 and MinIO honour atomically. A server that refuses them (Swift: 501) or ignores
 * them is helped by a look before the write, and writers of one process wait for each other; between processes a window of one round trip
 * remains there. See docs/decisions/022. The etag is the server's. Listings carry no content types: S3 does not tell them.
 */
import type { IncomingMessage } from 'node:http';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Client } from 'minio';
import { fault, isFault } from '../../../shared/errors.ts';
import { configurationFault, reach } from '../../locations.ts';
import type { FileInfo, FilesDriver, WriteOptions } from '../contract.ts';
import { checkArea, checkKey, checkPrefix } from '../keys.ts';

const VARIABLE = 'FILES_URL';
const START_WITHIN_MS = 8_000;
const PARALLEL = 16;
/** Keys of one listing, also removed at once. */
const PAGE_KEYS = 1000;
/** Content up to this size is one request; more goes in parts of this size (S3 wants at least 5 MiB). */
const PART_BYTES = 8 * 1024 * 1024;
const ATTEMPTS = 4;
/** What servers answer for content without a type. */
const NO_TYPE = new Set(['application/octet-stream', 'binary/octet-stream']);

interface Place {
  client: Client;
  bucket: string;
  agent: HttpAgent;
}

export interface S3Options {
  startWithinMs?: number;
  pageKeys?: number;
  partBytes?: number;
}

/** @throws ConfigurationError when the URL is wrong or the bucket can neither be found nor made */
export async function s3Files(url: string, area: string, options: S3Options = {}): Promise<FilesDriver> {
  checkArea(area);
  const { client, bucket, agent, region } = parseUrl(url);
  try {
    await reach(VARIABLE, url, () => ensureBucket(client, bucket, region), options.startWithinMs ?? START_WITHIN_MS);
  } catch (error) {
    agent.destroy();
    throw error;
  }
  return withFaults(driver({ client, bucket, agent }, `${area}/`, options));
}

function driver({ client, bucket, agent }: Place, root: string, { pageKeys = PAGE_KEYS, partBytes = PART_BYTES }: S3Options): FilesDriver {
  const queues = new Map<string, Promise<unknown>>();

  const request = (
    method: string,
    key: string,
    headers: Record<string, string>,
    body: Buffer | '',
    codes: number[],
  ): Promise<IncomingMessage> => client.makeRequestAsync({ method, bucketName: bucket, objectName: root + key, headers }, body, codes);

  async function info(key: string): Promise<FileInfo | null> {
    checkKey(key);
    const response = await absent(() => again(() => request('HEAD', key, {}, '', [200])));
    response?.resume();
    return response && infoOf(key, response);
  }

  async function get(key: string, headers: Record<string, string> = {}): Promise<IncomingMessage | null> {
    checkKey(key);
    return absent(() => again(() => request('GET', key, headers, '', [200, 206, 416])));
  }

  async function put(key: string, body: Buffer, headers: Record<string, string>): Promise<FileInfo> {
    const response = await request('PUT', key, headers, body, [200]);
    response.resume();
    return {
      key,
      size: body.length,
      etag: plainEtag(response.headers.etag),
      modifiedAt: Date.parse(response.headers.date ?? '') || Date.now(),
      ...(headers['content-type'] ? { contentType: headers['content-type'] } : {}),
    };
  }

  /** Large content, in parts; nothing is seen until the last step, and nothing stays when it breaks. */
  async function putParts(key: string, first: Buffer, rest: AsyncIterator<Buffer>, headers: Record<string, string>): Promise<FileInfo> {
    const objectName = root + key;
    const uploadID = await again(() => client.initiateNewMultipartUpload(bucket, objectName, headers));
    try {
      const parts: { part: number; etag: string }[] = [];
      for (let part: Buffer | undefined = first; part; ) {
        const body: Buffer = part;
        const partNumber = parts.length + 1;
        const { etag } = await again(() => client.uploadPart({ bucketName: bucket, objectName, uploadID, partNumber, headers: {} }, body));
        parts.push({ part: partNumber, etag });
        const next: IteratorResult<Buffer> = await rest.next();
        part = next.done ? undefined : next.value;
      }
      let attempts = 0;
      await again(() => {
        attempts++;
        return client.completeMultipartUpload(bucket, objectName, uploadID, parts as never);
      }).catch((error) => {
        // An upload that is gone after an attempt without answer was completed by that attempt.
        if (attempts === 1 || codeOf(error) !== 'NoSuchUpload') throw error;
      });
    } catch (error) {
      await client.abortMultipartUpload(bucket, objectName, uploadID).catch(() => {});
      throw error;
    }
    const written = await info(key);
    if (!written) throw fault('UpstreamUnavailable', { message: `'${key}' is not there after it was written.` });
    return written;
  }

  async function putIf(key: string, body: Buffer, headers: Record<string, string>, expected: string | null): Promise<FileInfo> {
    const conflict = (actual: string | null) => fault('VersionConflict', { data: { key, expected, actual } });
    const present = (await info(key))?.etag ?? null;
    if (present !== expected) throw conflict(present);
    const condition: Record<string, string> = expected === null ? { 'if-none-match': '*' } : { 'if-match': `"${expected}"` };
    try {
      // Sent once: if the answer were lost, a second attempt would meet the file of the first and report a conflict with itself.
      return await put(key, body, { ...headers, ...condition });
    } catch (error) {
      const code = codeOf(error);
      if (code === 'NotImplemented') return again(() => put(key, body, headers));
      if (['PreconditionFailed', 'ConditionalRequestConflict', 'NoSuchKey', 'NotFound'].includes(code))
        throw conflict((await info(key))?.etag ?? null);
      throw error;
    }
  }

  /** One after the other per key: conditional writers of this process never overtake each other. */
  function inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const mine = (queues.get(key) ?? Promise.resolve()).then(work, work);
    const settled = mine.then(
      () => {},
      () => {},
    );
    queues.set(key, settled);
    void settled.then(() => queues.get(key) === settled && queues.delete(key));
    return mine;
  }

  async function* list(prefix: string): AsyncGenerator<FileInfo> {
    const folder = checkPrefix(prefix);
    const from = root + (folder ? `${folder}/` : '');
    for (let after = ''; ; ) {
      const page = await again(() => client.listObjectsV2Query(bucket, from, after, '', pageKeys, ''));
      for (const found of page.objects as { name?: string; size: number; etag: string; lastModified: Date }[]) {
        // `a/` itself is how some tools mark a folder.
        if (!found.name || found.name.endsWith('/')) continue;
        yield {
          key: found.name.slice(root.length),
          size: found.size,
          etag: plainEtag(found.etag),
          modifiedAt: found.lastModified.getTime(),
        };
      }
      if (!page.isTruncated || !page.nextContinuationToken) return;
      after = page.nextContinuationToken;
    }
  }

  return {
    info,
    list,

    async read(key) {
      const response = await get(key);
      return response && { body: await buffer(response), info: infoOf(key, response) };
    },

    async stream(key, range) {
      const headers = range ? { range: `bytes=${range.start}-${range.end ?? ''}` } : undefined;
      const response = await get(key, headers);
      if (!response) return null;
      if (response.statusCode !== 416) return { body: response, info: infoOf(key, response) };
      response.resume();
      const found = await info(key);
      return found && { body: Readable.from([]), info: found };
    },

    async write(key, body, { contentType, ifMatch }: WriteOptions = {}) {
      checkKey(key);
      const headers: Record<string, string> = contentType ? { 'content-type': contentType } : {};
      if (ifMatch !== undefined) {
        const whole = body instanceof Readable ? await buffer(body) : Buffer.from(body);
        return inTurn(key, () => putIf(key, whole, headers, ifMatch));
      }
      if (!(body instanceof Readable)) return inTurn(key, () => again(() => put(key, Buffer.from(body), headers)));
      const parts = partsOf(body, partBytes);
      const first = await parts.next();
      const head = first.done ? Buffer.alloc(0) : first.value;
      if (head.length < partBytes) return inTurn(key, () => again(() => put(key, head, headers)));
      return inTurn(key, () => putParts(key, head, parts, headers));
    },

    async remove(key) {
      const found = await info(key);
      if (found) await again(() => client.removeObject(bucket, root + key));
      return found !== null;
    },

    async removeAll(prefix) {
      let removed = 0;
      for (let names: string[] = []; ; names = []) {
        for await (const { key } of list(prefix)) if (names.push(root + key) >= pageKeys) break;
        if (names.length === 0) return removed;
        const refused = (await again(() => client.removeObjects(bucket, names))).filter((answer) => answer?.Error);
        if (refused.length)
          throw fault('UpstreamUnavailable', { message: `${refused.length} files could not be removed: ${refused[0]?.Error?.Message}` });
        removed += names.length;
      }
    },

    async copyAll(from, to) {
      const source = checkPrefix(from);
      const target = checkPrefix(to);
      const keys: string[] = [];
      for await (const { key } of list(source)) keys.push(key);
      const rest = keys.values();
      let copied = 0;
      const worker = async () => {
        for (const key of rest) {
          const name = checkKey([target, source ? key.slice(source.length + 1) : key].filter(Boolean).join('/'));
          const done = await absent(() => again(() => client.copyObject(bucket, root + name, `/${bucket}/${root}${key}`)));
          if (done) copied++;
        }
      };
      await Promise.all(Array.from({ length: PARALLEL }, worker));
      return copied;
    },

    async close() {
      agent.destroy();
    },
  };
}

function parseUrl(url: string): Place & { region: string } {
  const problem = (what: string) =>
    configurationFault(VARIABLE, url, `${what}; s3://key:secret@host:port/bucket?region=…&tls=false is expected`);
  if (!URL.canParse(url)) throw problem('it is not a URL');
  const { hostname, port, username, password, pathname, searchParams } = new URL(url);
  const bucket = pathname.slice(1);
  if (!hostname || !username || !password) throw problem('host, key or secret is missing');
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) throw problem(`'${bucket}' is not the name of a bucket`);
  const useSSL = searchParams.get('tls') !== 'false';
  const region = searchParams.get('region') ?? 'us-east-1';
  const agent = useSSL ? new HttpsAgent({ keepAlive: true, maxSockets: 64 }) : new HttpAgent({ keepAlive: true, maxSockets: 64 });
  const client = new Client({
    endPoint: hostname,
    ...(port ? { port: Number(port) } : {}),
    useSSL,
    accessKey: decodeURIComponent(username),
    secretKey: decodeURIComponent(password),
    region,
    pathStyle: true,
    transportAgent: agent,
    // Which requests may be repeated is decided here, not by the client.
    retryOptions: { disableRetry: true },
  });
  return { client, bucket, agent, region };
}

async function ensureBucket(client: Client, bucket: string, region: string): Promise<void> {
  if (await client.bucketExists(bucket)) return;
  try {
    await client.makeBucket(bucket, region);
  } catch (error) {
    // Another node that starts at the same time has made it.
    if (!['BucketAlreadyOwnedByYou', 'BucketAlreadyExists'].includes(codeOf(error))) throw error;
  }
}

const plainEtag = (etag: string | undefined): string => (etag ?? '').replace(/^W\//, '').replace(/^"|"$/g, '');
const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? '');

function infoOf(key: string, { headers }: IncomingMessage): FileInfo {
  const type = headers['content-type'];
  const total = /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1] ?? headers['content-length'] ?? 0;
  return {
    key,
    size: Number(total),
    etag: plainEtag(headers.etag),
    modifiedAt: Date.parse(headers['last-modified'] ?? '') || 0,
    ...(type && !NO_TYPE.has(type) ? { contentType: type } : {}),
  };
}

/** `null` for what is not there. */
async function absent<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (['NoSuchKey', 'NotFound'].includes(codeOf(error))) return null;
    throw error;
  }
}

const TRANSIENT = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  'InternalError',
  'ServiceUnavailable',
  'SlowDown',
  'UnknownError',
]);

/** Repeats what may be done twice when the server or the network had a moment's trouble. */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= ATTEMPTS || !TRANSIENT.has(codeOf(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt * (0.5 + Math.random())));
    }
  }
}

/** The stream in pieces of `partBytes`, the last one shorter. */
async function* partsOf(body: Readable, partBytes: number): AsyncGenerator<Buffer, undefined> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    held.push(bytes);
    size += bytes.length;
    while (size >= partBytes) {
      const whole = Buffer.concat(held);
      yield whole.subarray(0, partBytes);
      held = [whole.subarray(partBytes)];
      size -= partBytes;
    }
  }
  if (size > 0) yield Buffer.concat(held);
}

/** Errors of the client and the server as faults of the catalogue; a caller's broken stream stays what it is. */
function withFaults(files: FilesDriver): FilesDriver {
  const wrapped: Record<string, unknown> = { ...files };
  for (const name of ['read', 'stream', 'info', 'write', 'remove', 'removeAll', 'copyAll'] as const) {
    const method = files[name] as (...args: unknown[]) => Promise<unknown>;
    wrapped[name] = async (...args: unknown[]) => {
      try {
        return await method(...args);
      } catch (error) {
        throw toFault(error);
      }
    };
  }
  wrapped.list = async function* (prefix: string) {
    try {
      yield* files.list(prefix);
    } catch (error) {
      throw toFault(error);
    }
  };
  return wrapped as unknown as FilesDriver;
}

function toFault(error: unknown): unknown {
  if (isFault(error) || !codeOf(error)) return error;
  return fault('UpstreamUnavailable', {
    message: 'The file store does not answer.',
    cause: error,
  });
}
