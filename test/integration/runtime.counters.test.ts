/** Counters of the language under concurrency: two nodes over the same stores, real runs. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { redisAvailable, startRedis } from '../support/redis.ts';
import { type RuntimeServices, startRuntime } from '../support/runtime-services.ts';

const CALLS = 60;

/** What is counted: name, value, and what it is after 60 calls. */
const FORMS: [title: string, name: string, value: string, read: string, expected: number, initial?: number][] = [
  ['the counter first', 'global.n', '{% {{global.n}} + 1 %}', '{{global.n}}', CALLS],
  ['or nothing, from nothing', 'global.m', '{% ({{global.m}} or 0) + 1 %}', '{{global.m}}', CALLS],
  ['the counter behind', 'global.q', '{% 1 + {{global.q}} %}', '{{global.q}}', CALLS, 0],
  ['several terms', 'global.k', '{% {{global.k}} + 1 + 1 %}', '{{global.k}}', 2 * CALLS, 0],
  ['terms of the request', 'global.sum', '{% {{body.add}} + {{global.sum}} - {{body.take}} %}', '{{global.sum}}', 2 * CALLS, 100],
  ['a computed place', 'global.votes[{{body.c}}]', '{% {{global.votes[{{body.c}}]}} + 1 %}', '{{global.votes.x}}', CALLS, 0],
  [
    'a computed place, from nothing',
    'global.ballots[{{body.c}}]',
    '{% ({{global.ballots[{{body.c}}]}} or 0) + 1 %}',
    '{{global.ballots.x}}',
    CALLS,
  ],
  [
    'a computed place behind the variable',
    'global.polls.{{body.c}}',
    '{% ({{global.polls}}[{{body.c}}] or 0) + 1 %}',
    '{{global.polls.x}}',
    CALLS,
  ],
];

function suite(title: string, open: () => Promise<{ overrides: object; close(): Promise<void> }>): void {
  describe(title, () => {
    let stores: Awaited<ReturnType<typeof open>>;
    let nodes: RuntimeServices[];
    let id: string;
    const dataDir = mkdtempSync(join(tmpdir(), 'prisme-counters-'));

    beforeAll(async () => {
      stores = await open();
      const overrides = { dataDir, rateLimitDisabled: true, ...stores.overrides };
      nodes = [await startRuntime(overrides), await startRuntime(overrides)];
      const automations = FORMS.map(([, name, value], form) => [
        `count${form}`,
        { when: { endpoint: true }, do: [{ set: { name, value } }] },
      ]);
      id = await (nodes[0] as RuntimeServices).workspace({
        ...Object.fromEntries(automations),
        init: { when: { endpoint: true }, do: [{ set: { name: '{{body.name}}', value: '{{body.value}}' } }] },
        read: { when: { endpoint: true }, output: FORMS.map(([, , , read]) => read) },
      });
    }, 60_000);
    afterAll(async () => {
      await Promise.all(nodes.map((node) => node.stop()));
      await stores.close();
      rmSync(dataDir, { recursive: true, force: true });
    });

    it.each(FORMS.map(([form], index) => [form, index] as const))('loses no count: %s', async (_, form) => {
      const [, , , read, expected, initial] = FORMS[form] as (typeof FORMS)[number];
      const [first] = nodes as [RuntimeServices];
      if (initial !== undefined) await first.webhook(id, 'init', { name: read.slice(2, -2), value: initial });

      const calls = Array.from({ length: CALLS }, (_, n) =>
        (nodes[n % 2] as RuntimeServices).webhook(id, `count${form}`, { c: 'x', add: 5, take: 3 }, {}, { userId: 'ada' }),
      );
      const answers = await Promise.all(calls);

      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
      expect((await first.webhook(id, 'read')).body[form]).toBe((initial ?? 0) + expected);
    });
  });
}

suite('counters on two nodes', async () => ({ overrides: {}, close: async () => {} }));

if (redisAvailable())
  suite('counters on two nodes over Redis', async () => {
    const redis = await startRedis();
    return { overrides: { busUrl: redis.url, cacheUrl: redis.url }, close: () => redis.stop() };
  });
else describe('counters on two nodes over Redis', () => it.skip('needs Redis', () => {}));
