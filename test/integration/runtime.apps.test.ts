/** Installed apps, identities, secrets of arguments, and runs seen by their owner; the real language, stores and rights. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { Runtime } from '../../services/runtime/open.ts';
import runtimeService from '../../services/runtime/runtime.service.ts';
import { eventually } from '../support/eventually.ts';
import { type RuntimeServices, startRuntime } from '../support/runtime-services.ts';

let runtime: RuntimeServices;
beforeAll(async () => {
  runtime = await startRuntime();
}, 60_000);
afterAll(() => runtime.stop());

const body = async (answer: Promise<{ body: unknown }>) => (await answer).body;
let serial = 0;

/** Publishes a workspace as an app and installs it as `inst` in a new one. */
async function installed(app: Record<string, JsonObject>, host: Record<string, JsonObject> = {}, config: JsonObject = {}) {
  const appSlug = `App${++serial}`;
  const source = await runtime.workspace(app);
  await runtime.call('apps.publish', { body: { workspaceId: source, slug: appSlug, name: appSlug } });
  const id = await runtime.workspace(host);
  await runtime.call('appInstances.install', { workspaceId: id, body: { appSlug, slug: 'inst', config } });
  await eventually(async () => expect(await runtime.call('runtime.triggers', { workspaceId: id })).toBeDefined());
  return { id, source, appSlug };
}

