import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ulid } from '../../../mixins/shared/ids.ts';
import { openSqliteEngine, type SqliteEngine } from '../../../mixins/storage/datalake/drivers/sqlite.engine.ts';
import { type SqliteWriter, sqliteWriter } from '../../../mixins/storage/datalake/drivers/sqlite.writer.ts';

/** Priorities of the threads of this process, as `nice` counts them: the larger, the later. */
function priorities(): number[] {
  return readdirSync('/proc/self/task').map((thread) => {
    const text = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[16]);
  });
}
const usual = Math.min(...priorities());
const threadsThatGiveWay = () => priorities().filter((nice) => nice > usual).length;

function eventOf(ageMs: number) {
  return {
    id: ulid(),
    type: 'kept',
    createdAt: new Date(Date.now() - ageMs).toISOString(),
    size: 1,
    payload: {},
    source: { correlationId: 'c', workspaceId: 'w' },
  };
}

describe('the thread that writes the embedded history', () => {
  const dir = mkdtempSync(join(tmpdir(), 'prisme-writer-'));
  const file = join(dir, 'history.db');
  let engine: SqliteEngine;
  beforeAll(() => {
    engine = openSqliteEngine(file);
  });
  afterAll(() => {
    engine.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const stored = () => engine.usage('w')[0]?.events ?? 0;
  const storeAged = (writer: SqliteWriter, ageMs: number) => {
    const event = eventOf(ageMs);
    return writer.store([JSON.stringify(event)], event);
  };

  it('gives way to the others of its process, and to them alone', async () => {
    expect(threadsThatGiveWay()).toBe(0);
    const writer = sqliteWriter(file);
    await storeAged(writer, 0);
    expect(threadsThatGiveWay()).toBe(1);
    await writer.close();
    expect(threadsThatGiveWay()).toBe(0);
  });

  it('takes its share while the history is behind, and gives way again once it has caught up', async () => {
    const had = stored();
    const writer = sqliteWriter(file, { behindMs: 5_000, caughtUpMs: 1_000, restMs: 0 });
    await storeAged(writer, 4_000);
    expect(threadsThatGiveWay()).toBe(1);

    // What the old thread has in hand when the new one takes over is stored too.
    const last = storeAged(writer, 4_000);
    await Promise.all([last, storeAged(writer, 6_000)]);
    await storeAged(writer, 3_000);
    expect(stored()).toBe(had + 4);
    await writer.call('probe');
    while (threadsThatGiveWay() > 0) await new Promise((resolve) => setTimeout(resolve, 5)); // the old thread ends

    await storeAged(writer, 500);
    expect(threadsThatGiveWay()).toBe(1);
    await writer.close();
    expect(stored()).toBe(had + 5);
  });

  it('does not change threads at every batch', async () => {
    const writer = sqliteWriter(file, { restMs: 60_000 });
    await storeAged(writer, 10_000);
    while (threadsThatGiveWay() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await storeAged(writer, 0);
    expect(threadsThatGiveWay()).toBe(0);
    await writer.close();
  });
});
