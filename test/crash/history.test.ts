/** The processes that keep the events are killed with events in hand; `npm run storm:history` is the long version. */
import { expect, it } from '@jest/globals';
import { historyStorm } from './history-storm.ts';

it('keeps every event once although its processes die with events in hand', async () => {
  const report = await historyStorm({ events: 100_000, kills: 4 });

  console.log(JSON.stringify(report));
  expect(report).toMatchObject({ kills: 4, stored: report.events, missing: 0, dead: 0 });
  expect(report.receivedAgain).toBeGreaterThan(0);
  expect(report.storedBefore).toBeGreaterThan(0);
});
