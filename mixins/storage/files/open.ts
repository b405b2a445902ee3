/** open — the file store that FILES_URL names, one area of it. For use with or without Moleculer. */
import type { Config } from '../../shared/config.ts';
import { ensureDataDir } from '../../shared/config.ts';
import { isFault } from '../../shared/errors.ts';
import { configurationFault, localPath, schemeOf } from '../locations.ts';
import type { FilesDriver } from './contract.ts';

export const FILES_VARIABLE = 'FILES_URL';

/** An area of the store: keys begin below it. Whoever opens it closes it. @throws ConfigurationError naming the variable */
export async function openFiles(config: Config, area: string): Promise<FilesDriver> {
  const url = config.filesUrl;
  const scheme = url ? schemeOf(url) : 'file';
  if (scheme === 's3') {
    const { s3Files } = await import('./drivers/s3.ts');
    return s3Files(url as string, area);
  }
  if (scheme !== 'file')
    throw configurationFault(FILES_VARIABLE, url ?? '', 'file:<folder> or s3://key:secret@host:port/bucket is expected');
  const { fsFiles } = await import('./drivers/fs.ts');
  const folder = url ? localPath(FILES_VARIABLE, url) : ensureDataDir(config);
  try {
    return fsFiles(folder, area);
  } catch (error) {
    if (isFault(error)) throw error;
    throw configurationFault(url ? FILES_VARIABLE : 'DATA_DIR', folder, `the folder cannot be used: ${(error as Error).message}`, error);
  }
}
