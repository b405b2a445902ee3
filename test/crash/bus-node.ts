/**
 * bus-node — a process that is killed by bus.test.ts: `producer` sends numbers and writes down those confirmed, `consumer` writes down each run, `holder`
 * takes events and never ends with them, with the times of production, `survivor` is a consumer with those times. A line is one append to a file, so the lines of all processes stand in the order
 * in which things happened.
 *
 * Arguments: role, BUS_URL, DATA_DIR, file, name, first number, how wrong its clock is (ms), how long its leases last (ms).
 */
import { appendFileSync } from 'node:fs';
import { openBus } from '../../mixins/bus/bus.ts';
import { loadConfig } from '../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';

const [role, busUrl, dataDir, file, name, first, skew = '0', lease = '600'] = process.argv.slice(2) as string[] as [
  string,
  string,
  string,
  string,
  string,
  string,
];
const WORKSPACES = 12;

const rightNow = Date.now;
Date.now = () => rightNow() + Number(skew);

const times = role === 'holder' || role === 'survivor' ? {} : { leaseMs: Number(lease), tickMs: Number(lease) / 6 };
const bus = await openBus(loadConfig({}, { busUrl, dataDir, nodeId: name }), { service: name, ...times });
appendFileSync(file, `UP ${name}\n`);
setInterval(() => {}, 1_000); // the timers of the bus do not keep a process alive

if (role === 'producer') {
  for (let n = Number(first); ; n++) {
    const workspaceId = `w${n % WORKSPACES}`;
    await bus.send('crash.test', { n }, { topic: EMIT_TOPIC, source: { workspaceId } }).then(
      () => appendFileSync(file, `SENT ${workspaceId} ${n}\n`),
      () => {}, // refused: it may be there or not
    );
    if (n % 4 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

await bus.on(
  EMIT_TOPIC,
  async (event) => {
    if (event.type !== 'crash.test') return; // the probe of the disk
    const n = event.payload.n as number;
    if (role === 'holder') {
      appendFileSync(file, `HELD ${event.source.workspaceId} ${n} ${name}\n`);
      await new Promise(() => {});
    }
    // Every ninth takes its time, so that kills meet handlers in the middle.
    if (n % 9 === 0) await new Promise((resolve) => setTimeout(resolve, 8));
    appendFileSync(file, `RAN ${event.source.workspaceId} ${n} ${name}\n`);
  },
  { group: 'crash' },
);
