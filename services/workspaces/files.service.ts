/**
 * files — owns uploaded files: bytes in the area `uploads`, one row each.
 *
 * State   rows `files/<id>`; bytes `<workspaceId>/<id>.<name>`. Bytes are written before the row that shows them, and removed after it.
 * Emits   `workspaces.files.created|updated|deleted`.
 * Calls   `gateway.readUpload` of the gateway that took the form.
 */
import { Readable } from 'node:stream';
import type { ServiceSchema } from 'moleculer';
import type { Ability } from '../../mixins/auth/contract.ts';
import { MINUTE, SECOND, sleep } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import type { ReadUploadParams } from '../gateway/contract.ts';
import { type Call, editing, type Self } from './editing.mixin.ts';
import {
  assertShareable,
  fileQuery,
  isExpired,
  rangeOf,
  shareUrl,
  shownFile,
  shownToEditor,
  temporaryToken,
  tokenOpens,
} from './file-access.ts';
import { newFiles, putFile, sweepExpired } from './file-uploads.ts';
import { paging } from './listing.ts';
import type { Fetch } from './spooled.ts';
import type { FileRow } from './store/rows.ts';

type FileParams = { workspaceId: string; fileId: string; query?: Record<string, any>; body?: any };
type DownloadParams = { path: string; query?: Record<string, any>; headers?: Record<string, string> };

/** Workspace that anybody may upload to: profile pictures and the like. */
const PLATFORM = 'platform';
const PIECE_TIMEOUT_MS = 10 * SECOND;
const ACQUAINTED_WITHIN_MS = 3 * SECOND;
const LOOK_EVERY_MS = 100;
const SORTABLE = new Set(['createdAt', 'updatedAt', 'name', 'size', 'mimetype', 'id']);
/** Shown by a browser these could run scripts of strangers on the API's own origin. */
const ACTIVE_TYPES = /^(text\/html|application\/xhtml|image\/svg|text\/xml|application\/xml|text\/javascript|application\/javascript)/;

const missing = (id: string) => fault('ObjectNotFoundError', { message: 'There is no such file.', data: { subjectType: 'files', id } });

