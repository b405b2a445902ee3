/** history-node — a process that keeps the events of the bus and is killed by history.test.ts. Arguments: DATA_DIR, name. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { sqliteDatalake } from '../../mixins/storage/datalake/drivers/sqlite.ts';
import { HISTORY_GROUP, keep } from '../../services/events/history.service.ts';

const [dataDir, name] = process.argv.slice(2) as [string, string];
const datalake = await sqliteDatalake(join(dataDir, 'datalake.db'));
const bus = await openBus(loadConfig({}, { dataDir, nodeId: name }), { service: name, leaseMs: 600, tickMs: 100 });
const counters = { stored: 0, skipped: 0, retries: 0, refused: 0 };
setInterval(() => {}, 1_000);

await bus.all((events, delivery) => keep(events, delivery, { datalake, counters, warn: () => {} }), HISTORY_GROUP);
appendFileSync(join(dataDir, 'lines'), `UP ${name}\n`);
