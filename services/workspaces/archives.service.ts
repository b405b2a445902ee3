/**
 * archives — import and export of workspaces as zip files.
 *
 * State   none of its own: an import is one change of the store, an export only reads.
 * Emits   `workspaces.imported`, and the events of pages, app instances and security that an import changes.
 * Calls   `runtime.check`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { bulkArchive } from './archive/bulk-export.ts';
import { importBulk, isBulk } from './archive/bulk-import.ts';
import { createFrom } from './archive/create-from.ts';
import { exported } from './archive/export-workspace.ts';
import { parseArchive } from './archive/import-archive.ts';
import { type Imported, importInto } from './archive/import-workspace.ts';
import { readArchive } from './archive/read-archive.ts';
import { CURRENT } from './dsul/layout.ts';
import { type Call, editing, type Self } from './editing.mixin.ts';
import { inTime, type Processing } from './patience.ts';

type ImportParams = {
  workspaceId: string;
  query?: Record<string, any>;
  body?: { files?: { originalname: string; base64: string; fieldname?: string }[] };
};

const archives: ServiceSchema<any, any> = {
  name: 'archives',
  mixins: [editing()],

  actions: {
    /** POST /workspaces/:workspaceId/import (multipart, field `archive`; `?prune=true`). @throws MissingFieldError · InvalidUploadError · PayloadTooLarge · PrismeError */
    import: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<ImportParams>): Promise<Imported | Processing> {
        const parsed = await parseArchive(readArchive(uploaded(this, ctx.params.body)));
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'update');
        const told = { workspaceId: row.id, event: 'workspaces.imported', timeout: ctx.params.query?.timeout };
        return inTime(this, told, importInto(this, ctx, row.id, parsed, { prune: isTrue(ctx.params.query?.prune) }));
      },
    },

    /** POST /workspaces/import: a new workspace from an archive, or several from a bulk archive. */
    importNew: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<ImportParams>): Promise<unknown> {
        const archive = uploaded(this, ctx.params.body);
        (await this.abilityOf(ctx)).assert('create', 'workspaces', {});
        if (isBulk(archive)) return importBulk(this, ctx, archive);
        return createFrom(this, ctx, archive);
      },
    },

    /** POST /workspaces/:workspaceId/versions/:versionId/export (also GET /workspaces/:workspaceId/export): the zip. */
    export: {
      visibility: 'published',
      paced: true,
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call<{ workspaceId: string; versionId?: string }>): Promise<unknown> {
        const row = await this.allowed(ctx, ctx.params.workspaceId, 'read');
        const version = ctx.params.versionId ?? CURRENT;
        return sendZip(this, ctx, await exported(this.store, row.id, version), `${row.id}-${version}.zip`);
      },
    },

    /** POST /workspaces/export `{ workspaces: { query }, includeApps? }`: those the caller may read, each as an archive of its own. */
    exportMany: {
      visibility: 'published',
      paced: true,
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body?: JsonObject }>): Promise<unknown> {
        return sendZip(this, ctx, await bulkArchive(this, ctx, ctx.params.body ?? {}), 'bulk-export.zip');
      },
    },
  },
};

export default archives;

const isTrue = (value: unknown): boolean => value === true || value === 'true';

function uploaded(self: Self, body: ImportParams['body']): Buffer {
  const files = Array.isArray(body?.files) ? body.files : [];
  const file = files.find(({ fieldname }) => fieldname === 'archive') ?? files[0];
  if (!file || typeof file.base64 !== 'string')
    throw fault('MissingFieldError', { message: 'The form must have a file field named archive.', data: { field: 'archive' } });
  if (!/\.(zip|x-zip-compressed)$/i.test(file.originalname ?? ''))
    throw fault('InvalidUploadError', { message: 'The archive must be a .zip file.', data: { name: file.originalname } });
  const bytes = Buffer.from(file.base64, 'base64');
  if (bytes.length > self.config.uploadMaxBytes)
    throw fault('PayloadTooLarge', {
      message: `The archive is larger than ${self.config.uploadMaxBytes} bytes.`,
      data: { maxBytes: self.config.uploadMaxBytes },
    });
  return bytes;
}

async function sendZip(self: Self, ctx: Call<any>, archive: Buffer, filename: string): Promise<unknown> {
  const { Readable } = await import('node:stream');
  self.setHeaders(ctx, {
    'content-type': 'application/octet-stream',
    'content-disposition': `attachment; filename=${filename}`,
    'content-length': String(archive.length),
  });
  return Readable.from([archive]);
}
