/** Dead letters and the state of the bus through their actions: who may see and change what, one or all, and what is told of them. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Service, ServiceSchema } from 'moleculer';
import { type BusMethods, bus } from '../../mixins/bus/bus.mixin.ts';
import type { BusStatus, DeadLetter } from '../../mixins/bus/contract.ts';
import { EMIT_TOPIC, type PrismeEvent } from '../../mixins/shared/event.ts';
import { type EventsNode, startEvents } from '../support/events-node.ts';
import { eventually } from '../support/eventually.ts';

let node: EventsNode;
let eventBus: BusMethods['bus'];
let isBroken = true;
const handled: PrismeEvent[] = [];

/** A consumer group that gives up at the first failure. */
const fragile: ServiceSchema<object, any> = {
  name: 'fragile',
  mixins: [bus()],
  async started(this: Service & BusMethods) {
    eventBus = this.bus;
    await this.bus.on(
      [EMIT_TOPIC, 'workspaces.deleted'],
      (event) => {
        if (isBroken) throw new TypeError(`cannot handle ${event.type}`);
        handled.push(event);
      },
      { group: 'fragile', attempts: 1 },
    );
  },
};

beforeAll(async () => {
  node = await startEvents();
  node.broker.createService(fragile as ServiceSchema);
  await eventually(() => eventBus !== undefined);
});
afterAll(() => node.stop());
beforeEach(async () => {
  await eventually(async () => (await eventBus.lag()).every(({ entries }) => entries === 0));
  await eventBus.dropDeadLetters({});
  isBroken = true;
  handled.length = 0;
});

const call = (userId: string, role?: 'superadmin') => node.as({ userId, role });
const owner = () => call('owner');
const admin = () => call('admin', 'superadmin');
const send = (workspaceId: string, n: number) => eventBus.send('order.paid', { n }, { topic: EMIT_TOPIC, source: { workspaceId } });
const list = (as: ReturnType<typeof call>, params: object) =>
  as<{ result: DeadLetter[] }>('bus.deadLetters.list', params).then(({ result }) => result);
const areDead = (count: number) => eventually(async () => expect(await eventBus.deadLetters({})).toHaveLength(count));

