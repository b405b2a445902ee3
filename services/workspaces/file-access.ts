/** file-access — who may open a file and how it is shown: addresses, tokens, ranges, the fields a client may change or ask for. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Config } from '../../mixins/shared/config.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject, parseJson } from '../../mixins/shared/json.ts';
import type { Patch, Query } from '../../mixins/storage/documents/contract.ts';
import type { Author } from './store/draft.ts';
import type { FileRow } from './store/rows.ts';

const MAX_METADATA_BYTES = 20_000;

export const isExpired = (row: FileRow, now = Date.now()): boolean => row.expiresAtMs !== undefined && row.expiresAtMs <= now;

const addressOf = (config: Config, { path }: FileRow): string =>
  `${config.apiUrl}/files/${path.split('/').map(encodeURIComponent).join('/')}`;

/** Without the share token: it opens the file for ever, so who may merely read it (perhaps for today) does not learn it. */
export function shownFile(config: Config, row: FileRow): JsonObject {
  const { _rev, expiresAtMs: _ms, permissions: _permissions, shareToken: _token, ...shown } = row;
  return { ...shown, url: addressOf(config, row) };
}

export function shownToEditor(config: Config, row: FileRow): JsonObject {
  return { ...shownFile(config, row), ...(row.shareToken ? { shareToken: row.shareToken } : {}) };
}

export const shareUrl = (config: Config, row: FileRow, token: string): string => `${addressOf(config, row)}?token=${token}`;

const HASH_CHARS = 64;

/** Hash of share token, creation and expiry, then the expiry itself: nothing has to be kept. Removing the share token revokes all of them. */
export function temporaryToken({ shareToken, createdAt }: FileRow, expiresAtMs: number): string {
  return createHash('sha256').update(`${shareToken}${createdAt}${expiresAtMs}`).digest('hex') + expiresAtMs.toString(16);
}

