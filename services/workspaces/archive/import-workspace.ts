/** import-workspace — one import into an existing workspace: rights, compile check, one change, the answer clients expect. */
import { toPublicError } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { compileCheck } from '../compile-check.ts';
import type { Finding } from '../dsul/automation.ts';
import { objectFile } from '../dsul/layout.ts';
import { assertUnlocked, type Call, isSameLock, type Self } from '../editing.mixin.ts';
import { appOfWorkspace, publishApp } from '../publish-app.ts';
import { readModel } from '../read-model.ts';
import type { Draft } from '../store/draft.ts';
import type { WriteLock } from '../store/rows.ts';
import { applyImport, type ImportError, type ImportOptions, type Parsed } from './import-archive.ts';

export interface Imported {
  id: string;
  name: unknown;
  imported: string[];
  errors: ImportError[];
  deleted?: string[];
  warnings?: Finding[];
  publishedAppSlug?: string;
  workspace: JsonObject;
}

export interface ImportIntoOptions extends ImportOptions {
  /** Name of the version that is restored. */
  version?: string;
  /** Lock of the session this import belongs to. */
  lock?: WriteLock;
  /** Further fields of the row, in the same change. */
  record?(draft: Draft): void;
  /** The app named by `.import.yml` is not published. */
  withoutApp?: boolean;
}

export async function importInto(
  self: Self,
  ctx: Call<any>,
  workspaceId: string,
  parsed: Parsed,
  options: ImportIntoOptions,
): Promise<Imported> {
  const ability = await self.authorize(ctx, workspaceId, 'update', 'workspaces', await self.store.row(workspaceId));
  const automations = Object.fromEntries(
    parsed.objects.flatMap(({ kind, slug, value }) => (kind === 'automations' ? [[slug, value]] : [])),
  );
  const imports = parsed.objects.flatMap(({ kind, slug }) => (kind === 'imports' ? [slug] : []));
  const texts = Object.fromEntries(
    parsed.objects.flatMap(({ kind, slug, text }) =>
      kind === 'automations' && text !== undefined ? [[objectFile(kind, slug), text]] : [],
    ),
  );
  const warnings = await compileCheck(self, ctx, workspaceId, automations, { isLenient: true, imports, texts });

  const { result } = await self.store.change(workspaceId, self.author(ctx), async (draft) => {
    if (!isSameLock(draft.row.writeLock, options.lock)) assertUnlocked(draft.row.writeLock, self.config.writeLockTimeoutMinutes);
    const applied = await applyImport(self.store, draft, parsed, { ability, identity: self.identityOf(ctx), workspaceId }, options);
    const app = options.withoutApp ? undefined : await publishNamedApp();
    draft.event('workspaces.imported', {
      workspace: { id: workspaceId, slug: draft.index.slug, name: draft.index.name },
      files: applied.imported,
      deleted: applied.deleted,
      errors: applied.errors.map(({ msg, filepath, err }) => ({ msg, filepath, err })),
      ...(options.version ? { version: { name: options.version } } : {}),
      ...(app ? { publishedAppSlug: app } : {}),
    });
    options.record?.(draft);
    return { ...applied, app };

    /** `.import.yml` may say that the workspace is published as an app. That it cannot be here is no fault of the import. */
    async function publishNamedApp(): Promise<string | undefined> {
      const named = isPlainObject(parsed.origin?.app) ? parsed.origin.app : {};
      if (typeof named.slug !== 'string' || !named.slug) return undefined;
      try {
        const published = await appOfWorkspace(self.store, workspaceId);
        ability.assert(published ? 'update' : 'create', 'apps', { workspaceId });
        await publishApp(self.store, draft, { slug: named.slug, description: named.description }, { isImport: true });
        return named.slug;
      } catch (error) {
        warnings.push({
          severity: 'warning',
          code: 'app-not-published',
          message: toPublicError(error).message,
          place: { path: '.import.yml' },
        });
        return undefined;
      }
    }
  });

  const { row, snapshot } = await self.store.current(workspaceId);
  return {
    id: workspaceId,
    name: snapshot.index.name,
    imported: result.imported,
    errors: result.errors,
    ...(options.prune ? { deleted: result.deleted } : {}),
    ...(warnings.length > 0 ? { warnings } : {}),
    ...(result.app ? { publishedAppSlug: result.app } : {}),
    workspace: await readModel(self, row, snapshot),
  };
}
