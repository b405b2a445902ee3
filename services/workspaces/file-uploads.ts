/** file-uploads — what a multipart form (or a data URI in one of its fields) becomes: checked names, types and sizes, then bytes and row. */
import type { Readable } from 'node:stream';
import type { Config } from '../../mixins/shared/config.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import { shortId } from '../../mixins/shared/ids.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { uploadKey } from './dsul/layout.ts';
import { checkedMetadata, expiryOf, newShareToken, visibility } from './file-access.ts';
import { type Fetch, spooledContent, spooledOf } from './spooled.ts';
import type { Author } from './store/draft.ts';
import type { FileRow } from './store/rows.ts';
import type { Store } from './store/store.ts';

interface Uploaded {
  originalname: string;
  mimetype: string;
  base64?: string;
  /** Its bytes wait at the gateway (spooled.ts). */
  spooled?: unknown;
}

const MAX_NAME_CHARS = 250;
const MAX_FILES = 50;
const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{5,63}$/;

export interface NewFile {
  row: Omit<FileRow, '_rev'>;
  /** The bytes, or where they come from. */
  content: () => Buffer | Readable;
}

/** @throws InvalidUploadError · PayloadTooLarge · MissingFieldError */
export function newFiles(config: Config, workspaceId: string, body: unknown, author: Author, now: number, fetch: Fetch): NewFile[] {
  const form: JsonObject = isPlainObject(body) ? body : {};
  const uploads = [...(Array.isArray(form.files) ? (form.files as Uploaded[]) : []), ...dataUris(form)];
  if (uploads.length === 0) throw fault('MissingFieldError', { message: 'The form holds no file.', data: { field: 'file' } });
  if (uploads.length > MAX_FILES)
    throw fault('PayloadTooLarge', { message: `At most ${MAX_FILES} files at once.`, data: { limit: MAX_FILES } });
  return uploads.map((upload, index) => newFile(config, workspaceId, upload, fieldsOf(form, index), author, now, fetch));
}

function newFile(
  config: Config,
  workspaceId: string,
  upload: Uploaded,
  fields: JsonObject,
  author: Author,
  now: number,
  fetch: Fetch,
): NewFile {
  const spooled = spooledOf(upload.spooled);
  const bytes = Buffer.from(spooled ? '' : (upload.base64 ?? ''), 'base64');
  const size = spooled?.size ?? bytes.length;
  const name = baseName(upload.originalname);
  if (size > config.uploadMaxBytes)
    throw fault('PayloadTooLarge', {
      message: `The file '${name}' is larger than ${config.uploadMaxBytes} bytes.`,
      data: { name, size, maxBytes: config.uploadMaxBytes },
    });
  const mimetype = String(upload.mimetype || 'application/octet-stream')
    .split(';')[0]
    ?.trim()
    .toLowerCase() as string;
  const isAllowed = config.uploadAllowedTypes.some(
    (type) => type === '*' || type === '*/*' || type === mimetype || (type.endsWith('/*') && mimetype.startsWith(type.slice(0, -1))),
  );
  if (!/^[\w.+-]+\/[\w.+-]+$/.test(mimetype) || !isAllowed || config.uploadForbiddenTypes.includes(mimetype))
    throw fault('InvalidUploadError', { message: `Files of type '${mimetype}' are not accepted.`, data: { name, mimetype } });

  const id = typeof fields.id === 'string' && fields.id !== '' ? fields.id : shortId(21);
  if (!ID.test(id) || isHostileName(id))
    throw fault('InvalidUploadError', { message: `The id of a file must match ${ID.source}.`, data: { id: id.slice(0, 80) } });
  const isPublic =
    fields.public === undefined || fields.public === ''
      ? config.uploadVisibility === 'public'
      : fields.public === true || fields.public === 'true';
  const at = new Date(now).toISOString();
  const by = author.userId;
  const row = {
    id,
    workspaceId,
    name,
    path: uploadKey(workspaceId, id, cleaned(name)),
    mimetype,
    size,
    metadata: checkedMetadata(fields.metadata),
    ...visibility(isPublic),
    ...expiryOf(fields.expiresAfter || 0, now),
    ...(fields.shareToken === 'true' || fields.shareToken === true ? { shareToken: newShareToken() } : {}),
    createdAt: at,
    updatedAt: at,
    ...(by ? { createdBy: by, updatedBy: by } : {}),
  };
  return { row, content: () => (spooled ? spooledContent(spooled, fetch) : bytes) };
}

