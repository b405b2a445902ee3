import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { readFolder, type Snapshot } from '../../services/workspaces/store/snapshot.ts';
import { s3Available, startSwift } from '../support/swift.ts';
import { type TestStore, testStore } from '../support/workspace-store.ts';

const OBJECTS = 20;
const script = resolve(import.meta.dirname, '../support/workspace-crash.ts');

/** Runs the changing process for a while, then kills it; the last generation it was told is durable. */
function runAndKill(dataDir: string, filesUrl: string | undefined, ms: number): Promise<{ acknowledged: number; errors: string }> {
  return new Promise((done) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, dataDir, ...(filesUrl ? [filesUrl] : [])], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let errors = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.on('data', (chunk) => {
      output += chunk;
      // The clock starts with the first change, however long the process took to start.
      if (timer === undefined) timer = setTimeout(() => child.kill('SIGKILL'), ms);
    });
    child.stderr.on('data', (chunk) => (errors += chunk));
    child.once('exit', () => done({ acknowledged: Number(output.trim().split('\n').at(-1) || 0), errors }));
  });
}

function expectOneGeneration(snapshot: Snapshot): number {
  const generation = Number(snapshot.index.generation);
  const slugs = Object.keys(snapshot.automations);
  expect(snapshot.errors).toEqual([]);
  expect(slugs.filter((slug) => slug.startsWith('a/'))).toHaveLength(generation === 0 ? 0 : OBJECTS);
  expect(new Set(Object.values(snapshot.automations).map((automation) => automation.generation))).toEqual(
    new Set(generation === 0 ? [] : [generation]),
  );
  if (generation > 0) {
    expect(slugs.filter((slug) => slug.startsWith('only-'))).toEqual([`only-${generation}`]);
    expect(slugs.filter((slug) => slug.startsWith('renamed-'))).toEqual([`renamed-${generation}`]);
  }
  return generation;
}

interface Killing {
  kills: number;
  /** A process lives up to this long after its first change. */
  withinMs: number;
  filesUrl?: string;
}

/** Kills a process that imports, renames, publishes, creates and deletes without end, and looks at what the next process finds. */
async function expectOldOrNew({ kills, withinMs, filesUrl }: Killing): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'crash-workspaces-'));
  const seed = Math.floor(Math.random() * 1000);
  let sinkStore: TestStore | undefined;
  try {
    let unfinished = 0;
    for (let kill = 0; kill < kills; kill++) {
      const { acknowledged, errors } = await runAndKill(dataDir, filesUrl, 5 + ((seed + kill * 37) % withinMs));
      expect({ seed, kill, errors }).toEqual({ seed, kill, errors: '' });

      const replayed: string[] = [];
      sinkStore = await testStore(
        {
          send: async (events) =>
            void replayed.push(...events.map(({ id, type, payload }) => JSON.stringify([id, type, payload.generation]))),
        },
        dataDir,
        filesUrl,
      );
      const { store } = sinkStore;
      unfinished += await store.recover();

      const { snapshot, row } = await store.current('main');
      const generation = expectOneGeneration(snapshot);
      expect(generation).toBeGreaterThanOrEqual(acknowledged);
      expect(row.journal).toBeUndefined();
      const onDisk = await readFolder(store.files, 'workspaces/main/versions/current', row.revision);
      expect(onDisk?.automations).toEqual(snapshot.automations);

      const folders = (await foldersIn(store, 'workspaces/main/versions')).filter((name) => name !== 'current');
      expect(folders.sort()).toEqual(row.versions.map(({ name }) => name).sort());
      for (const { name } of row.versions) expect(`v${expectOneGeneration(await store.version('main', name))}`).toBe(name);

      const workspaces = (await foldersIn(store, 'workspaces')).filter((id) => id.startsWith('tmp'));
      for (const id of workspaces) {
        const found = await store.findRow(id);
        if (found) expect(Object.keys((await store.current(id)).snapshot.automations)).toHaveLength(5);
        else expect(await store.files.info(`workspaces/${id}/versions/current/index.yml`)).toBeNull();
      }

      const told = [...readFileSync(join(dataDir, 'events.log'), 'utf8').trim().split('\n'), ...replayed].map(
        (line) => JSON.parse(line) as [string, string, number],
      );
      const ids = new Map<number, Set<string>>();
      for (const [id, type, of] of told) if (type === 'generation') ids.set(of, (ids.get(of) ?? new Set()).add(id));
      // Told at least once, always under one id, so consumers see it once.
      if (generation > 0) expect(ids.get(generation)?.size).toBe(1);
      await closeKeeping(sinkStore);
      sinkStore = undefined;
    }
    console.log(`seed ${seed}: ${kills} kills, ${unfinished} committed changes finished by the next process`);
  } finally {
    if (sinkStore) await closeKeeping(sinkStore);
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Names of the folders in a folder. */
async function foldersIn({ files }: TestStore['store'], folder: string): Promise<string[]> {
  const names = new Set<string>();
  for await (const { key } of files.list(folder)) names.add(key.slice(folder.length + 1).split('/')[0] as string);
  return [...names];
}

describe('workspaces whose process is killed', () => {
  it('are the old one or the new one, never between', () => expectOldOrNew({ kills: 12, withinMs: 150 }));

  if (s3Available())
    it('also when their files are in a bucket, where only one object is replaced at a time', async () => {
      const server = await startSwift();
      try {
        await expectOldOrNew({ kills: 3, withinMs: 1500, filesUrl: server.url });
      } finally {
        await server.stop();
      }
    });
});

async function closeKeeping({ store }: TestStore): Promise<void> {
  await store.idle();
  await store.files.close();
  await store.uploads.close();
  await (store.documents as unknown as { close(): Promise<void> }).close();
}
