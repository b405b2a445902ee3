import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
