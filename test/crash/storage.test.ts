/** Processes are killed (SIGKILL) while they write to the embedded stores: what was acknowledged is there, whole, and the store goes on working. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../mixins/shared/config.ts';
import { redisCache } from '../../mixins/storage/cache/drivers/redis.ts';
import { openCache } from '../../mixins/storage/cache/open.ts';
import { openDocuments } from '../../mixins/storage/documents/open.ts';
import { openFiles } from '../../mixins/storage/files/open.ts';
import { eventually } from '../support/eventually.ts';
import { redisAvailable, startRedis } from '../support/redis.ts';

const ROUNDS = 3;

interface Writer {
  name: string;
  /** Number of the last acknowledged write. */
  last(): number;
  kill(): Promise<void>;
}

function startWriter(store: string, dataDir: string, name: string): Writer {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'storage.writer.ts'), store, dataDir, name],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let text = '';
  child.stdout?.on('data', (chunk) => {
    text += chunk;
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const last = () => Number(text.slice(0, text.lastIndexOf('\n')).split('\n').at(-1) || 0);
  return {
    name,
    last,
    async kill() {
      expect(child.exitCode).toBeNull();
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** Two writers at once; each is killed somewhere in the middle, the second once the first is dead and it has gone on. */
async function killTwo(store: string, dataDir: string, round: number): Promise<Writer[]> {
  const writers = [`a${round}`, `b${round}`].map((name) => startWriter(store, dataDir, name));
  const [first, second] = writers as [Writer, Writer];
  await eventually(() => first.last() > 20 + Math.random() * 40 && second.last() > 0, { everyMs: 1, timeoutMs: 60_000 });
  await first.kill();
  const then = second.last();
  await eventually(() => second.last() > then + 10, { everyMs: 1, timeoutMs: 60_000 });
  await second.kill();
  return writers;
}

describe('a process that is killed while it writes', () => {
  let dataDir: string;
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'prisme-crash-'));
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  it('loses no acknowledged document, and never one of the two copies of a write', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const writers = await killTwo('documents', dataDir, round);

      const documents = await openDocuments(loadConfig({ DATA_DIR: dataDir }), [{ name: 'things', uniques: ['code'] }]);
      for (const { name, last } of writers) {
        for (let n = 1; n <= last(); n++) expect(await documents.get('things', `${name}-${n}`)).toMatchObject({ code: `${name}/${n}` });
        const counter = (await documents.get('things', `${name}-counter`)) as unknown as { n: number };
        expect(counter.n).toBeGreaterThanOrEqual(last());
        expect(await documents.count('things', { code: { $regex: `^${name}/` } })).toBeLessThanOrEqual(last() + 2);
      }
      await documents.close();
    }
  });

  it('loses no acknowledged change of the shared state', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const writers = await killTwo('cache', dataDir, round);

      const cache = await openCache(loadConfig({ DATA_DIR: dataDir }));
      const shared = (await cache.get<Record<string, number[]>>('shared'))?.value ?? {};
      for (const { name, last } of writers) {
        const expected = Array.from({ length: last() }, (_, i) => i + 1);
        expect(shared[name]?.slice(0, last())).toEqual(expected);
        expect((await cache.list(`list-${name}`)).slice(0, last())).toEqual(expected);
        expect((await cache.getMany(expected.map((n) => `key-${name}-${n}`))).every(Boolean)).toBe(true);
      }
      expect((await cache.apply('shared', [{ type: 'push', path: ['after'], value: round }])).version).toBeGreaterThan(0);
      await cache.close();
    }
  });

  it('loses no acknowledged file and leaves none half written', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const writers = await killTwo('files', dataDir, round);

      const files = await openFiles(loadConfig({ DATA_DIR: dataDir }), 'models');
      for (const { name, last } of writers) {
        for (let n = 1; n <= last(); n++) {
          const found = await files.read(`${name}/d${n % 7}/${n}`);
          expect(found?.body.toString()).toBe(`${n}`.repeat(2000));
          expect(found?.info.contentType).toBe('text/plain');
        }
        const hot = (await files.read(`${name}/hot`))!.body.toString();
        const n = Number(hot.slice(0, hot.indexOf(';')));
        expect(hot).toBe(`${n};`.repeat(50_000));
        expect(n).toBeGreaterThanOrEqual(last());
      }
      await files.write('after', 'works');
      await files.close();
    }
  });
});

if (redisAvailable())
  describe('a Redis that is killed while it is written to', () => {
    it('has every acknowledged change when it is back, and the nodes go on by themselves', async () => {
      const server = await startRedis({ appendOnly: true, isolated: true });
      const cache = await redisCache(server.url, { namespace: 'crash' });
      const acknowledged: number[] = [];
      let isOver = false;
      const writing = (async () => {
        for (let n = 0; !isOver; n++) {
          await cache.apply('doc', [{ type: 'push', path: ['list'], value: n }], { operationId: `op${n}` }).then(
            () => acknowledged.push(n),
            () => {},
          );
        }
      })();

      await eventually(() => acknowledged.length > 100, { everyMs: 5, timeoutMs: 60_000 });
      await server.kill();
      await server.restart();
      const before = acknowledged.length;
      await eventually(() => acknowledged.length > before + 50, { everyMs: 5, timeoutMs: 60_000 });
      isOver = true;
      await writing;

      const list = (await cache.get<{ list: number[] }>('doc'))!.value.list;
      expect(acknowledged.filter((n) => !list.includes(n))).toEqual([]);
      expect(new Set(list).size).toBe(list.length);
      await cache.close();
      await server.stop();
    });
  });
