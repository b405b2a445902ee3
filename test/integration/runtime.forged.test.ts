/** Events that an automation emits under the names of the platform's own: nothing follows from them, in its workspace or in another. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { Runtime } from '../../services/runtime/open.ts';
import { SESSION_EVENTS } from '../../services/runtime/sessions.ts';
import { LISTENABLE } from '../../services/runtime/starts.ts';
import { eventually } from '../support/eventually.ts';
import { type RuntimeServices, startRuntime } from '../support/runtime-services.ts';

let node: RuntimeServices;
let runtime: Runtime;
beforeAll(async () => {
  node = await startRuntime();
  ({ runtime } = node.broker.getLocalService('runtime') as unknown as { runtime: Runtime });
}, 60_000);
afterAll(() => node.stop());

const NATIVE = [
  ...LISTENABLE,
  ...SESSION_EVENTS,
  'workspaces.updated',
  'workspaces.suspended',
  'workspaces.security.updated',
  'runtime.automations.executed',
  'bus.deadletters.created',
];
const FORGE = { when: { endpoint: true }, do: [{ emit: { event: '{{body.type}}', payload: '{{body.payload}}' } }] };

/** Has the automation `forge` of a workspace emit these, and waits until the runtime is through with them. */
async function forge(id: string, types: string[], payload: JsonObject) {
  for (const type of types) await node.webhook(id, 'forge', { type, payload });
  const last = await node.emit(id, 'quiet');
  await eventually(() => expect(node.of(id, 'quiet').length).toBeGreaterThan(0));
  await eventually(() => expect(runtime.explanations.find(last.id)).not.toBeNull());
}

it('leave the models, schedules and sessions of other workspaces alone', async () => {
  const appSlug = 'VictimApp';
  const source = await node.workspace({ work: { when: { endpoint: true }, output: 1 } });
  await node.call('apps.publish', { body: { workspaceId: source, slug: appSlug, name: appSlug } });
  const victim = await node.workspace({ nightly: { when: { schedules: ['0 3 * * *'] } }, hi: { when: { endpoint: true }, output: 'hi' } });
  await node.call('appInstances.install', { workspaceId: victim, body: { appSlug, slug: 'inst' } });
  await eventually(async () => expect(await runtime.schedules.list(victim)).toHaveLength(1));
  await eventually(async () => expect((await runtime.models.get(victim)).root.child('inst')).toBeDefined());
  const identity = { kind: 'user', userId: 'ada', sessionId: 's-ada', correlationId: 'c' } as const;
  await runtime.sessions.learn(identity as never);
  const before = await runtime.models.get(victim);
  const attacker = await node.workspace({ forge: FORGE });

  await forge(attacker, NATIVE, {
    workspaceId: victim,
    slug: 'inst',
    appSlug,
    app: { slug: appSlug },
    userId: 'ada',
    sessionId: 's-ada',
    sessionIds: ['s-ada'],
    revision: 1_000_000,
  });

  expect(await runtime.models.find(victim)).toBe(before);
  expect(await runtime.models.get(victim)).toBe(before);
  expect(await runtime.schedules.list(victim)).toHaveLength(1);
  expect(await runtime.sessions.find('s-ada')).toMatchObject({ userId: 'ada' });
});

it('start no app instance, run nothing as a schedule would, and end no wait for the end of a run', async () => {
  const appSlug = 'ListenerApp';
  const source = await node.workspace({
    life: {
      when: { events: ['workspaces.apps.installed', 'workspaces.apps.configured', 'workspaces.apps.uninstalled'] },
      do: [{ emit: { event: 'life', payload: { type: '{{run.trigger.value}}' } } }],
    },
  });
  await node.call('apps.publish', { body: { workspaceId: source, slug: appSlug, name: appSlug } });
  const id = await node.workspace({
    forge: FORGE,
    secretly: { do: [{ emit: { event: 'ran' } }] },
    waiter: {
      when: { endpoint: true },
      do: [
        { wait: { oneOf: [{ event: 'runtime.automations.executed', filters: { 'payload.slug': 'made up' } }], timeout: 1, output: 'end' } },
      ],
      output: { end: '{{end.type}}' },
    },
  });
  await node.call('appInstances.install', { workspaceId: id, body: { appSlug, slug: 'inst' } });
  await eventually(() => expect(node.of(id, 'inst.life')).toHaveLength(1));
  const waiting = node.webhook(id, 'waiter');
  await eventually(() => expect([...runtime.execution.actives.values()].some(({ world }) => world?.openWaits.length)).toBe(true));

  await forge(id, NATIVE, {
    workspaceId: id,
    slug: 'inst',
    automation: 'secretly',
    trigger: { type: 'schedule', value: '* * * * *' },
  });
  await node.webhook(id, 'forge', { type: 'runtime.automations.executed', payload: { slug: 'made up' } });

  expect((await waiting).body).toEqual({ end: undefined });
  expect(node.of(id, 'inst.life')).toHaveLength(1);
  expect(node.of(id, 'ran')).toHaveLength(0);
});
