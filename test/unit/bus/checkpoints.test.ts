import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openCheckpoints } from '../../../mixins/bus/carriers/sqlite/checkpoints.ts';
import { eventually } from '../../support/eventually.ts';

const TEXT = 'x'.repeat(3_000);
const ROWS = 40;

/** How many locks this process holds on a file. @see proc_locks(5) */
const locksOn = (file: string) =>
  readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .filter((line) => line.includes(` ${process.pid} `) && line.includes(`:${statSync(file).ino} `)).length;

describe('checkpoints of the embedded log', () => {
  let folder: string;
  let db: DatabaseSync;
  let clock: number;
  const file = () => join(folder, 'bus.db');
  const autoCheckpoint = () => Object.values(db.prepare('PRAGMA wal_autocheckpoint').get() as object)[0];
  const open = () => openCheckpoints({ db, file: file(), synchronous: 'NORMAL', warn: () => {}, now: () => clock });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'prisme-checkpoints-'));
    db = new DatabaseSync(file());
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE log (seq INTEGER PRIMARY KEY, body TEXT)');
    clock = 0;
  });
  afterEach(() => {
    if (db.isOpen) db.close();
    rmSync(folder, { recursive: true });
  });

  const commit = (checkpoints: ReturnType<typeof open>) => {
    db.exec('BEGIN IMMEDIATE');
    for (let i = 0; i < ROWS; i++) db.prepare('INSERT INTO log (body) VALUES (?)').run(TEXT);
    db.exec('COMMIT');
    checkpoints.committed(ROWS * TEXT.length);
  };

  it('are left to SQLite while little is written', async () => {
    const checkpoints = open();
    for (let n = 0; n < 20; n++, clock += 500) commit(checkpoints);

    expect(autoCheckpoint()).toBe(1_000);
    await checkpoints.close();
  });

  it('are made by a thread under load, and the log begins anew again and again', async () => {
    const checkpoints = open();
    for (let n = 0; n < 100; n++) commit(checkpoints);
    clock += 3_000;
    commit(checkpoints);
    expect(autoCheckpoint()).toBe(40_000);

    // Some 400 MB go through the log: without new beginnings it would be as long.
    for (let n = 0; n < 3_200; n++) {
      commit(checkpoints);
      await sleep(1);
    }
    expect(statSync(`${file()}-wal`).size).toBeLessThan(200_000_000);
    expect(Number((db.prepare('SELECT count(*) AS n FROM log').get() as { n: number }).n)).toBe(3_301 * ROWS);
    await checkpoints.close();
  });

  it('go back to SQLite when the load is over, and nothing is lost by the end of the thread', async () => {
    const checkpoints = open();
    for (let n = 0; n < 100; n++) commit(checkpoints);
    clock += 3_000;
    commit(checkpoints);
    await sleep(50);
    for (let n = 0; n < 15 && autoCheckpoint() !== 1_000; n++) {
      clock += 3_000;
      commit(checkpoints);
      await sleep(20);
    }

    expect(autoCheckpoint()).toBe(1_000);
    await checkpoints.close();
    db.close();
    const again = new DatabaseSync(file());
    expect(Number((again.prepare('SELECT count(*) AS n FROM log').get() as { n: number }).n)).toBeGreaterThanOrEqual(102 * ROWS);
    again.close();
  });

  it('leave the locks of this process on its file alone', async () => {
    const held = locksOn(file());
    const checkpoints = open();
    for (let n = 0; n < 100; n++) commit(checkpoints);
    clock += 3_000;
    commit(checkpoints);
    for (let n = 0; n < 700; n++) {
      commit(checkpoints);
      await sleep(1);
    }
    await checkpoints.close();

    expect(locksOn(file())).toBe(held);
    expect(held).toBeGreaterThan(0);
  });

  it('end with the carrier, also in the middle of the work', async () => {
    const checkpoints = open();
    for (let n = 0; n < 100; n++) commit(checkpoints);
    clock += 3_000;
    for (let n = 0; n < 100; n++) commit(checkpoints);
    await checkpoints.close();
    db.close();

    await eventually(() => {
      const again = new DatabaseSync(file());
      const { n } = again.prepare('SELECT count(*) AS n FROM log').get() as { n: number };
      again.close();
      return n === 200 * ROWS;
    });
  });
});
