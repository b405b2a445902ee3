/** version-files — the files of a published version as they were written, for a restore that brings back comments too. */
import type { ArchivedFile } from './archive/read-archive.ts';
import { classify, versionFolder } from './dsul/layout.ts';
import type { Store } from './store/store.ts';

const PARALLEL = 32;

export async function filesOfVersion(store: Store, workspaceId: string, version: string): Promise<ArchivedFile[]> {
  // Asks for the version first: it settles a publication that is still being written.
  await store.version(workspaceId, version);
  const folder = versionFolder(workspaceId, version);
  const paths: string[] = [];
  for await (const { key } of store.files.list(folder)) paths.push(key.slice(folder.length + 1));
  const files: ArchivedFile[] = [];
  for (let start = 0; start < paths.length; start += PARALLEL)
    await Promise.all(
      paths.slice(start, start + PARALLEL).map(async (path) => {
        const file = classify(path);
        const content = file ? await store.files.read(`${folder}/${path}`) : null;
        if (file && content) files.push({ path, file, text: content.body.toString('utf8') });
      }),
    );
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}