describe('dead letters', () => {
  it('are told of in their workspace, and shown to its owner with the reason', async () => {
    const poison = await send('w1', 1);
    await areDead(1);

    const [letter] = await list(owner(), { workspaceId: 'w1' });

    expect(letter).toMatchObject({
      group: 'fragile',
      event: poison,
      attempts: 1,
      error: { error: 'TypeError', message: 'cannot handle order.paid' },
    });
    expect(await owner()('bus.deadLetters.get', { workspaceId: 'w1', id: letter?.id })).toEqual(letter);
    expect(await list(owner(), { workspaceId: 'slug:w1-slug' })).toEqual([letter]);
    await eventually(async () => {
      const { result } = await owner()<any>('events.find', { workspaceId: 'w1', query: { types: 'bus.deadletters.created' } });
      expect(result.events[0]).toMatchObject({ payload: { group: 'fragile', eventId: poison.id, type: 'order.paid', attempts: 1 } });
    });
  });

  it('are handed over again, one or all', async () => {
    for (const n of [1, 2, 3]) await send('w1', n);
    await areDead(3);
    isBroken = false;
    const [, second] = await list(owner(), { workspaceId: 'w1' });

    expect(await owner()('bus.deadLetters.redrive', { workspaceId: 'w1', body: { ids: [second?.id] } })).toEqual({ redriven: 1 });
    await eventually(() => handled.length === 1);
    expect(await owner()('bus.deadLetters.redrive', { workspaceId: 'w1' })).toEqual({ redriven: 2 });

    await eventually(() => handled.length === 3);
    expect(handled.map(({ payload }) => payload.n)).toEqual([2, 1, 3]);
    expect(await list(owner(), { workspaceId: 'w1' })).toEqual([]);
    // A second request for the same letter finds nothing: it is handed over once.
    expect(await owner()('bus.deadLetters.redrive', { workspaceId: 'w1', body: { ids: [second?.id] } })).toEqual({ redriven: 0 });
  });

  it('are dropped, one or all', async () => {
    for (const n of [1, 2, 3]) await send('w1', n);
    await areDead(3);
    const [first] = await list(owner(), { workspaceId: 'w1' });

    expect(await owner()('bus.deadLetters.drop', { workspaceId: 'w1', body: { ids: [first?.id] } })).toEqual({ dropped: 1 });
    expect(await owner()('bus.deadLetters.drop', { workspaceId: 'w1', body: { group: 'other' } })).toEqual({ dropped: 0 });
    expect(await owner()('bus.deadLetters.drop', { workspaceId: 'w1', body: { group: 'fragile' } })).toEqual({ dropped: 2 });

    expect(await list(owner(), { workspaceId: 'w1' })).toEqual([]);
  });

  it('of another workspace are out of reach, whatever the ids say', async () => {
    node.access.get('w2')!.permissions = { somebody: { role: 'owner' } };
    await send('w2', 1);
    await areDead(1);
    const [foreign] = await eventBus.deadLetters({});
    const ids = [foreign?.id as string];

    expect(await list(owner(), { workspaceId: 'w1' })).toEqual([]);
    await expect(owner()('bus.deadLetters.get', { workspaceId: 'w1', id: ids[0] })).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
    expect(await owner()('bus.deadLetters.redrive', { workspaceId: 'w1', body: { ids } })).toEqual({ redriven: 0 });
    expect(await owner()('bus.deadLetters.drop', { workspaceId: 'w1', body: { ids } })).toEqual({ dropped: 0 });
    for (const action of ['list', 'redrive', 'drop'])
      await expect(owner()(`bus.deadLetters.${action}`, { workspaceId: 'w2' })).rejects.toMatchObject({ type: 'ForbiddenError' });
    await areDead(1);
  });

  it('of every workspace and of the platform are for super admins', async () => {
    await send('w1', 1);
    await send('w3', 2);
    await eventBus.send('workspaces.deleted', { workspaceId: 'w9' });
    await areDead(3);

    expect((await list(admin(), {})).map(({ event }) => event.type).sort()).toEqual(['order.paid', 'order.paid', 'workspaces.deleted']);
    expect(await list(admin(), { workspaceId: 'w3' })).toHaveLength(1);
    for (const action of ['list', 'redrive', 'drop'])
      for (const somebody of [owner(), call('visitor'), node.as({})])
        await expect(somebody(`bus.deadLetters.${action}`, {})).rejects.toMatchObject({
          type: expect.stringMatching(/ForbiddenError|AuthenticationError/),
        });
    isBroken = false;
    expect(await admin()('bus.deadLetters.redrive', {})).toEqual({ redriven: 3 });
    await eventually(() => handled.length === 3);
  });

  it('are closed to visitors and to nobody at all', async () => {
    await send('w1', 1);
    await areDead(1);
    for (const action of ['list', 'get', 'redrive', 'drop']) {
      await expect(call('visitor')(`bus.deadLetters.${action}`, { workspaceId: 'w1', id: '1' })).rejects.toMatchObject({
        type: 'ForbiddenError',
      });
      await expect(node.as({})(`bus.deadLetters.${action}`, { workspaceId: 'w1', id: '1' })).rejects.toMatchObject({
        type: expect.stringMatching(/ForbiddenError|AuthenticationError/),
      });
    }
    await areDead(1);
  });

  it('are closed to whoever manages workspaces under a condition that this one does not meet', async () => {
    const access = node.access.get('w1')!;
    const before = access.roles;
    const managing = (id: string) => ({
      name: `of-${id}`,
      rules: [{ action: 'manage' as const, subject: 'workspaces' as const, conditions: { id } }],
    });
    access.roles = [...before, managing('w1'), managing('w2')];
    access.permissions = { ...access.permissions, inside: { role: 'of-w1' }, outside: { role: 'of-w2' } };
    await node.changed('w1');
    await send('w1', 1);
    await areDead(1);

    await eventually(async () => expect(await list(call('inside'), { workspaceId: 'w1' })).toHaveLength(1));
    for (const workspaceId of ['w1', 'slug:w1-slug'])
      for (const action of ['list', 'redrive', 'drop'])
        await expect(call('outside')(`bus.deadLetters.${action}`, { workspaceId })).rejects.toMatchObject({ type: 'ForbiddenError' });
    await areDead(1);
    access.roles = before;
  });

  it.each([
    ['redrive', { body: { ids: 'all' } }],
    ['redrive', { body: { ids: [1] } }],
    ['drop', { body: { ids: null } }],
    ['drop', { body: [] }],
    ['drop', { body: { group: 3 } }],
    ['list', { query: { limit: 'many' } }],
    ['list', { query: { limit: '0' } }],
    ['list', { query: { group: ['a', 'b'] } }],
  ])('%s refuses %j', async (action, params) => {
    await expect(owner()(`bus.deadLetters.${action}`, { workspaceId: 'w1', ...params })).rejects.toMatchObject({
      type: 'RequestValidationError',
    });
  });

  it.each(['nothing', '9999999', 'fragile~3~x', '../..', '0'])('%s is the id of none', async (id) => {
    await expect(owner()('bus.deadLetters.get', { workspaceId: 'w1', id })).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
  });
});

describe('the state of the bus', () => {
  it('tells super admins how far each group is behind, and what this node does', async () => {
    await send('w1', 1);
    await areDead(1);

    await eventually(async () => {
      const status = await admin()<BusStatus>('bus.status', {});
      expect(status.log).toMatchObject({ shards: 16, maxEntries: 1_000_000 });
      expect(status.log.entries).toBeGreaterThan(0);
      expect(status.groups).toContainEqual({ group: 'fragile', entries: 0, seconds: 0, dead: 1 });
      const member = status.node.members.find(({ group }) => group === 'fragile');
      expect(member).toMatchObject({ running: 0, waiting: 0, dead: expect.any(Number) });
      expect(member?.shards).toHaveLength(16);
      expect(member?.dead).toBeGreaterThan(0);
      expect(status.node.sent).toBeGreaterThan(0);
    });
  });

  it('forgets a group once it has no members', async () => {
    const subscription = await eventBus.on(EMIT_TOPIC, () => {}, { group: 'old' });
    await expect(admin()('bus.forgetGroup', { group: 'old' })).rejects.toMatchObject({ type: 'GroupInUse', code: 409 });
    await subscription.stop();
    await send('w1', 1);

    expect(await admin()('bus.forgetGroup', { group: 'old' })).toEqual({ group: 'old' });

    expect((await eventBus.lag()).map(({ group }) => group)).not.toContain('old');
    await expect(admin()('bus.forgetGroup', { group: 'old' })).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
  });

  it('is closed to everybody else', async () => {
    for (const somebody of [owner(), call('visitor'), node.as({})])
      for (const [action, params] of [
        ['bus.status', {}],
        ['bus.forgetGroup', { group: 'fragile' }],
      ] as const)
        await expect(somebody(action, params)).rejects.toMatchObject({
          type: expect.stringMatching(/ForbiddenError|AuthenticationError/),
        });
  });
});
