/** The negative cases of access-control.md 11, each by its number, on two nodes over one Redis. Those that need no platform are in test/unit/auth. */
import { afterAll, beforeAll, describe } from '@jest/globals';
import { redisAvailable } from '../support/redis.ts';
import { busRows } from './access-rows/bus.suite.ts';
import { type Cluster, startCluster } from './access-rows/cluster.ts';
import { identityRows } from './access-rows/identity.suite.ts';
import { inputRows } from './access-rows/inputs.suite.ts';
import { objectRows } from './access-rows/objects.suite.ts';

const when = redisAvailable() ? describe : describe.skip;

when('access, row', () => {
  let cluster: Cluster;
  const given = () => cluster;
  beforeAll(async () => {
    cluster = await startCluster();
  });
  afterAll(() => cluster?.stop());

  identityRows(given);
  objectRows(given);
  inputRows(given);
  busRows(given);
});