describe('an installed app', () => {
  it('answers at its own endpoint, with its configuration, private automations too', async () => {
    const { id } = await installed(
      { hi: { when: { endpoint: true }, private: true, output: { mode: '{{config.mode}}', instance: '{{run.appInstanceFullSlug}}' } } },
      {},
      { mode: 'fast' },
    );

    await eventually(async () => expect(await body(runtime.webhook(id, 'inst.hi'))).toEqual({ mode: 'fast', instance: 'inst' }));
  });

  it('is called by its host, except what is private, and emits under its name', async () => {
    const { id } = await installed(
      { work: { do: [{ emit: { event: 'done', payload: { n: '{{n}}' } } }], output: '{% {{n}} * 2 %}' }, hidden: { private: true } },
      {
        call: { when: { endpoint: true }, do: [{ 'inst.work': { n: 4, output: 'r' } }], output: '{{r}}' },
        pry: { when: { endpoint: true }, do: [{ 'inst.hidden': {} }] },
        heard: { when: { events: ['inst.done'] }, do: [{ emit: { event: 'host.heard', payload: { n: '{{payload.n}}' } } }] },
      },
    );

    await eventually(async () => expect(await body(runtime.webhook(id, 'call'))).toBe(8));
    await expect(runtime.webhook(id, 'pry')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
    await eventually(() => runtime.of(id, 'host.heard').length >= 1);
    expect(runtime.of(id, 'inst.done')[0]?.source).toMatchObject({ appInstanceFullSlug: 'inst', automationSlug: 'work' });
  });

  it('that configures itself when configured comes to rest', async () => {
    const { id } = await installed({
      setup: {
        when: { events: ['workspaces.apps.configured', 'workspaces.apps.installed'] },
        do: [{ set: { name: 'config', type: 'merge', value: { ready: true, runs: 1 } } }],
      },
      state: { when: { endpoint: true }, output: '{{config}}' },
    });

    await eventually(async () => expect(await body(runtime.webhook(id, 'inst.state'))).toMatchObject({ ready: true }));
    await eventually(async () =>
      expect(await runtime.call('appInstances.getConfig', { workspaceId: id, slug: 'inst' })).toMatchObject({ ready: true, runs: 1 }),
    );
    const configured = () => runtime.of(id, 'workspaces.apps.configured').length;
    const setups = () => runtime.of(id, 'runtime.automations.executed').filter(({ payload }) => payload.slug === 'setup').length;
    // The configuration is there before it is told of. Once the last of these events was answered by a run, the next would be told.
    await eventually(() => {
      expect(configured()).toBeGreaterThan(0);
      expect(setups()).toBe(runtime.of(id, 'workspaces.apps.installed').length + configured());
    });
    const before = configured();
    await runtime.emit(id, 'quiet');
    await eventually(() => runtime.of(id, 'quiet').length === 1);
    expect(configured()).toBe(before);
    expect(before).toBeLessThanOrEqual(2);
  });

  it('hears that it was installed, and that it is uninstalled', async () => {
    const { id } = await installed({
      life: {
        when: { events: ['workspaces.apps.installed', 'workspaces.apps.uninstalled'] },
        do: [{ emit: { event: 'life', payload: { type: '{{run.trigger.value}}' } } }],
      },
    });
    await eventually(() => runtime.of(id, 'inst.life').length === 1);

    await runtime.call('appInstances.remove', { workspaceId: id, slug: 'inst' });

    await eventually(() => runtime.of(id, 'inst.life').length === 2);
    expect(runtime.of(id, 'inst.life').map(({ payload }) => payload.type)).toEqual([
      'inst.workspaces.apps.installed',
      'inst.workspaces.apps.uninstalled',
    ]);
    await expect(runtime.webhook(id, 'inst.life')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
  });

  it('hears that its workspace is deleted', async () => {
    const { id } = await installed({ end: { when: { events: ['workspaces.apps.uninstalled'] }, do: [{ emit: { event: 'ended' } }] } });

    await runtime.call('workspaces.remove', { workspaceId: id });

    await eventually(() => runtime.of(id, 'inst.ended').length === 1);
    await expect(runtime.webhook(id, 'inst.end')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
  });

  it('hears its end on a node that has not read its workspace', async () => {
    const bye = {
      bye: { when: { events: ['workspaces.apps.uninstalled'] }, do: [{ emit: { event: 'bye', payload: { kept: '{{config.kept}}' } } }] },
    };
    const uninstalled = await installed(bye, {}, { kept: 'mine' });
    const removed = await installed(
      bye,
      { over: { when: { events: ['workspaces.deleted'] }, do: [{ emit: { event: 'over' } }] } },
      { kept: '{{secret.k}}' },
    );
    await runtime.call('secrets.patch', { workspaceId: removed.id, body: { k: { value: 'sealed to the end' } } });
    await runtime.broker.destroyService(runtime.broker.getLocalService('runtime'));
    runtime.broker.createService({ ...runtimeService });
    await runtime.broker.waitForServices('runtime');

    await runtime.call('appInstances.remove', { workspaceId: uninstalled.id, slug: 'inst' });
    await runtime.call('workspaces.remove', { workspaceId: removed.id });

    await eventually(() => expect(runtime.of(uninstalled.id, 'inst.bye').map(({ payload }) => payload)).toEqual([{ kept: 'mine' }]));
    await eventually(() =>
      expect(runtime.of(removed.id, 'inst.bye').map(({ payload }) => payload)).toEqual([{ kept: 'sealed to the end' }]),
    );
    await eventually(() => expect(runtime.of(removed.id, 'over')).toHaveLength(1));
    expect(JSON.stringify(runtime.of(uninstalled.id, 'workspaces.apps.uninstalled'))).not.toContain('mine');
  });

  it('follows the publication of a new version', async () => {
    const { id, source, appSlug } = await installed({ v: { when: { endpoint: true }, output: 1 } });
    await eventually(async () => expect(await body(runtime.webhook(id, 'inst.v'))).toBe(1));

    await runtime.call('automations.update', {
      workspaceId: source,
      slug: 'v',
      body: { name: 'v', do: [], when: { endpoint: true }, output: 2 },
    });
    await runtime.call('apps.publish', { body: { workspaceId: source, slug: appSlug, name: 'two' } });

    await eventually(async () => expect(await body(runtime.webhook(id, 'inst.v'))).toBe(2), { timeoutMs: 3_000 });
  });
});

describe('a run that waits inside an app', () => {
  const goOn = { wait: { oneOf: [{ event: 'on' }], timeout: 60 } };
  const isWaiting = (id: string) =>
    eventually(
      async () => expect((await runtime.call('runtime.runs.list', { workspaceId: id, query: { state: 'waiting' } })).runs).toHaveLength(1),
      { timeoutMs: 10_000 },
    );
  const republish = async (source: string, appSlug: string, work: JsonObject) => {
    await runtime.call('automations.update', { workspaceId: source, slug: 'work', body: { name: 'work', ...work } });
    await runtime.call('apps.publish', { body: { workspaceId: source, slug: appSlug, name: 'two' } });
  };

  it('ends as it began when the app is published anew meanwhile', async () => {
    const { id, source, appSlug } = await installed(
      { work: { do: [{ emit: { event: 'begun' } }, goOn, { emit: { event: 'ended', payload: { version: 1 } } }], output: 1 } },
      {
        go: { when: { events: ['go'] }, do: [{ 'inst.work': { output: 'r' } }, { emit: { event: 'finished', payload: { r: '{{r}}' } } }] },
      },
    );
    await runtime.emit(id, 'go');
    await isWaiting(id);

    await republish(source, appSlug, {
      do: [{ emit: { event: 'other' } }, { emit: { event: 'ended', payload: { version: 2 } } }],
      output: 2,
    });
    const present = runtime.broker.getLocalService('runtime') as unknown as { runtime: Runtime };
    await eventually(async () => expect(JSON.stringify((await present.runtime.models.get(id)).parts.apps)).toContain('"version":2'));
    await runtime.emit(id, 'inst.on');

    await eventually(() => expect(runtime.of(id, 'finished').map(({ payload }) => payload)).toEqual([{ r: 1 }]));
    expect(runtime.of(id, 'inst.ended').map(({ payload }) => payload)).toEqual([{ version: 1 }]);
    expect(runtime.of(id, 'inst.other')).toEqual([]);
    await runtime.emit(id, 'go');
    await eventually(() => expect(runtime.of(id, 'finished').map(({ payload }) => payload)).toEqual([{ r: 1 }, { r: 2 }]));
  });

  it('tells its workspace when it cannot be continued', async () => {
    const id = await runtime.workspace({ work: { when: { events: ['go'] }, do: [{ emit: { event: 'begun' } }, goOn] } });
    await runtime.emit(id, 'go');
    await isWaiting(id);
    const { runtime: parts } = runtime.broker.getLocalService('runtime') as unknown as { runtime: Runtime };
    const [run] = (await runtime.call('runtime.runs.list', { workspaceId: id })).runs;
    const { version } = await parts.models.get(id);
    const { cache } = runtime.broker.getLocalService('runtime') as unknown as { cache: CacheDriver };
    await cache.delete(`run:{${id}}:model:${version}`);
    const work = {
      name: 'work',
      do: [{ set: { name: 'global.first', value: 1 } }, { set: { name: 'global.second', value: 2 } }],
      when: { events: ['go'] },
    };
    await runtime.call('automations.update', { workspaceId: id, slug: 'work', body: work });

    await runtime.emit(id, 'on');

    await eventually(() => expect(runtime.of(id, 'error')).toHaveLength(1));
    expect(runtime.of(id, 'error')[0]).toMatchObject({ payload: { error: 'RunLostError' }, source: { automationSlug: 'work' } });
    expect(await runtime.call('runtime.runs.get', { workspaceId: id, runId: run.id })).toMatchObject({ state: 'failed' });
  });
});

describe('identities', () => {
  it('are switched by session.id for what follows, and switched back', async () => {
    const id = await runtime.workspace({
      bot: {
        when: { endpoint: true },
        do: [
          { set: { name: 'own', value: '{{session.id}}' } },
          { set: { name: 'session.cart', value: 'mine' } },
          { set: { name: 'session.id', value: 'chat-7' } },
          { set: { name: 'session.cart', value: 'theirs' } },
          { set: { name: 'inside', value: '{{user.id}}/{{session.id}}' } },
          { emit: { event: 'bot.said' } },
          { set: { name: 'session.id', value: '{{own}}' } },
        ],
        output: { inside: '{{inside}}', cart: '{{session.cart}}', back: '{{user.id}}' },
      },
    });

    expect(await body(runtime.webhook(id, 'bot', {}, {}, { userId: 'owner' }))).toEqual({
      inside: 'chat-7/chat-7',
      cart: 'mine',
      back: 'owner',
    });
    await eventually(() => runtime.of(id, 'bot.said')[0]?.source.sessionId === 'chat-7');
  });

  it('gain no right by switching', async () => {
    const id = await runtime.workspace({
      climb: { when: { endpoint: true }, do: [{ set: { name: 'user.id', value: 'owner' } }, { guarded: {} }] },
      guarded: { authorizations: { action: 'refund' } },
    });

    await expect(runtime.webhook(id, 'climb', {}, {}, { userId: 'stranger' })).rejects.toMatchObject({ type: 'ForbiddenError' });
  });

  it('gain no right by switching and telling others to act: not by an id, not by an open session, not two events later', async () => {
    const id = await runtime.workspace({
      hello: { when: { endpoint: true } },
      byUser: { when: { endpoint: true }, do: [{ set: { name: 'user.id', value: 'owner' } }, { emit: { event: 'act' } }] },
      bySession: { when: { endpoint: true }, do: [{ set: { name: 'session.id', value: 'session-owner' } }, { emit: { event: 'act' } }] },
      relay: { when: { events: ['act'] }, do: [{ emit: { event: 'later' } }] },
      act: {
        when: { events: ['act', 'later'] },
        do: [
          { run: { module: 'secrets', function: 'get', parameters: { name: 'x', scope: 'user' }, output: 'kept' } },
          { auth: { output: 'pass' } },
          { try: { do: [{ guarded: {} }], catch: [{ set: { name: 'why', value: '{{$error.error}}' } }] } },
          { emit: { event: 'acted', payload: { as: '{{user.id}}', role: '{{user.role}}', why: '{{why}}', kept: '{{kept}}' } } },
        ],
      },
      guarded: { authorizations: { action: 'refund' }, do: [{ emit: { event: 'refunded' } }] },
    });
    // The owner's session is open, and known to the runtime.
    await runtime.webhook(id, 'hello', {}, {}, { userId: 'owner' });
    const before = runtime.minted.length;

    await runtime.webhook(id, 'byUser', {}, {}, { userId: 'stranger' });
    await runtime.webhook(id, 'bySession', {}, {}, { userId: 'stranger' });

    await eventually(() => expect(runtime.of(id, 'acted')).toHaveLength(4));
    for (const { payload } of runtime.of(id, 'acted'))
      expect(payload).toEqual({ as: 'owner', why: 'ForbiddenError', kept: { error: 'user_required' } });
    expect(runtime.of(id, 'refunded')).toEqual([]);
    // What such a run calls, it calls as nobody.
    const minted = runtime.minted.slice(before);
    expect(minted).toHaveLength(4);
    for (const token of minted) expect(token).not.toHaveProperty('userId');
  });

  it('of who really emits keep their rights in what the event starts', async () => {
    const id = await runtime.workspace({
      ask: { when: { endpoint: true }, do: [{ emit: { event: 'act' } }] },
      act: { when: { events: ['act'] }, do: [{ guarded: {} }] },
      guarded: { authorizations: { action: 'refund' }, do: [{ emit: { event: 'refunded', payload: { role: '{{user.role}}' } } }] },
    });

    await runtime.webhook(id, 'ask', {}, {}, { userId: 'owner' });

    await eventually(() => expect(runtime.of(id, 'refunded').map(({ payload }) => payload)).toEqual([{ role: 'owner' }]));
  });

  it('of the workspace are handed out as tokens', async () => {
    const id = await runtime.workspace({
      pass: { when: { endpoint: true }, do: [{ auth: { workspace: true, output: 'p' } }], output: '{{p.jwt}}' },
    });

    expect(await body(runtime.webhook(id, 'pass', {}, {}, { userId: 'ada' }))).toBe('jwt-workspace');
    expect(runtime.minted.at(-1)).toMatchObject({ kind: 'workspace', workspaceId: id, userId: 'ada' });
  });
});

describe('native events', () => {
  it('hide secret arguments of parent and child, and the credentials of the request', async () => {
    const id = await runtime.workspace({
      parent: { when: { endpoint: true }, do: [{ child: { token: '{{body.token}}', output: 'r' } }], output: '{{r}}' },
      child: { arguments: { token: { type: 'string', secret: true } }, output: 'got {{token}}' },
    });

    expect(await body(runtime.webhook(id, 'parent', { token: 'tok-123456' }, { headers: { authorization: 'Bearer abc-123' } }))).toBe(
      'got tok-123456',
    );

    await eventually(() => runtime.of(id, 'runtime.automations.executed').length === 2);
    const text = JSON.stringify(runtime.of(id, 'runtime.automations.executed'));
    expect(text).not.toContain('tok-123456');
    expect(text).not.toContain('abc-123');
    expect(text).not.toContain('$http');
    expect(text).toContain('REDACTED');
  });
});

describe('runs', () => {
  it('that wait are listed, and cancelled with what they wait for', async () => {
    const id = await runtime.workspace({
      sleeper: { when: { events: ['sleep'] }, do: [{ wait: { oneOf: [{ event: 'never' }], timeout: 600 } }] },
    });
    const event = await runtime.emit(id, 'sleep');
    const list = () => runtime.call('runtime.runs.list', { workspaceId: id });

    await eventually(
      async () =>
        expect((await list()).runs).toMatchObject([{ automation: 'sleeper', state: 'waiting', waitingFor: { events: ['never'] } }]),
      { timeoutMs: 10_000 },
    );
    const [run] = (await list()).runs;
    expect(run.correlationId).toBe(event.source.correlationId);
    expect(await runtime.call('runtime.runs.cancel', { workspaceId: id, runId: run.id })).toEqual({ cancelled: 1 });

    expect(await runtime.call('runtime.runs.get', { workspaceId: id, runId: run.id })).toMatchObject({ state: 'cancelled' });
  });

  it('that failed are listed with the reason, and begun again by their owner', async () => {
    const id = await runtime.workspace({
      fragile: {
        when: { events: ['try'] },
        do: [
          { set: { name: 'global.tries', value: '{% {{global.tries}} + 1 %}' } },
          { conditions: { '!{{global.fixed}}': [{ 'not there yet': {} }] } },
          { set: { name: 'global.done', value: true } },
        ],
      },
      fix: {
        when: { endpoint: true },
        do: [{ set: { name: 'global.fixed', value: true } }],
        output: { done: '{{global.done}}', tries: '{{global.tries}}' },
      },
    });
    await runtime.emit(id, 'try');
    const failed = await eventually(async () => {
      const { runs } = await runtime.call('runtime.runs.list', { workspaceId: id, query: { state: 'failed' } });
      expect(runs).toHaveLength(1);
      return runs[0];
    });
    expect(failed.error).toMatchObject({ error: 'ObjectNotFoundError' });
    await expect(runtime.call('runtime.runs.retry', { workspaceId: id, runId: failed.id }, { userId: 'stranger' })).rejects.toMatchObject({
      type: 'ForbiddenError',
    });

    await runtime.webhook(id, 'fix');
    expect(await runtime.call('runtime.runs.retry', { workspaceId: id, runId: failed.id })).toMatchObject({ state: 'accepted' });

    await eventually(async () =>
      expect((await runtime.call('runtime.runs.get', { workspaceId: id, runId: failed.id })).state).toBe('done'),
    );
    expect(await body(runtime.webhook(id, 'fix'))).toEqual({ done: true, tries: 1 });
  });

  it('that failed repeat nothing they had completed, whatever else of their workspace was changed', async () => {
    const { id, source } = await installed(
      { pay: { do: [{ emit: { event: 'paid' } }] }, idle: {}, ping: { when: { endpoint: true }, output: 1 } },
      {
        order: {
          when: { events: ['order'] },
          do: [
            { 'inst.pay': {} },
            { charge: {} },
            { conditions: { '!{{global.repaired}}': [{ 'not there': {} }] } },
            { emit: { event: 'delivered' } },
          ],
        },
        charge: { do: [{ emit: { event: 'charged' } }] },
        repair: { when: { endpoint: true }, do: [{ set: { name: 'global.repaired', value: true } }] },
      },
    );
    await eventually(async () => expect(await body(runtime.webhook(id, 'inst.ping'))).toBe(1));
    await runtime.emit(id, 'order');
    const failed = await eventually(async () => {
      const { runs } = await runtime.call('runtime.runs.list', { workspaceId: id, query: { state: 'failed' } });
      expect(runs).toHaveLength(1);
      return runs[0];
    });

    await runtime.webhook(id, 'repair');
    await runtime.call('automations.create', { workspaceId: id, body: { slug: 'unrelated', name: 'unrelated', do: [] } });
    await runtime.call('automations.update', {
      workspaceId: source,
      slug: 'idle',
      body: { name: 'idle', do: [{ set: { name: 'x', value: 1 } }] },
    });
    await runtime.call('runtime.runs.retry', { workspaceId: id, runId: failed.id });

    await eventually(() => runtime.of(id, 'delivered').length === 1);
    expect(runtime.of(id, 'charged')).toHaveLength(1);
    expect(runtime.of(id, 'inst.paid')).toHaveLength(1);
  });

  it('that failed run their new version when their workspace was repaired', async () => {
    const id = await runtime.workspace({ wrong: { when: { events: ['go'] }, do: [{ emit: { event: 'first' } }, { 'not there': {} }] } });
    await runtime.emit(id, 'go');
    const failed = await eventually(async () => {
      const { runs } = await runtime.call('runtime.runs.list', { workspaceId: id, query: { state: 'failed' } });
      expect(runs).toHaveLength(1);
      return runs[0];
    });

    await runtime.call('automations.update', {
      workspaceId: id,
      slug: 'wrong',
      body: { name: 'wrong', when: { events: ['go'] }, do: [{ emit: { event: 'repaired' } }] },
    });
    await runtime.call('runtime.runs.retry', { workspaceId: id, runId: failed.id });

    await eventually(() => runtime.of(id, 'repaired').length === 1);
    await eventually(async () =>
      expect((await runtime.call('runtime.runs.get', { workspaceId: id, runId: failed.id })).state).toBe('done'),
    );
  });
});