/** Fields of the nth file: a repeated field applies by position, a single one to all. `metadata.<key>` are gathered. */
function fieldsOf(form: JsonObject, index: number): JsonObject {
  const nth = (value: unknown): unknown => (Array.isArray(value) ? value[index] : value);
  const single = Object.fromEntries(['id', 'expiresAfter', 'public', 'shareToken', 'metadata'].map((name) => [name, nth(form[name])]));
  const metadata: JsonObject = { ...checkedMetadata(single.metadata) };
  for (const [key, value] of Object.entries(form)) {
    const name = key.startsWith('metadata.') ? key.slice('metadata.'.length) : '';
    if (name && !isHostileName(name)) metadata[name] = nth(value);
  }
  return { ...single, ...(single.id !== undefined && index > 0 && !Array.isArray(form.id) ? { id: undefined } : {}), metadata };
}

/** `data:<type>;filename:<name>;base64,<data>`, also without the name. */
function dataUris(form: JsonObject): Uploaded[] {
  return Object.values(form)
    .flat()
    .flatMap((value) => {
      const match =
        typeof value === 'string' && value.startsWith('data:') ? /^data:([^;,]*)((?:;[^;,]*)*),/.exec(value.slice(0, 2000)) : null;
      if (!match) return [];
      const options = (match[2] as string).split(';');
      if (!options.includes('base64')) throw fault('InvalidUploadError', { message: 'A data URI must be in base64.' });
      const name = options.find((option) => option.startsWith('filename:'))?.slice('filename:'.length);
      return [{ originalname: name || 'file', mimetype: match[1] || 'text/plain', base64: (value as string).slice(match[0].length) }];
    });
}

/** The last part of a path, as browsers of any system send it. */
const baseName = (name: unknown): string =>
  String(name ?? 'file')
    .split(/[\\/]/)
    .at(-1)
    ?.replace(/\p{Cc}/gu, '')
    .slice(0, MAX_NAME_CHARS) || 'file';

const cleaned = (name: string): string => {
  const plain = name
    .normalize('NFD')
    .replace(/\p{M}/gu, '')
    .replace(/[^\w. ()+-]/g, '_')
    .slice(-120);
  return /^\.+$/.test(plain) ? 'file' : plain;
};

/** Writes the bytes, then the row that makes them visible. @throws AlreadyUsedError for the id */
export async function putFile(store: Store, { row, content }: NewFile): Promise<FileRow> {
  if (await store.documents.get<FileRow>('files', row.id)) throw taken(row.id);
  await store.uploads.write(row.path, content(), { contentType: row.mimetype });
  try {
    return await store.documents.insert<FileRow>('files', row);
  } catch (error) {
    throw isFault(error, 'AlreadyUsedError') ? taken(row.id) : error;
  }
}

const taken = (id: string) => fault('AlreadyUsedError', { message: `There is already a file '${id}'.`, data: { id } });

const SWEEP = 500;

/** Removes expired files, all of them; returns how many. */
export async function sweepExpired(store: Store, now: number): Promise<number> {
  let removed = 0;
  for (;;) {
    const rows = await store.documents.find<FileRow>('files', { expiresAtMs: { $lte: now } }, { limit: SWEEP });
    for (const row of rows) {
      await store.documents.remove('files', row.id);
      await store.uploads.remove(row.path);
    }
    removed += rows.length;
    if (rows.length < SWEEP) return removed;
  }
}
