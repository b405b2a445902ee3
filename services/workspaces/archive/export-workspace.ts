/** export-workspace — the archive of one version, with the files as they are written on disk. Only reads. */
import { CURRENT, INDEX_FILE, KINDS, objectFile, SECURITY_FILE, versionFolder } from '../dsul/layout.ts';
import { readYaml } from '../dsul/yaml.ts';
import { appOfWorkspace } from '../publish-app.ts';
import { checksumOf, type Snapshot } from '../store/snapshot.ts';
import type { Store } from '../store/store.ts';
import { archiveOf } from './write-archive.ts';

/** @throws ObjectNotFoundError · InvalidVersionError */
export async function exported(store: Store, workspaceId: string, version: string): Promise<Buffer> {
  const { row, snapshot: current } = await store.current(workspaceId);
  const snapshot = version === CURRENT ? current : await store.version(workspaceId, version);
  const app = await appOfWorkspace(store, workspaceId);
  const exportedAt = version === CURRENT ? row.updatedAt : (row.versions.find(({ name }) => name === version)?.createdAt ?? row.updatedAt);
  return archiveOf(snapshot, {
    workspaceId,
    version,
    exportedAt,
    texts: await writtenTexts(store, versionFolder(workspaceId, version), snapshot),
    ...(app && app.versions.length > 0 ? { app: { slug: app.slug, name: app.name, description: app.description } } : {}),
  });
}

/** Texts on disk that say what the snapshot says: a writer may be at work, then the value itself is exported. */
async function writtenTexts(store: Store, folder: string, snapshot: Snapshot): Promise<Map<string, string>> {
  const paths: [path: string, checksum: string][] = KINDS.flatMap((kind) =>
    Object.keys(snapshot[kind]).map((slug) => [objectFile(kind, slug), snapshot.meta[kind][slug]?.checksum ?? ''] as [string, string]),
  );
  paths.push([INDEX_FILE, checksumOf(snapshot.index)], [SECURITY_FILE, checksumOf(snapshot.security)]);
  const texts = new Map<string, string>();
  const PARALLEL = 32;
  for (let start = 0; start < paths.length; start += PARALLEL)
    await Promise.all(
      paths.slice(start, start + PARALLEL).map(async ([path, checksum]) => {
        const file = await store.files.read(`${folder}/${path}`);
        const text = file?.body.toString('utf8');
        if (text?.includes('#') && says(text, path, checksum)) texts.set(path, text);
      }),
    );
  return texts;
}

function says(text: string, path: string, checksum: string): boolean {
  try {
    return checksumOf(readYaml(text, path)) === checksum;
  } catch {
    return false;
  }
}
