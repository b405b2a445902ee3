/** workspace-store — a store of workspaces over the embedded drivers in a temporary folder (or files elsewhere), without brokers or services. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../mixins/shared/config.ts';
import { openDocuments } from '../../mixins/storage/documents/open.ts';
import { openFiles } from '../../mixins/storage/files/open.ts';
import type { Author } from '../../services/workspaces/store/draft.ts';
import { COLLECTIONS, type WorkspaceRow } from '../../services/workspaces/store/rows.ts';
import { openStore, type StagedEvent, type Store, type StoreOptions } from '../../services/workspaces/store/store.ts';

export const ADA: Author = { userId: 'u_ada', source: { correlationId: 'c1', userId: 'u_ada' } };

export interface TestStore {
  store: Store;
  sent: StagedEvent[];
  dataDir: string;
  /** Another process on the same folder: nothing in memory is shared. */
  reopen(overrides?: Partial<StoreOptions>): Promise<TestStore>;
  close(): Promise<void>;
}

const silent = { info() {}, warn() {}, error() {}, debug() {}, trace() {}, fatal() {} } as unknown as StoreOptions['logger'];

export async function testStore(
  overrides: Partial<StoreOptions> = {},
  dataDir = mkdtempSync(join(tmpdir(), 'workspaces-')),
  filesUrl?: string,
): Promise<TestStore> {
  const config = loadConfig({ DATA_DIR: dataDir, ...(filesUrl ? { FILES_URL: filesUrl } : {}) });
  const documents = await openDocuments(config, COLLECTIONS);
  const files = await openFiles(config, 'models');
  const uploads = await openFiles(config, 'uploads');
  const sent: StagedEvent[] = [];
  const store = openStore({
    documents,
    files,
    uploads,
    owner: 'embedded',
    logger: silent,
    send: async (events) => void sent.push(...events),
    ...overrides,
  });
  const shut = async () => {
    await store.idle();
    await files.close();
    await uploads.close();
    await documents.close();
  };
  return {
    store,
    sent,
    dataDir,
    async reopen(again = {}) {
      await shut();
      return testStore(again, dataDir, filesUrl);
    },
    async close() {
      await shut();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export const newRow = (id: string, slug = id.toLowerCase()): Omit<WorkspaceRow, '_rev' | 'revision'> => ({
  id,
  name: `Workspace ${id}`,
  slug,
  permissions: { u_ada: { role: 'owner' } },
  versions: [],
  createdAt: '2026-01-01T00:00:00.000Z',
  createdBy: 'u_ada',
  updatedAt: '2026-01-01T00:00:00.000Z',
});
