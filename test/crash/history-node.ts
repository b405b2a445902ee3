/**
 * history-node — a process that keeps the events of the bus, for history-storm.ts. Arguments: DATA_DIR, name, and where it dies by SIGKILL: HAS, its first batch
 * received and not stored; KEPT, stored and not acknowledged; absent: nowhere. It tells what it has in hand.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { sqliteDatalake } from '../../mixins/storage/datalake/drivers/sqlite.ts';
import { HISTORY_GROUP, keep } from '../../services/events/history.service.ts';

const [dataDir, name, deathAt] = process.argv.slice(2) as [string, string, string | undefined];
const tell = (line: string) => appendFileSync(join(dataDir, 'lines'), `${line}\n`);
async function pass(place: string, count: number): Promise<void> {
  tell(`${place} ${name} ${count}`);
  if (deathAt !== place) return;
  process.kill(process.pid, 'SIGKILL');
  await new Promise(() => {});
}

const datalake = await sqliteDatalake(join(dataDir, 'datalake.db'));
const bus = await openBus(loadConfig({}, { dataDir, nodeId: name }), { service: name, leaseMs: 600, tickMs: 100 });
const counters = { stored: 0, skipped: 0, retries: 0, refused: 0 };
setInterval(() => {}, 1_000);

await bus.all(async (events, delivery) => {
  await pass('HAS', events.length);
  await keep(events, delivery, { datalake, counters, warn: () => {} });
  await pass('KEPT', events.length);
}, HISTORY_GROUP);
tell(`UP ${name}`);
