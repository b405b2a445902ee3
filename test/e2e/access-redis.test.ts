/** Row 68: the Redis users of docs/redis-users.acl are enough for the platform to work with, and for nothing else. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { type Client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, startPlatform } from '../support/platform.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/redis.ts';

const NAMESPACE = `acl-${process.pid}`;
const USERS = ['transporter', 'bus', 'cache'] as const;
const when = redisAvailable() ? describe : describe.skip;

when('the users of Redis', () => {
  let redis: TestRedis;
  let platform: Platform;
  let owner: Client;
  let admin: Redis;
  const passwords = Object.fromEntries(USERS.map((name) => [name, randomBytes(16).toString('hex')])) as Record<
    (typeof USERS)[number],
    string
  >;
  const urlOf = (user: (typeof USERS)[number]) => redis.url.replace('redis://', `redis://${user}:${passwords[user]}@`);
  const as = (user: (typeof USERS)[number]) => new Redis(urlOf(user), { maxRetriesPerRequest: 1 });

  beforeAll(async () => {
    redis = await startRedis({ isolated: true });
    admin = new Redis(redis.url);
    const lines = readFileSync(join(import.meta.dirname, '../../docs/redis-users.acl'), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('user ') && !line.startsWith('user default'));
    for (const line of lines) {
      const rules = USERS.reduce(
        (text, name) => text.replace(`PASSWORD_${name.toUpperCase()}`, createHash('sha256').update(passwords[name]).digest('hex')),
        line,
      ).replaceAll('NAMESPACE', NAMESPACE);
      await admin.call('ACL', 'SETUSER', ...rules.split(' ').slice(1).filter(Boolean));
    }
    platform = await startPlatform({
      mode: 'embedded',
      env: { PRISME_NAMESPACE: NAMESPACE, TRANSPORTER: urlOf('transporter'), BUS_URL: urlOf('bus'), CACHE_URL: urlOf('cache') },
    });
    await platform.start('all');
    owner = await newUser(platform.url, 'owner');
  });
  afterAll(async () => {
    await platform?.stop();
    admin?.disconnect();
    await redis?.stop();
  });

  it('68: are enough for workspaces, runs, events, waits and sockets on two nodes', async () => {
    const { id } = await expectOk(owner.post('/workspaces', { name: 'ACL' }));
    const at = `/workspaces/${id}`;
    await expectOk(
      owner.post(`${at}/automations`, {
        name: 'go',
        slug: 'go',
        when: { endpoint: true },
        do: [
          { set: { name: 'session.n', value: 1 } },
          { emit: { event: 'acl.asked' } },
          { wait: { oneOf: [{ event: 'acl.answered' }], timeout: 10, output: 'x' } },
        ],
        output: '{{session.n}}',
      }),
    );
    await expectOk(
      owner.post(`${at}/automations`, {
        name: 'answer',
        slug: 'answer',
        when: { events: ['acl.asked'] },
        do: [{ emit: { event: 'acl.answered' } }],
      }),
    );
    const socket = await owner.events(id);
    const seen: string[] = [];
    socket.onAny((type: string) => seen.push(type));
    try {
      for (const url of platform.gateways)
        await eventually(async () => expect((await Object.assign(owner, { url }).post(`${at}/webhooks/go`, {})).body).toBe(1));
      await eventually(() => seen.includes('acl.answered'));
      await eventually(async () => (await expectOk(owner.get(`${at}/events?type=acl.answered`))).result.events.length > 0);
    } finally {
      socket.close();
    }
    // Nothing was refused to the platform itself.
    const log = (await admin.call('ACL', 'LOG')) as unknown[];
    expect(log).toEqual([]);
  });

  it('68: read no session, no event and no channel that is not theirs, and administer nothing', async () => {
    const names = (await admin.keys('*')).sort();
    const [session] = names.filter((name) => /session/.test(name));
    const [log] = names.filter((name) => name.includes(':bus'));
    expect([typeof session, typeof log]).toEqual(['string', 'string']);
    const [transporter, bus, cache] = USERS.map(as) as [Redis, Redis, Redis];
    const refused = async (what: string, work: Promise<unknown>) =>
      expect([
        what,
        await work.then(
          () => 'done',
          (error: Error) => error.message.split(' ')[0],
        ),
      ]).toEqual([what, 'NOPERM']);
    try {
      for (const [name, user] of [
        ['transporter', transporter],
        ['bus', bus],
      ] as const) {
        await refused(`${name}: type`, user.type(session as string));
        await refused(`${name}: get`, user.get(session as string));
        await refused(`${name}: dump`, user.call('DUMP', session as string));
      }
      await refused('transporter: bus', transporter.call('XLEN', log as string));
      await refused('cache: bus', cache.call('TYPE', log as string));
      await refused('cache: write bus', cache.set(log as string, '1'));
      for (const [name, user] of [
        ['transporter', transporter],
        ['bus', bus],
        ['cache', cache],
      ] as const) {
        await refused(`${name}: other namespace`, user.subscribe('MOL-other.REQ.x'));
        await refused(`${name}: everything`, user.psubscribe('*'));
        await refused(`${name}: publish`, user.publish('MOL-other.EVENT', '{}'));
        for (const command of [
          ['CONFIG', 'GET', '*'],
          ['FLUSHALL'],
          ['KEYS', '*'],
          ['ACL', 'LIST'],
          ['SHUTDOWN'],
          ['MONITOR'],
          ['REPLICAOF', 'NO', 'ONE'],
          ['MODULE', 'LIST'],
        ])
          await refused(`${name}: ${command.join(' ')}`, user.call(command[0] as string, ...command.slice(1)));
      }
      await refused('bus: packets', bus.subscribe(`MOL-${NAMESPACE}.REQ.x`));
      await refused('cache: packets', cache.subscribe(`MOL-${NAMESPACE}.REQ.x`));
    } finally {
      for (const user of [transporter, bus, cache]) user.disconnect();
    }
  });
});
