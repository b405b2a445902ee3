/** Processes that run automations are killed every second; `npm run storm` is the long version. */
import { describe, expect, it } from '@jest/globals';
import { redisAvailable } from '../support/redis.ts';
import { storm } from './runtime-storm.ts';

if (redisAvailable())
  it('runs end as if nothing had happened while their processes are killed', async () => {
    const report = await storm({ runs: 150, perSecond: 40 });

    console.log(JSON.stringify(report));
    expect(report).toMatchObject({ runs: 150, done: 150, missing: [], doubled: 0, counter: 150, keys: 150 });
    expect(report.kills).toBeGreaterThan(1);
  });
else describe('runs under kill -9', () => it.skip('needs Redis', () => {}));
