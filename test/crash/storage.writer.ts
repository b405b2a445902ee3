/**
 * storage.writer — the process that storage.test.ts kills: writes to one embedded store as fast as it can and prints the number of each write once
 * it was acknowledged. Arguments: store, DATA_DIR, name of this writer.
 */
import { writeSync } from 'node:fs';
import { loadConfig } from '../../mixins/shared/config.ts';
import { openCache } from '../../mixins/storage/cache/open.ts';
import { openDocuments } from '../../mixins/storage/documents/open.ts';
import { openFiles } from '../../mixins/storage/files/open.ts';

const [store, dataDir, name] = process.argv.slice(2) as [string, string, string];
const config = loadConfig({ DATA_DIR: dataDir });

const WRITERS: Record<string, () => Promise<(n: number) => Promise<unknown>>> = {
  async documents() {
    const documents = await openDocuments(config, [{ name: 'things', uniques: ['code'] }]);
    await documents.insert('things', { id: `${name}-counter` }).catch(() => {});
    return async (n) => {
      await documents.insert('things', { id: `${name}-${n}`, code: `${name}/${n}`, text: 'x'.repeat(500) } as never);
      await documents.update('things', `${name}-counter`, { set: { n } });
    };
  },
  async cache() {
    const cache = await openCache(config);
    return (n) =>
      Promise.all([
        cache.apply('shared', [{ type: 'push', path: [name], value: n }]),
        cache.append(`list-${name}`, [n]),
        cache.set(`key-${name}-${n}`, n),
      ]);
  },
  async files() {
    const files = await openFiles(config, 'models');
    return async (n) => {
      await files.write(`${name}/d${n % 7}/${n}`, `${n}`.repeat(2000), { contentType: 'text/plain' });
      await files.write(`${name}/hot`, `${n};`.repeat(50_000));
    };
  },
};

const write = await (WRITERS[store] as (typeof WRITERS)[string])();
for (let n = 1; ; n++) {
  await write(n);
  // Written at once: what was printed was acknowledged before.
  writeSync(1, `${n}\n`);
}
