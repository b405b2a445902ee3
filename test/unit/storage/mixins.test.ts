import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { ServiceBroker } from 'moleculer';
import { type Config, loadConfig, useConfig } from '../../../mixins/shared/config.ts';
import { type CacheMethods, cache, openCache } from '../../../mixins/storage/cache/cache.mixin.ts';
import { redisCache } from '../../../mixins/storage/cache/drivers/redis.ts';
import { type DocumentsMethods, documents, openDocuments } from '../../../mixins/storage/documents/documents.mixin.ts';
import { s3Files } from '../../../mixins/storage/files/drivers/s3.ts';
import { type FilesMethods, files, openFiles } from '../../../mixins/storage/files/files.mixin.ts';

const folder = mkdtempSync(join(tmpdir(), 'prisme-storage-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const config = (overrides: Partial<Config> = {}): Config => loadConfig({ DATA_DIR: folder }, overrides);

type All = DocumentsMethods & FilesMethods & CacheMethods;

describe('the storage mixins', () => {
  it('give a service its stores from started to stopped, and keep them over a restart', async () => {
    const run = async (): Promise<unknown[]> => {
      const broker = new ServiceBroker({ logger: false });
      useConfig(broker, config());
      const one = broker.createService({
        name: 'one',
        mixins: [documents({ collections: [{ name: 'things' }] }), files({ area: 'models' }), cache()],
      }) as unknown as All;
      broker.createService({ name: 'two', mixins: [documents({ collections: [{ name: 'others' }] }), files({ area: 'models' }), cache()] });
      await broker.start();
      const before = [
        await one.documents.get('things', 'a'),
        (await one.files.read('a'))?.body.toString(),
        (await one.cache.get('a'))?.value,
      ];
      if (!before[0]) await one.documents.insert('things', { id: 'a' });
      await one.files.write('a', 'content');
      await one.cache.set('a', { kept: true });
      await expect(one.documents.get('others', 'a')).rejects.toMatchObject({ type: 'BadParametersError' });
      await broker.stop();
      await expect(one.cache.set('a', 1)).rejects.toMatchObject({ type: 'ServiceUnavailable' });
      return before;
    };

    expect(await run()).toEqual([null, undefined, undefined]);
    expect(await run()).toEqual([{ id: 'a', _rev: 1 }, 'content', { kept: true }]);
  });

  it('keep the stores open while one of several services still uses them', async () => {
    const broker = new ServiceBroker({ logger: false });
    useConfig(broker, config());
    const one = broker.createService({ name: 'one', mixins: [cache()] });
    const two = broker.createService({ name: 'two', mixins: [cache()] }) as unknown as All;
    await broker.start();

    await broker.destroyService(one);

    await two.cache.set('still', 'here');
    expect((await two.cache.get('still'))?.value).toBe('here');
    await broker.stop();
  });
});

describe('a storage address', () => {
  const cases: [string, Partial<Config>, (config: Config) => Promise<unknown>][] = [
    ['DOCUMENTS_URL', { documentsUrl: 'postgres://x' }, (given) => openDocuments(given)],
    ['DOCUMENTS_URL', { documentsUrl: 'sqlite:' }, (given) => openDocuments(given)],
    ['DOCUMENTS_URL', { documentsUrl: 'mongodb:///nowhere' }, (given) => openDocuments(given)],
    ['DOCUMENTS_URL', { documentsUrl: `sqlite:${folder}` }, (given) => openDocuments(given)],
    ['CACHE_URL', { cacheUrl: 'memcached://x' }, (given) => openCache(given)],
    [
      'CACHE_URL',
      { cacheUrl: 'redis://:hunter2@127.0.0.1:1/0' },
      (given) => redisCache(String(given.cacheUrl), { namespace: 't', startWithinMs: 200 }),
    ],
    ['CACHE_URL', { cacheUrl: 'redis://127.0.0.1:1/abc' }, (given) => openCache(given)],
    ['CACHE_URL', { cacheUrl: 'nonsense' }, (given) => openCache(given)],
    ['FILES_URL', { filesUrl: 'ftp://x' }, (given) => openFiles(given, 'models')],
    ['FILES_URL', { filesUrl: 's3://host/bucket' }, (given) => openFiles(given, 'models')],
    ['FILES_URL', { filesUrl: 's3://key:hunter2@127.0.0.1:1/B' }, (given) => openFiles(given, 'models')],
    [
      'FILES_URL',
      { filesUrl: 's3://key:hunter2@127.0.0.1:1/bucket?tls=false' },
      (given) => s3Files(String(given.filesUrl), 'models', { startWithinMs: 200 }),
    ],
    ['FILES_URL', { filesUrl: 'file:/dev/null/x' }, (given) => openFiles(given, 'models')],
  ];
  it.each(cases)('that is wrong is one line that names %s: %j', async (variable, overrides, open) => {
    const error = await open(config(overrides)).then(
      () => null,
      (reason) => reason,
    );

    expect(error).toMatchObject({ type: 'ConfigurationError', data: { variable } });
    expect(error.message).toContain(variable);
    expect(error.message).not.toContain('hunter2');
    expect(error.message).not.toContain('\n');
  });

  it('may name a file or a folder elsewhere', async () => {
    const place = join(folder, 'else where');
    const store = await openDocuments(config({ documentsUrl: `sqlite:${place}/d.db` }), [{ name: 'things' }]);
    const tree = await openFiles(config({ filesUrl: `file://${place}` }), 'models');

    await store.insert('things', { id: 'a' });
    await tree.write('a', 'x');

    expect(await store.count('things', {})).toBe(1);
    expect(await tree.info('a')).toMatchObject({ size: 1 });
    await store.close();
    await tree.close();
  });

  it('under a DATA_DIR that is a file names DATA_DIR', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');

    await expect(openCache(config({ dataDir: file }))).rejects.toMatchObject({ data: { variable: 'DATA_DIR' } });
  });
});
