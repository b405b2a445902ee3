import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, it } from '@jest/globals';
import { ulid } from '../../mixins/shared/ids.ts';
import { sqliteDatalake } from '../../mixins/storage/datalake/drivers/sqlite.ts';
import { datalakeContract } from './datalake.suite.ts';

const dir = mkdtempSync(join(tmpdir(), 'prisme-datalake-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

datalakeContract('SQLite in memory', () => sqliteDatalake(':memory:'));
datalakeContract('a SQLite file', () => sqliteDatalake(join(dir, 'contract.db')));

describe('a SQLite file', () => {
  it('is found again with its events after a restart', async () => {
    const file = join(dir, 'again.db');
    const event = {
      id: ulid(),
      type: 'kept',
      createdAt: new Date().toISOString(),
      size: 1,
      payload: {},
      source: { correlationId: 'c', workspaceId: 'w' },
    };
    const first = await sqliteDatalake(file);
    await first.store([event]);
    await first.close();

    const second = await sqliteDatalake(file);
    const { events } = await second.search({ workspaceId: 'w' });
    await second.close();

    expect(events).toEqual([event]);
  });

  it('gives the space of removed events back to the file system, while events are stored', async () => {
    const file = join(dir, 'removed.db');
    const driver = await sqliteDatalake(file);
    const eventOf = (n: number, workspaceId: string) => ({
      id: ulid(),
      type: 'large',
      createdAt: new Date(n).toISOString(),
      size: 1000,
      payload: { n, text: `word${n} `.repeat(60) },
      source: { correlationId: 'c', workspaceId },
    });
    for (let n = 0; n < 6_000; n += 1000) await driver.store(Array.from({ length: 1000 }, (_, k) => eventOf(n + k, 'old')));
    await driver.store([eventOf(1, 'kept')]);
    expect(await driver.usage('old')).toEqual([{ workspaceId: 'old', events: 6_000, bytes: 6_000_000 }]);

    const removing = driver.remove({ workspaceId: 'old' });
    const stored = driver.store([eventOf(2, 'kept')]).then(() => 'stored');
    expect(await Promise.race([removing, stored])).toBe('stored');
    expect(await removing).toBe(6_000);
    const { events } = await driver.search({ workspaceId: 'kept', where: { text: 'word2' } });
    await driver.close();

    expect(events).toHaveLength(1);
    expect(statSync(file).size).toBeLessThan(1_000_000);
    const again = await sqliteDatalake(file);
    expect(await again.usage()).toEqual([{ workspaceId: 'kept', events: 2, bytes: 2000 }]);
    await again.close();
  });

  it('counts what a file holds that is from before there were counts', async () => {
    const file = join(dir, 'counts.db');
    const driver = await sqliteDatalake(file);
    const source = { correlationId: 'c', workspaceId: 'w' };
    await driver.store([{ id: ulid(), type: 'a', createdAt: new Date().toISOString(), size: 7, payload: {}, source }]);
    await driver.close();
    const raw = new DatabaseSync(file);
    raw.exec('DROP TABLE usages');
    raw.close();

    const again = await sqliteDatalake(file);
    expect(await again.usage()).toEqual([{ workspaceId: 'w', events: 1, bytes: 7 }]);
    await again.close();
  });

  it('ends a search that takes too long, and answers the next one', async () => {
    const driver = await sqliteDatalake(join(dir, 'slow.db'), { searchTimeoutMs: 800 });
    const text = Array.from({ length: 300 }, (_, n) => `word${n}`).join(' ');
    const events = Array.from({ length: 4000 }, (_, n) => ({
      id: ulid(),
      type: 'slow',
      createdAt: new Date(n).toISOString(),
      size: 1,
      payload: { text },
      source: { correlationId: 'c', workspaceId: 'w' },
    }));
    await driver.store(events);
    const any = Array.from({ length: 60 }, (_, n) => ({ field: 'payload.text', op: 'regex' as const, value: `(word${n}|none)+ x.*y$` }));

    await expect(driver.search({ workspaceId: 'w', where: { any }, trackTotal: true })).rejects.toMatchObject({ type: 'TimeoutError' });
    expect((await driver.search({ workspaceId: 'w', where: { text: 'word7' }, limit: 1 })).events).toHaveLength(1);
    await driver.close();
  });
});
