/** A workspace that does more at once than it may: nothing that only waits is in the way of others, and nothing waits for itself. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, startPlatform } from '../support/platform.ts';

const LIMIT = 3;

const automation = (slug: string, list: object[], output?: unknown, when: object = { endpoint: true }) => ({
  slug,
  name: slug,
  when,
  do: list,
  ...(output === undefined ? {} : { output }),
});

describe('a workspace at its limit of runs', () => {
  let platform: Platform;
  let owner: Client;
  let webhooks: string;

  beforeAll(async () => {
    platform = await startPlatform({ mode: 'embedded', env: { RUNS_PER_WORKSPACE: String(LIMIT), LOG_LEVEL: 'error' } });
    owner = await newUser(platform.url, 'owner');
    const { id } = await expectOk(owner.post('/workspaces', { name: 'Turns' }));
    webhooks = `/workspaces/${id}/webhooks`;
    const post = (slug: string) => ({ fetch: { url: `${platform.url}${webhooks}/${slug}`, method: 'post', body: {}, output: 'answer' } });
    const mine = '{{run.correlationId}}';
    for (const one of [
      automation('ping', [], 'pong'),
      automation('inner', [{ wait: { timeout: 1.5 } }], 'in'),
      automation('outer', [post('inner')], '{{answer}}'),
      automation(
        'ask',
        [
          { emit: { event: 'asked', payload: { of: mine } } },
          { wait: { oneOf: [{ event: 'told', filters: { 'payload.of': mine } }], timeout: 10, output: 'told' } },
        ],
        '{{told.payload.of}}',
      ),
      automation('reply', [{ emit: { event: 'told', payload: { of: '{{payload.of}}' } } }], undefined, { events: ['asked'] }),
      automation('doze', [{ wait: { timeout: 2 } }], 'dozed'),
      automation(
        'live',
        [
          { set: { name: '$http', value: { chunk: { n: 1 } } } },
          { wait: { timeout: 2 } },
          { set: { name: 'global.live.{{body.as}}', value: true } },
          { set: { name: '$http', value: { chunk: { n: 2 } } } },
        ],
        'end',
      ),
      automation('lived', [], '{{global.live}}'),
    ])
      await expectOk(owner.post(`/workspaces/${id}/automations`, one));
    await eventually(async () => (await owner.post(`${webhooks}/ping`, {})).status === 200);
  }, 60_000);

  afterAll(() => platform?.stop(), 30_000);

  const all = (slug: string, count: number) =>
    Promise.all(Array.from({ length: count }, () => expectOk(owner.post(`${webhooks}/${slug}`, {}))));
  const inTime = async (work: () => Promise<unknown>) => {
    const began = performance.now();
    await work();
    return performance.now() - began;
  };

  it('lets runs that wait for an answer wait beside those that give it', async () => {
    const answers = await all('ask', 10 * LIMIT);

    expect(answers.every((answer) => typeof answer === 'string' && answer.length > 10)).toBe(true);
  });

  it('serves others while many wait for a time', async () => {
    const dozing = all('doze', 5 * LIMIT);
    await new Promise((resolve) => setTimeout(resolve, 300));

    expect(await inTime(() => all('ping', 1))).toBeLessThan(1_500);

    expect(new Set(await dozing)).toEqual(new Set(['dozed']));
  });

  it('does not let runs wait for a turn that is held by those that called them, also when they leave memory on the way', async () => {
    expect(new Set(await all('outer', 2 * LIMIT))).toEqual(new Set(['in']));
  });

  const stream = (key: string, signal?: AbortSignal) =>
    fetch(`${platform.url}${webhooks}/live`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key, authorization: `Bearer ${owner.token}` },
      body: JSON.stringify({ as: key }),
      ...(signal ? { signal } : {}),
    });

  it('brings the whole stream of a call with an Idempotency-Key, however long its run waits in between', async () => {
    const text = await (await stream('whole')).text();

    expect(text.match(/data: .*/g)).toEqual(['data: {"n":1}', 'data: {"n":2}', 'data: "end"']);
  });

  it('goes on with such a run when its reader leaves', async () => {
    const away = new AbortController();
    const reader = ((await stream('left', away.signal)).body as ReadableStream<Uint8Array>).getReader();
    await reader.read();

    away.abort();

    await eventually(async () => expect(await expectOk(owner.post(`${webhooks}/lived`, {}))).toMatchObject({ left: true }), {
      timeoutMs: 10_000,
    });
  });
});