const files: ServiceSchema<any, any> = {
  name: 'files',
  mixins: [editing()],

  actions: {
    /** POST /workspaces/:workspaceId/files (multipart): the files, in the order of the parts. @throws InvalidUploadError · PayloadTooLarge */
    upload: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<FileParams>): Promise<JsonObject[]> {
        const workspaceId = await placeOf(this, ctx, 'create');
        const drafts = newFiles(this.config, workspaceId, ctx.params.body, this.author(ctx), Date.now(), fetchOf(this, ctx));
        const rows: FileRow[] = [];
        for (const draft of drafts) rows.push(await putFile(this.store, draft));
        await tell(this, ctx, workspaceId, 'created', rows);
        return rows.map((row) => shownToEditor(this.config, row));
      },
    },

    /** GET /workspaces/:workspaceId/files `?page, limit, sort, query={…}`; other keys filter by equality. */
    list: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<FileParams>): Promise<JsonObject[]> {
        const query = ctx.params.query ?? {};
        const { id } = await this.allowed(ctx, ctx.params.workspaceId, 'manage_security');
        const options = paging(query, { sortable: SORTABLE, defaultSort: '-createdAt' });
        const ability = await this.abilityOf(ctx, id);
        const rows = await this.store.documents.find<FileRow>('files', { $and: [{ workspaceId: id }, ...fileQuery(query)] }, options);
        return rows.filter((row) => !isExpired(row)).map((row) => shown(this, ability, row));
      },
    },

    /** GET /workspaces/:workspaceId/files/:fileId (id or path). A file the caller may not read is as one that does not exist. */
    get: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', fileId: 'string' },
      async handler(this: Self, ctx: Call<FileParams>): Promise<JsonObject> {
        const row = await findFile(this, ctx, 'read');
        return shown(this, await abilityAt(this, ctx, row.workspaceId), row);
      },
    },

    /** PATCH …: `public`, `shareToken` (true makes one, false removes it), `metadata`, `expiresAfter`; nothing else can be changed. */
    update: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', fileId: 'string' },
      async handler(this: Self, ctx: Call<FileParams>): Promise<JsonObject> {
        const row = await findFile(this, ctx, 'update');
        const { set, unset } = assertShareable(ctx.params.body, row, this.author(ctx), Date.now());
        const next = await this.store.documents.update<FileRow>('files', row.id, { set, unset });
        await tell(this, ctx, row.workspaceId, 'updated', [next]);
        return shownToEditor(this.config, next);
      },
    },

    /** PUT … (multipart, field `file`): new content under the same id and address. */
    replace: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', fileId: 'string' },
      async handler(this: Self, ctx: Call<FileParams>): Promise<JsonObject> {
        const row = await findFile(this, ctx, 'update');
        const [first] = newFiles(this.config, row.workspaceId, ctx.params.body, this.author(ctx), Date.now(), fetchOf(this, ctx));
        if (!first) throw fault('MissingFieldError', { message: 'The form must have a file field named file.', data: { field: 'file' } });
        const { mimetype, size, updatedAt } = first.row;
        await this.store.uploads.write(row.path, first.content(), { contentType: mimetype });
        const next = await this.store.documents.update<FileRow>('files', row.id, {
          set: { mimetype, size, updatedAt, updatedBy: this.author(ctx).userId ?? null },
        });
        await tell(this, ctx, row.workspaceId, 'updated', [next]);
        return shownToEditor(this.config, next);
      },
    },

    /** DELETE /workspaces/:workspaceId/files/:fileId */
    remove: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', fileId: 'string' },
      async handler(this: Self, ctx: Call<FileParams>): Promise<{ id: string }> {
        const row = await findFile(this, ctx, 'delete');
        await this.store.documents.remove('files', row.id);
        await this.store.uploads.remove(row.path);
        await tell(this, ctx, row.workspaceId, 'deleted', [row]);
        return { id: row.id };
      },
    },

    /** POST …/share `{ expiresIn? }` (seconds, 60): an address that opens for that time. */
    share: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', fileId: 'string' },
      async handler(this: Self, ctx: Call<FileParams>): Promise<JsonObject> {
        let row = await findFile(this, ctx, 'read');
        const expiresIn = Number(isPlainObject(ctx.params.body) ? (ctx.params.body.expiresIn ?? 60) : 60);
        if (!Number.isFinite(expiresIn) || expiresIn <= 0 || expiresIn > 366 * 24 * 3600)
          throw fault('BadParametersError', {
            message: 'expiresIn must be a number of seconds, at most a year.',
            data: { parameter: 'expiresIn' },
          });
        if (!row.shareToken) {
          row = await findFile(this, ctx, 'update');
          row = await this.store.documents.update<FileRow>(
            'files',
            row.id,
            assertShareable({ shareToken: true }, row, this.author(ctx), Date.now()),
          );
        }
        const expiresAt = Date.now() + expiresIn * 1000;
        return { url: shareUrl(this.config, row, temporaryToken(row, expiresAt)), expiresAt: new Date(expiresAt).toISOString(), expiresIn };
      },
    },

    /** GET /files/*path `?token`: the bytes, or a range of them. */
    download: {
      visibility: 'published',
      paced: true,
      identity: 'optional',
      params: { path: 'string' },
      async handler(this: Self, ctx: Call<DownloadParams>): Promise<unknown> {
        const { path, query = {}, headers = {} } = ctx.params;
        const row = (await fileAt(this, path)) ?? (await fileAt(this, decoded(path)));
        if (!row || isExpired(row)) throw missing(path.slice(0, 200));
        const isOpen = row.public || tokenOpens(row, query.token, Date.now());
        if (!isOpen) await assertReadable(this, ctx, row);

        const info = await this.store.uploads.info(row.path);
        if (!info) throw missing(row.id);
        const etag = `"${info.etag.replaceAll('"', '')}"`;
        const range = rangeOf(headers.range, info.size);
        this.setHeaders(ctx, {
          etag,
          'content-type': row.mimetype,
          'accept-ranges': 'bytes',
          'x-content-type-options': 'nosniff',
          'cache-control': row.public ? 'public, max-age=300' : 'private, no-cache',
          ...(ACTIVE_TYPES.test(row.mimetype)
            ? {
                'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(row.name)}`,
                'content-security-policy': "sandbox; default-src 'none'",
              }
            : {}),
        });
        if (headers['if-none-match']?.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)) {
          ctx.meta.$statusCode = 304;
          return Readable.from([]);
        }
        if (range === 'unsatisfiable') {
          ctx.meta.$statusCode = 416;
          this.setHeaders(ctx, { 'content-range': `bytes */${info.size}` });
          return Readable.from([]);
        }
        if (range) {
          ctx.meta.$statusCode = 206;
          this.setHeaders(ctx, {
            'content-range': `bytes ${range.start}-${range.end}/${info.size}`,
            'content-length': String(range.end - range.start + 1),
          });
        } else this.setHeaders(ctx, { 'content-length': String(info.size) });
        const content = await this.store.uploads.stream(row.path, range ?? undefined);
        if (!content) throw missing(row.id);
        return content.body;
      },
    },
  },

  async started(this: Self & { sweep?: NodeJS.Timeout }) {
    const sweep = () =>
      sweepExpired(this.store, Date.now()).catch((error) => this.logger.warn(`Expired files could not be removed: ${error.message}`));
    this.sweep = setInterval(sweep, 5 * MINUTE);
    this.sweep.unref?.();
    void sweep();
  },
  async stopped(this: Self & { sweep?: NodeJS.Timeout }) {
    clearInterval(this.sweep);
  },
};

