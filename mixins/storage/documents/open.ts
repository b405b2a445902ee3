/** open — the document store that DOCUMENTS_URL names, behind the policy of policy.ts. For use with or without Moleculer. */
import type { Config } from '../../shared/config.ts';
import { isFault } from '../../shared/errors.ts';
import { configurationFault, databaseFile, schemeOf } from '../locations.ts';
import type { Collection, DocumentsDriver } from './contract.ts';
import { guarded } from './policy.ts';

export const DOCUMENTS_VARIABLE = 'DOCUMENTS_URL';

/** The bare driver. @throws ConfigurationError */
export async function openDocumentsDriver(config: Config): Promise<DocumentsDriver> {
  const url = config.documentsUrl;
  const scheme = url ? schemeOf(url) : 'sqlite';
  if (scheme === 'mongodb' || scheme === 'mongodb+srv') {
    const { mongoDocuments } = await import('./drivers/mongo.ts');
    return mongoDocuments(url as string);
  }
  if (scheme !== 'sqlite') throw configurationFault(DOCUMENTS_VARIABLE, url ?? '', 'sqlite:<file> or mongodb://… is expected');
  const { sqliteDocuments } = await import('./drivers/sqlite.ts');
  const file = databaseFile(DOCUMENTS_VARIABLE, url, config, 'documents.db');
  try {
    return sqliteDocuments(file);
  } catch (error) {
    if (isFault(error)) throw error;
    throw configurationFault(
      url ? DOCUMENTS_VARIABLE : 'DATA_DIR',
      file,
      `the database cannot be opened: ${(error as Error).message}`,
      error,
    );
  }
}

/** A store of its own with these collections; whoever opens it closes it. @throws ConfigurationError naming the variable */
export async function openDocuments(config: Config, collections: Collection[] = []): Promise<DocumentsDriver> {
  const driver = guarded(await openDocumentsDriver(config));
  try {
    for (const collection of collections) await driver.open(collection);
    return driver;
  } catch (error) {
    await driver.close();
    throw error;
  }
}
