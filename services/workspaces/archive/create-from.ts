/** create-from — a new workspace made of an archive. */
import { fault, isFault, toPublicError } from '../../../mixins/shared/errors.ts';
import { shortId } from '../../../mixins/shared/ids.ts';
import { newIndex } from '../create.ts';
import { defaultSecurity } from '../dsul/security-file.ts';
import { slugProblem } from '../dsul/slugs.ts';
import type { Call, Self } from '../editing.mixin.ts';
import { parseArchive } from './import-archive.ts';
import { type Imported, importInto } from './import-workspace.ts';
import { readArchive } from './read-archive.ts';

/** A new workspace named and filled by an archive. Its slug is the archive's when that is free. */
export async function createFrom(self: Self, ctx: Call<any>, archive: Buffer, labels: string[] = []): Promise<Imported> {
  const parsed = await parseArchive(readArchive(archive));
  if (!parsed.index) throw fault('InvalidUploadError', { message: 'The archive has no index.yml: a new workspace cannot be made of it.' });
  const { name, slug, description } = parsed.index.value;
  const author = self.author(ctx);
  const start = (wanted: unknown) => {
    const fields = {
      name: name ?? 'Imported workspace',
      ...(slugProblem(wanted, 'workspace') ? {} : { slug: wanted }),
      ...(description ? { description } : {}),
      ...(labels.length ? { labels } : {}),
    };
    const { row, index } = newIndex(fields, author, shortId(7), new Date().toISOString());
    return self.store
      .create(row, author, (draft) => {
        const security = defaultSecurity();
        draft.putIndex(index);
        draft.putSecurity(security);
        draft.event('workspaces.created', { workspace: index });
        draft.event('workspaces.security.updated', { security });
      })
      .then(() => row.id);
  };
  const id = await start(slug).catch((error) => {
    if (isFault(error, 'AlreadyUsedError')) return start(undefined);
    throw error;
  });
  try {
    return await importInto(self, ctx, id, parsed, {});
  } catch (error) {
    self.logger.warn(`The import into the new workspace ${id} failed: ${toPublicError(error).message}`);
    // All or nothing: a workspace that could not be filled does not stay as an empty shell.
    await self.store
      .remove(id, author, (draft) =>
        draft.event('workspaces.deleted', { workspaceId: id, workspaceSlug: draft.row.slug, name: draft.row.name }),
      )
      .catch(() => {});
    throw error;
  }
}