export default files;

async function placeOf(self: Self, ctx: Call<FileParams>, action: string): Promise<string> {
  if (ctx.params.workspaceId !== PLATFORM) return (await self.allowed(ctx, ctx.params.workspaceId, action, 'files')).id;
  (await self.abilityOf(ctx)).assert(action, 'files', { workspaceId: PLATFORM });
  return PLATFORM;
}

/**
 * A gateway that has just started may ask before this node has heard of it; one that is away for a moment stays known. One that nobody hears of is the
 * invention of a client.
 * @throws InvalidUploadError
 */
async function acquainted(self: Self, node: string): Promise<void> {
  const isKnown = () => self.broker.registry.getNodeList({ onlyAvailable: false }).some((known) => (known as { id?: unknown }).id === node);
  for (let waited = 0; !isKnown(); waited += LOOK_EVERY_MS) {
    if (waited >= ACQUAINTED_WITHIN_MS) throw fault('InvalidUploadError', { message: 'The form names a node that is not there.' });
    await sleep(LOOK_EVERY_MS);
  }
}

/** Pieces of a file come from the very node that holds it. */
function fetchOf(self: Self, ctx: Call<FileParams>): Fetch {
  const meta = self.systemMeta(self.identityOf(ctx).correlationId) as object;
  return async ({ node, ref }, offset, length) => {
    await acquainted(self, node);
    return self.broker.call<string, ReadUploadParams>('gateway.readUpload', { ref, offset, length }, {
      nodeID: node,
      meta,
      timeout: PIECE_TIMEOUT_MS,
    } as never);
  };
}

/** The path arrives as it stood in the address. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

async function fileAt(self: Self, path: string): Promise<FileRow | null> {
  const [row] = await self.store.documents.find<FileRow>('files', { path }, { limit: 1 });
  return row ?? null;
}

async function findFile(self: Self, ctx: Call<FileParams>, action: string): Promise<FileRow> {
  const { fileId } = ctx.params;
  const workspaceId = ctx.params.workspaceId === PLATFORM ? PLATFORM : await self.idOf(ctx.params.workspaceId);
  const row = (await self.store.documents.get<FileRow>('files', fileId)) ?? (await fileAt(self, fileId));
  if (!row || row.workspaceId !== workspaceId || isExpired(row)) throw missing(fileId.slice(0, 200));
  const ability = await abilityAt(self, ctx, workspaceId);
  if (!ability.can('read', 'files', row)) throw missing(fileId.slice(0, 200));
  if (action !== 'read') ability.assert(action, 'files', row);
  return row;
}

const abilityAt = (self: Self, ctx: Call<any>, workspaceId: string): Promise<Ability> =>
  workspaceId === PLATFORM ? self.abilityOf(ctx) : self.abilityOf(ctx, workspaceId);

const shown = (self: Self, ability: Ability, row: FileRow): JsonObject =>
  ability.can('update', 'files', row) ? shownToEditor(self.config, row) : shownFile(self.config, row);

async function assertReadable(self: Self, ctx: Call<any>, row: FileRow): Promise<void> {
  const ability = await abilityAt(self, ctx, row.workspaceId);
  if (!ability.can('read', 'files', row)) throw missing(row.id);
}

/** Events of files are told after the fact: a row is its own truth, and a file that is there without its event is not lost. */
async function tell(self: Self, ctx: Call<any>, workspaceId: string, what: string, rows: FileRow[]): Promise<void> {
  const { source } = self.author(ctx);
  for (const { id, name, path, mimetype, size } of rows)
    await self.bus
      .send(`workspaces.files.${what}`, { file: { id, name, path, mimetype, size }, workspaceId }, { source: { ...source, workspaceId } })
      .catch((error) => self.logger.warn(`The event of file ${id} was not sent: ${error.message}`));
}
