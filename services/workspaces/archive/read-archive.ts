/** read-archive — the files of a workspace archive: one root folder (`current/` by habit) or none, in it what a version folder holds. */
import { fault } from '../../../mixins/shared/errors.ts';
import { classify, type TreeFile } from '../dsul/layout.ts';
import { unzip } from './unzip.ts';

export const BULK_FILE = 'bulkExport.json';

export interface ArchivedFile {
  /** Below the root folder, e.g. `automations/hello.yml`. */
  path: string;
  file: TreeFile;
  text: string;
}

/** Path without the root folder → what it is. Names at other depths are not ours. */
function located(name: string): { root: string; path: string; file: TreeFile } | null {
  const direct = classify(name);
  if (direct) return { root: '', path: name, file: direct };
  const slash = name.indexOf('/');
  const path = name.slice(slash + 1);
  const file = slash > 0 ? classify(path) : null;
  return file ? { root: name.slice(0, slash), path, file } : null;
}

/**
 * What an archive holds that is ours; anything else in it is ignored.
 * @throws InvalidUploadError · PayloadTooLarge · PrismeError for an archive of several workspaces
 */
export function readArchive(archive: Buffer): ArchivedFile[] {
  const contents = unzip(archive, (name) => located(name) !== null || name === BULK_FILE);
  if (contents.has(BULK_FILE))
    throw fault('PrismeError', { message: 'This archive holds several workspaces: import it without naming one.' });
  const found = [...contents].map(([name, content]) => ({ ...(located(name) as NonNullable<ReturnType<typeof located>>), name, content }));
  const root = found.find(({ file }) => file.type === 'index')?.root ?? found[0]?.root ?? '';
  return found
    .filter((entry) => entry.root === root)
    .map(({ path, file, name, content }) => {
      try {
        return { path, file, text: new TextDecoder('utf-8', { fatal: true }).decode(content) };
      } catch {
        throw fault('InvalidUploadError', {
          message: `The archive was refused: the entry '${name}' is not UTF-8 text.`,
          data: { entry: name },
        });
      }
    });
}