/** Whether `token` is the file's share token, or a temporary one that is still alive. */
export function tokenOpens(row: FileRow, token: unknown, now: number): boolean {
  if (!row.shareToken || typeof token !== 'string') return false;
  if (isSame(token, row.shareToken)) return true;
  const expiresAtMs = Number.parseInt(token.slice(HASH_CHARS), 16);
  return Number.isSafeInteger(expiresAtMs) && expiresAtMs > now && isSame(token, temporaryToken(row, expiresAtMs));
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

const toBoolean = (value: unknown): boolean | undefined =>
  value === true || value === 'true' ? true : value === false || value === 'false' ? false : undefined;

export const newShareToken = (): string => randomBytes(64).toString('hex');

/** Fields that follow from a life in seconds; 0 or nothing is for ever. @throws BadParametersError */
export function expiryOf(expiresAfter: unknown, now: number): Pick<FileRow, 'expiresAfter' | 'expiresAt' | 'expiresAtMs'> {
  const seconds = Number(expiresAfter ?? 0);
  if (!Number.isFinite(seconds) || seconds < 0 || seconds > 100 * 366 * 24 * 3600)
    throw fault('BadParametersError', { message: 'expiresAfter must be a number of seconds.', data: { parameter: 'expiresAfter' } });
  if (seconds === 0) return {};
  const expiresAtMs = now + seconds * 1000;
  return { expiresAfter: seconds, expiresAt: new Date(expiresAtMs).toISOString(), expiresAtMs };
}

/** @throws RequestValidationError · PayloadTooLarge */
export function checkedMetadata(metadata: unknown): JsonObject {
  let value = metadata;
  if (typeof value === 'string') {
    try {
      value = parseJson(value);
    } catch {
      throw fault('RequestValidationError', {
        message: 'metadata must be a JSON object.',
        data: { problems: [{ path: 'metadata', message: 'is not JSON' }] },
      });
    }
  }
  if (value === undefined || value === null) return {};
  if (!isPlainObject(value))
    throw fault('RequestValidationError', {
      message: 'metadata must be an object.',
      data: { problems: [{ path: 'metadata', message: 'must be an object' }] },
    });
  if (Buffer.byteLength(JSON.stringify(value)) > MAX_METADATA_BYTES)
    throw fault('PayloadTooLarge', {
      message: `metadata is larger than ${MAX_METADATA_BYTES} bytes.`,
      data: { maxBytes: MAX_METADATA_BYTES },
    });
  return value;
}

/** The change a client asks for, of the four fields it may change. @throws RequestValidationError for any other */
export function assertShareable(body: unknown, row: FileRow, author: Author, now: number): Patch {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be an object.' });
  const allowed = ['public', 'shareToken', 'metadata', 'expiresAfter'];
  const others = Object.keys(body).filter((key) => !allowed.includes(key));
  if (others.length > 0)
    throw fault('RequestValidationError', {
      message: `Only ${allowed.join(', ')} can be changed.`,
      data: { problems: others.map((path) => ({ path, message: 'cannot be changed' })) },
    });
  const set: Record<string, unknown> = { updatedAt: new Date(now).toISOString(), ...(author.userId ? { updatedBy: author.userId } : {}) };
  const unset: string[] = [];
  const isPublic = toBoolean(body.public);
  if (isPublic !== undefined) Object.assign(set, visibility(isPublic));
  const share = toBoolean(body.shareToken);
  if (share === true && !row.shareToken) set.shareToken = newShareToken();
  if (share === false) unset.push('shareToken');
  if (body.metadata !== undefined) set.metadata = checkedMetadata(body.metadata);
  if (body.expiresAfter !== undefined) {
    const expiry = expiryOf(body.expiresAfter, now);
    if (expiry.expiresAtMs === undefined) unset.push('expiresAfter', 'expiresAt', 'expiresAtMs');
    else Object.assign(set, expiry);
  }
  return { set, unset };
}

/** A public file is one that everybody may read: the flag and the permission say the same. */
export const visibility = (isPublic: boolean): Pick<FileRow, 'public' | 'permissions'> => ({
  public: isPublic,
  permissions: isPublic ? { '*': { policies: { read: true } } } : {},
});

/** Filters of a list: `query` as JSON text, and equality of any known field. Values are texts, numbers or booleans, never operators. */
export function fileQuery(query: Record<string, any>): Query[] {
  const fields = /^(id|name|path|mimetype|size|public|createdBy|updatedBy|metadata\.[\w-]+)$/;
  let asked: unknown = query.query;
  if (typeof asked === 'string' && asked !== '') {
    try {
      asked = parseJson(asked);
    } catch {
      throw fault('BadParametersError', { message: 'query must be JSON.', data: { parameter: 'query' } });
    }
  }
  const { page: _page, limit: _limit, sort: _sort, query: _query, ...others } = query;
  const filters: Query[] = [];
  for (const [field, value] of [...Object.entries(isPlainObject(asked) ? asked : {}), ...Object.entries(others)]) {
    if (!fields.test(field) || !['string', 'number', 'boolean'].includes(typeof value))
      throw fault('BadParametersError', {
        message: `Files cannot be selected by '${field.slice(0, 60)}'.`,
        data: { parameter: field.slice(0, 60) },
      });
    const isText = field !== 'size' && field !== 'public';
    filters.push({ [field]: isText ? (value as string) : field === 'size' ? Number(value) : value === true || value === 'true' });
  }
  return filters;
}

/** First and last byte of a `Range` header; `null` when there is none to honour. @see https://www.rfc-editor.org/rfc/rfc9110#name-range */
export function rangeOf(header: string | undefined, size: number): { start: number; end: number } | 'unsatisfiable' | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return null;
  const start = match[1] === '' ? Math.max(size - Number(match[2]), 0) : Number(match[1]);
  const end = match[1] === '' || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (start >= size || start > end) return 'unsatisfiable';
  return { start, end };
}
