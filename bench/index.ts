/**
 * bench — `npm run bench [-- webhook bus …]`: a table of figures, each beside the limit measured in the same run, and the same as JSON in
 * bench/results.json. Quote medians, and say on what machine: these figures are ratios because machines differ.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Row } from './row.ts';

const ROOMS = ['webhook', 'language', 'runtime', 'bus', 'events', 'gateway', 'workspaces', 'failover'];
/** Take minutes, so they are asked for by name. */
const LONG_ROOMS = ['soak'];
const wanted = process.argv.slice(2);
const results: Record<string, Row[]> = {};

for (const room of [...ROOMS, ...LONG_ROOMS]) {
  const file = join(import.meta.dirname, `${room}.ts`);
  if ((wanted.length || LONG_ROOMS.includes(room)) && !wanted.includes(room)) continue;
  if (!existsSync(file)) continue;
  console.log(`\n${room}`);
  const { rows } = (await import(file)) as { rows(): Promise<Row[]> };
  results[room] = await rows();
  for (const { name, value, unit, limit, ratio, goal } of results[room]) {
    const compared = ratio === undefined ? '' : `  ${(ratio * 100).toFixed(1)} % of ${limit?.name ?? 'the limit'} (${limit?.value})`;
    console.log(`  ${name.padEnd(60)} ${String(value).padStart(12)} ${unit}${compared}${goal ? `  goal ${goal}` : ''}`);
  }
}

const report = { at: new Date().toISOString(), node: process.version, cpu: cpus()[0]?.model, cores: cpus().length, results };
writeFileSync(join(import.meta.dirname, 'results.json'), `${JSON.stringify(report, null, 2)}\n`);
process.exit(0);
