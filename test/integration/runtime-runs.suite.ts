/** What a run promises, whatever the stores: told once, run on the embedded ones and on Redis. */
import { createServer, type Server } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { DAY } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { EMIT_TOPIC, type PrismeEvent } from '../../mixins/shared/event.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import { journalKey } from '../../services/runtime/journal.ts';
import { createRunStore, NODES_KEY, nodeRunsKey, type RunRecord, runRef } from '../../services/runtime/runs.ts';
import { testRequest } from '../../services/runtime/starts.ts';
import { automationAt, type Match } from '../../services/runtime/triggers.ts';
import { createWaits, type Wait } from '../../services/runtime/waits.ts';
import { eventually } from '../support/eventually.ts';
import { type Automation, type RuntimeNode, type Stores, startNode, testStores, WORKSPACE } from '../support/runtime-node.ts';

const increment = (name: string) => ({
  type: 'context.write' as const,
  context: 'global' as const,
  operations: [{ type: 'increment' as const, path: [name], by: 1 }],
});

export function runsSuite(title: string, openStores: () => Promise<{ stores: Stores; close: () => Promise<void> }>): void {
  describe(title, () => {
    let stores: Stores;
    let closeStores: () => Promise<void>;
    let nodes: RuntimeNode[] = [];
    let stub: Server;
    let stubUrl: string;
    const keysSeen: string[] = [];
    let hold: Promise<void> | null = null;

    beforeAll(async () => {
      stub = createServer(async (request, response) => {
        keysSeen.push(String(request.headers['idempotency-key']));
        if (hold) await hold;
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ n: keysSeen.length }));
      });
      await new Promise<void>((done) => stub.listen(0, '127.0.0.1', done));
      stubUrl = `http://127.0.0.1:${(stub.address() as { port: number }).port}/`;
      const opened = await openStores();
      stores = opened.stores;
      closeStores = opened.close;
      stores.config.fetchAllowedPrivateHosts = ['127.0.0.1'];
    });
    afterAll(async () => {
      stub.close();
      await closeStores();
    });
    afterEach(async () => {
      hold = null;
      await Promise.all(nodes.map((node) => node.stop()));
      nodes = [];
      keysSeen.length = 0;
    });

    const node = async (automations: Record<string, Automation>, name = 'a') => {
      const started = await startNode(stores, automations, name);
      nodes.push(started);
      return started;
    };
    const global = async (on: RuntimeNode) => ((await on.cache.get(`ctx:{${WORKSPACE}}:global`))?.value ?? {}) as Record<string, any>;
    const records = async (on: RuntimeNode) => {
      const keys: string[] = [];
      for await (const key of on.cache.keys(`run:{${WORKSPACE}}:record:`)) keys.push(key);
      return keys;
    };

    it('a run that changes nothing writes nothing', async () => {
      let ran = 0;
      const a = await node({
        reader: {
          events: ['look'],
          run: async (ask) => {
            await ask({ type: 'context.read', contexts: ['global', 'run'] });
            ran++;
          },
        },
      });
      const before = (await records(a)).length;

      await a.emit('look');

      await eventually(() => ran === 1);
      await eventually(() => a.runtime.execution.actives.size === 0);
      expect(await records(a)).toHaveLength(before);
    });

    it('an event delivered twice changes things once', async () => {
      const a = await node({ once: { events: ['twice'], run: async (ask) => void (await ask(increment('twice'))) } });
      const id = await a.emit('twice');
      await eventually(async () => expect((await global(a)).twice).toBe(1));
      await eventually(() => a.runtime.execution.actives.size === 0);

      await a.bus.send('twice', { again: true }, { topic: EMIT_TOPIC, id, source: { workspaceId: WORKSPACE, correlationId: 'again' } });
      const after = await a.emit('twice');

      await eventually(async () => expect((await global(a)).twice).toBe(2));
      await eventually(() => a.runtime.explanations.find(after) !== null);
      expect((await global(a)).twice).toBe(2);
    });

    it('a run hears the event it emits beside its wait', async () => {
      const heard: unknown[] = [];
      const pair: Automation = {
        events: ['pair'],
        run: async (ask) => {
          const [event] = await Promise.all([
            ask({ type: 'wait', oneOf: [{ event: 'own', filters: { 'payload.n': 3 } }], timeoutS: 3 }),
            ask({ type: 'emit', event: 'own', payload: { n: 3 } }),
          ]);
          heard.push(event?.payload ?? null);
        },
      };
      const a = await node({ pair });
      const match = automationAt((await a.runtime.models.get(WORKSPACE)).root, 'pair') as Match;

      for (let turn = 0; turn < 5; turn++) {
        const identity = { kind: 'none', correlationId: hexId() } as never;
        await a.runtime.execution.run(testRequest(match, {}, identity, {}, WORKSPACE));
        await a.emit('pair');
        await eventually(() => heard.length === 2 * (turn + 1));
      }

      expect(heard).toEqual(Array(10).fill({ n: 3 }));
    });

    /** Starts the automation `order` in one of the ways that must survive. */
    async function begin(on: RuntimeNode, start: string): Promise<void> {
      const source = { workspaceId: WORKSPACE, correlationId: `by ${start}` };
      if (start === 'an event') await on.emit(`ordered by ${start}`);
      else if (start === 'a schedule')
        await on.bus.send(
          'runtime.schedules.triggered',
          {
            workspaceId: WORKSPACE,
            automation: 'order',
            trigger: { type: 'schedule', value: '* * * * *' },
            startedAt: new Date().toISOString(),
          },
          { source, topic: 'runtime.schedules.triggered' },
        );
      else
        await on.runtime.accept({
          id: 'w-accepted',
          workspaceId: WORKSPACE,
          automation: 'order',
          payload: {},
          trigger: { type: 'endpoint', value: 'order' },
          identity: {},
          run: { correlationId: source.correlationId, depth: 0 },
          acceptedAt: Date.now(),
          isDurable: true,
        });
    }

    it.each([
      'an event',
      'a schedule',
      'an accepted call',
    ])('a run of %s whose node dies in the middle ends on another, with completed effects done once', async (start) => {
      const stages: string[] = [];
      let release: () => void = () => {};
      hold = new Promise((done) => (release = done));
      const automations: Record<string, Automation> = {
        order: {
          events: [`ordered by ${start}`],
          run: async (ask, { world }) => {
            const token = world.uuid();
            await ask(increment(`orders of ${start}`));
            stages.push('counted');
            const answer = await ask({ type: 'fetch', request: { url: stubUrl, method: 'POST', body: { token } } });
            await ask({
              type: 'context.write',
              context: 'global',
              operations: [{ type: 'push', path: [`answers of ${start}`], value: answer }],
            });
            await ask({
              type: 'context.write',
              context: 'global',
              operations: [{ type: 'push', path: [`tokens of ${start}`], value: token }],
            });
          },
        },
      };
      const a = await node(automations, 'a');
      await begin(a, start);
      await eventually(() => keysSeen.length === 1);

      await a.die();
      nodes = [];
      hold = null;
      release();
      const b = await node(automations, 'b');

      await eventually(async () => expect((await global(b))[`tokens of ${start}`]).toHaveLength(1), { timeoutMs: 15_000 });
      expect(await global(b)).toMatchObject({ [`orders of ${start}`]: 1, [`answers of ${start}`]: [{ n: 2 }] });
      expect(new Set(keysSeen).size).toBe(1);
      expect(stages).toEqual(['counted', 'counted']);
    });

    it.each([
      ['a small', 10, 4],
      // Looks whether it is there already, and writes its payload apart.
      ['a large', 100_000, 6],
    ])('%s run whose node dies between any two calls of its beginning is found again', async (_size, length, calls) => {
      const begun = `begun with ${length}`;
      const automation: Automation = {
        run: async (ask, { payload }) => void (await ask(increment(`begun with ${String(payload.text).length}`))),
      };
      const a = await node({ begin: automation }, 'a');
      const numbers = Array.from({ length: calls }, (_, i) => i + 1);
      const idOf = (n: number) => `w-begun-${length}-${n}`;
      const request = (n: number) => ({
        id: idOf(n),
        workspaceId: WORKSPACE,
        automation: 'begin',
        payload: { text: 'x'.repeat(length) },
        trigger: { type: 'endpoint' as const, value: 'begin' },
        identity: {},
        run: { correlationId: `begun-${n}`, depth: 0 },
        acceptedAt: Date.now(),
        isDurable: true,
      });
      // A node of which nothing is left but what it wrote before it died after each write.
      for (const n of numbers) {
        let left = n;
        const dying = new Proxy(a.cache, {
          get: (target, key) => {
            const method = Reflect.get(target, key) as (...args: unknown[]) => unknown;
            return (...args: unknown[]) => (left-- > 0 ? method.apply(target, args) : new Promise(() => {}));
          },
        });
        await a.cache.addMembers('runs:nodes', ['dead']);
        const record = { ...a.runtime.execution.newRecord(request(n), undefined, 'running'), owner: 'dead' };
        void createRunStore(dying).create(record);
        await eventually(() => left <= 0);
      }
      const kept = (await Promise.all(numbers.map((n) => a.runtime.store.find(WORKSPACE, idOf(n))))).filter(Boolean).length;

      await eventually(async () => expect((await global(a))[begun]).toBe(kept), { timeoutMs: 20_000 });

      expect(kept).toBeGreaterThanOrEqual(3);
      for (const n of numbers.slice(-3))
        await eventually(async () => expect((await a.runtime.store.find(WORKSPACE, idOf(n)))?.record.state).toBe('done'));
      for await (const key of a.cache.keys(`run:{${WORKSPACE}}:payload:${idOf(calls)}`)) throw new Error(`${key} is left`);
    });

    it('a run that its node could not hand back, as the store was away, is taken up again by that node', async () => {
      const a = await node({ left: { events: [], run: async (ask) => void (await ask(increment('left'))) } });
      const request = {
        id: 'left-behind',
        workspaceId: WORKSPACE,
        automation: 'left',
        payload: {},
        trigger: { type: 'endpoint' as const, value: 'left' },
        identity: {},
        run: { correlationId: 'left', depth: 0 },
        acceptedAt: Date.now(),
        isDurable: true,
      };

      // Owned by this living node, which does not work on it.
      await a.runtime.store.create(a.runtime.execution.newRecord(request, undefined, 'running'));

      await eventually(async () => expect((await a.runtime.store.find(WORKSPACE, 'left-behind'))?.record.state).toBe('done'), {
        timeoutMs: 20_000,
      });
      expect((await global(a)).left).toBe(1);
    });

    it('a waiting run leaves memory and is woken on the node that meets the event', async () => {
      const automations: Record<string, Automation> = {
        waiter: {
          events: ['start-wait'],
          run: async (ask, { payload }) => {
            await ask(increment('began'));
            const event = await ask({
              type: 'wait',
              oneOf: [{ event: 'answer', filters: { 'payload.to': payload.id } }],
              timeoutS: 600,
            });
            await ask({
              type: 'context.write',
              context: 'global',
              operations: [{ type: 'push', path: ['heard'], value: event.payload.text }],
            });
          },
        },
      };
      const a = await node(automations, 'a');
      const id = await a.emit('start-wait');
      await eventually(() => a.runtime.execution.actives.size === 1);
      await eventually(() => a.runtime.execution.actives.size === 0, { timeoutMs: 5_000 });
      const [waiting] = await a.runtime.store.list(WORKSPACE, 1);
      expect(waiting).toMatchObject({ state: 'waiting', waitingFor: { events: ['answer'] } });
      await a.die();
      nodes = [];
      const b = await node(automations, 'b');

      await b.emit('answer', { to: 'somebody else', text: 'wrong' });
      await b.emit('answer', { to: id, text: 'right' });

      await eventually(async () => expect((await global(b)).heard).toEqual(['right']), { timeoutMs: 10_000 });
      expect((await global(b)).began).toBe(1);
      await eventually(async () => expect((await b.runtime.store.find(WORKSPACE, waiting?.id as string))?.record.state).toBe('done'));
    });

    describe('a wake-up is not lost', () => {
      const waiter = (event: string): Record<string, Automation> => ({
        [event]: {
          events: [event],
          run: async (ask, { payload }) => {
            await ask(increment(`${event}-began`));
            const found = await ask({ type: 'wait', oneOf: [{ event: 'answer', filters: { 'payload.to': payload.id } }], timeoutS: 600 });
            await ask({
              type: 'context.write',
              context: 'global',
              operations: [{ type: 'push', path: [event], value: found.payload.text }],
            });
          },
        },
      });
      const asleep = async (on: RuntimeNode, type: string) => {
        const id = await on.emit(type);
        const found = async () =>
          (await on.runtime.store.list(WORKSPACE, 100, 'waiting')).find(({ trigger }) => trigger.id === id) ?? false;
        await eventually(found, { timeoutMs: 5_000 });
        return { id, run: ((await found()) as { id: string }).id };
      };
      /** As a node that is killed right after it has decided: the outcome is there, and nobody was told. */
      const decideAndDie = async (on: RuntimeNode, to: string) => {
        const killed = createWaits({ cache: on.cache, onDecided: () => Promise.reject(new Error('killed')) });
        const event = {
          id: hexId(),
          type: 'answer',
          payload: { to, text: 'first' },
          source: { workspaceId: WORKSPACE, correlationId: 'c' },
        };
        await expect(killed.match([{ ...event, createdAt: new Date().toISOString(), size: 1 } as PrismeEvent])).rejects.toThrow('killed');
      };

      it('by a node that dies when it has decided a wait: who gets the event next tells', async () => {
        const a = await node(waiter('told-again'));
        const { id } = await asleep(a, 'told-again');
        await decideAndDie(a, id);

        await a.emit('answer', { to: id, text: 'second' });

        await eventually(async () => expect((await global(a))['told-again']).toEqual(['first']), { timeoutMs: 10_000 });
      });

      it('by a node that dies when it has put a run to sleep: who collects its runs looks', async () => {
        const a = await node(waiter('looked-at'));
        const { id, run } = await asleep(a, 'looked-at');
        await decideAndDie(a, id);
        await a.cache.addMembers(nodeRunsKey('put-to-sleep'), [runRef(WORKSPACE, run)]);

        await a.cache.addMembers(NODES_KEY, ['put-to-sleep']);

        await eventually(async () => expect((await global(a))['looked-at']).toEqual(['first']), { timeoutMs: 10_000 });
        await eventually(async () => expect(await a.cache.members(nodeRunsKey('put-to-sleep'))).toEqual([]));
      });

      it('and no node takes a run from a living one', async () => {
        const automations = waiter('held');
        const [a, b] = [await node(automations, 'a'), await node(automations, 'b')];
        const id = await a.emit('held');
        // Its wait is filed: an answer from now on reaches it, and not only one that its own emission precedes.
        const runOf = ({ runtime }: RuntimeNode) =>
          [...runtime.execution.actives.values()].find(({ held, world }) => held && world?.openWaits.length)?.request.id;
        const holder = await eventually(() => [a, b].find(runOf) ?? false);
        const run = runOf(holder as RuntimeNode) as string;
        const other = holder === a ? b : a;

        expect(await other.runtime.execution.resume(WORKSPACE, run)).toEqual({ state: 'elsewhere' });

        expect((await other.runtime.store.find(WORKSPACE, run))?.record).toMatchObject({ state: 'running', attempts: 1 });
        await a.emit('answer', { to: id, text: 'late' });
        await eventually(async () => expect((await global(a)).held).toEqual(['late']), { timeoutMs: 10_000 });
      });
    });

    it('the time-out of a wait survives a restart', async () => {
      const automations: Record<string, Automation> = {
        patient: {
          events: ['start-timeout'],
          run: async (ask) => {
            const event = await ask({ type: 'wait', oneOf: [{ event: 'never' }], timeoutS: 3 });
            await ask({ type: 'context.write', context: 'global', operations: [{ type: 'replace', path: ['timedOut'], value: event }] });
          },
        },
      };
      const a = await node(automations, 'a');
      await a.emit('start-timeout');
      await eventually(async () => (await a.runtime.store.list(WORKSPACE, 1))[0]?.state === 'waiting', { timeoutMs: 5_000 });
      await a.die();
      nodes = [];

      const b = await node(automations, 'b');

      await eventually(async () => expect((await global(b)).timedOut).toBe(null), { timeoutMs: 15_000 });
      // Nothing is left to be looked through by those who meet such an event.
      const filed = [];
      for await (const key of b.cache.keys(`wait:{${WORKSPACE}}:at:never`)) filed.push(...(await b.cache.members(key)));
      for await (const key of b.cache.keys(`wait:{${WORKSPACE}}:doc:`)) {
        const document = (await b.cache.get<Wait>(key))?.value;
        if (document?.oneOf[0]?.event === 'never') filed.push(key);
      }
      expect(filed).toEqual([]);
    });

    /** Three questions, one after the other; what was answered is pushed to `name`. */
    const conversation = (name: string): Record<string, Automation> => ({
      [name]: {
        events: [name],
        run: async (ask, { payload }) => {
          for (let n = 1; n <= 3; n++) {
            await ask({ type: 'emit', event: `${name}-question`, payload: { n } });
            const answer = await ask({ type: 'wait', oneOf: [{ event: 'answer', filters: { 'payload.to': payload.id } }], timeoutS: 600 });
            await ask({
              type: 'context.write',
              context: 'global',
              operations: [{ type: 'push', path: [name], value: answer.payload.n }],
            });
          }
        },
      },
    });

    it('each wait of a run gets an event of its own, in memory and after the run has left it', async () => {
      const a = await node(conversation('talk'));
      const to = await a.emit('talk');
      await eventually(async () => expect((await a.runtime.store.list(WORKSPACE, 1, 'waiting'))[0]?.trigger.id).toBe(to), {
        timeoutMs: 5_000,
      });

      await a.emit('answer', { to, n: 1 });
      await eventually(async () => expect((await global(a)).talk).toEqual([1]), { timeoutMs: 10_000 });
      // Asleep again: the second wait has looked back, and let the first answer be.
      await eventually(async () => expect((await a.runtime.store.list(WORKSPACE, 1, 'waiting'))[0]?.trigger.id).toBe(to), {
        timeoutMs: 5_000,
      });
      expect((await global(a)).talk).toEqual([1]);
      await a.emit('answer', { to, n: 2 });
      await eventually(async () => expect((await global(a)).talk).toEqual([1, 2]), { timeoutMs: 10_000 });
      await eventually(() => a.runtime.waits.heldCount() === 1);
      await a.emit('answer', { to, n: 3 });

      await eventually(async () => expect((await global(a)).talk).toEqual([1, 2, 3]), { timeoutMs: 10_000 });
    });

    it('an answer that is faster than the registration of the wait is found, also of a later wait', async () => {
      const a = await node(conversation('rush'));
      const to = await a.emit('rush');
      await eventually(() => a.runtime.waits.heldCount() === 1);

      for (const n of [1, 2, 3]) await a.emit('answer', { to, n });

      await eventually(async () => expect((await global(a)).rush).toEqual([1, 2, 3]), { timeoutMs: 10_000 });
    });

    it('waits side by side get the same event', async () => {
      const a = await node({
        beside: {
          events: ['beside'],
          run: async (ask, { world, payload, automation, identity, run }) => {
            await ask({ type: 'emit', event: 'beside-question', payload: {} });
            const frame = { automationSlug: automation.slug, instance: '', depth: run.depth + 1, identity };
            const wait = { type: 'wait' as const, oneOf: [{ event: 'answer', filters: { 'payload.to': payload.id } }], timeoutS: 600 };
            const first = world.perform({ key: '2.0.0', effect: wait, frame });
            const answers = [await first];
            // The other branch was slower: it looks back.
            answers.push(await world.perform({ key: '2.1.0', effect: wait, frame }));
            await ask({
              type: 'context.write',
              context: 'global',
              operations: [{ type: 'replace', path: ['beside'], value: answers.map((answer: any) => answer.payload.n) }],
            });
          },
        },
      });
      const to = await a.emit('beside');
      await eventually(() => a.runtime.waits.heldCount() === 1);

      await a.emit('answer', { to, n: 1 });

      await eventually(async () => expect((await global(a)).beside).toEqual([1, 1]), { timeoutMs: 10_000 });
    });

    it('cancelTriggers keeps an event for the wait alone', async () => {
      const a = await node({
        asker: {
          events: ['ask'],
          run: async (ask) => {
            const event = await ask({ type: 'wait', oneOf: [{ event: 'reply', cancelTriggers: true }], timeoutS: 30 });
            await ask({
              type: 'context.write',
              context: 'global',
              operations: [{ type: 'replace', path: ['reply'], value: event.payload.n }],
            });
          },
        },
        listener: { events: ['reply'], run: async (ask) => void (await ask(increment('listened'))) },
      });
      await a.emit('ask');
      await eventually(() => a.runtime.waits.heldCount() === 1);

      await a.emit('reply', { n: 1 });
      await eventually(async () => expect((await global(a)).reply).toBe(1));
      await a.emit('reply', { n: 2 });

      await eventually(async () => expect((await global(a)).listened).toBe(1));
    });

    describe('a cancel', () => {
      const automations: Record<string, Automation> = {
        victim: {
          events: ['victim'],
          run: async (ask) => {
            await ask(increment('victim'));
            await ask({ type: 'fetch', request: { url: stubUrl, method: 'POST', body: {} } });
            await ask(increment('victim went on'));
          },
        },
        parent: {
          events: ['parent'],
          run: async (ask, { payload }) => {
            await ask(increment('parent'));
            await ask({ type: 'emit', event: 'parent told', payload: {} });
            await ask({ type: 'fetch', request: { url: stubUrl, method: 'POST', body: {} } });
            await ask({ type: 'wait', oneOf: [{ event: 'go', filters: { 'payload.to': payload.id } }], timeoutS: 600 });
            await ask({ type: 'emit', event: 'child', payload: {} });
          },
        },
        kid: { events: ['child'], run: async (ask) => void (await ask(increment('kid'))) },
        told: { events: ['parent told'], run: async (ask) => void (await ask(increment('told'))) },
      };
      const runOf = async (on: RuntimeNode, trigger: string, state: string): Promise<RunRecord> =>
        (await eventually(
          async () =>
            (
              await on.runtime.store.list(WORKSPACE, 100, state)
            ).find((run) => run.trigger.id === trigger && ['victim', 'parent'].includes(run.automation)) ?? false,
          { timeoutMs: 15_000 },
        )) as RunRecord;

      it('ends a run whose node has just died, and counts it', async () => {
        let release: () => void = () => {};
        hold = new Promise((done) => (release = done));
        const a = await node(automations, 'a');
        const id = await a.emit('victim');
        await eventually(() => keysSeen.length === 1);
        const { correlationId } = await runOf(a, id, 'running');
        await a.die();
        nodes = [];
        const b = await node(automations, 'b');

        expect(await b.runtime.cancel(WORKSPACE, correlationId)).toBe(1);

        hold = null;
        release();
        await runOf(b, id, 'cancelled');
        expect((await global(b))['victim went on']).toBeUndefined();
        expect(await b.runtime.cancel(WORKSPACE, correlationId)).toBe(0);
      });

      it('of a run that was begun again ends it, whatever it had ended as', async () => {
        const a = await node(automations);
        const id = await a.emit('parent');
        const { correlationId, id: run } = await runOf(a, id, 'waiting');
        await a.runtime.cancel(WORKSPACE, correlationId);
        await a.runtime.retry(WORKSPACE, run);
        await runOf(a, id, 'waiting');

        expect(await a.runtime.cancel(WORKSPACE, correlationId)).toBe(1);

        await runOf(a, id, 'cancelled');
      });

      it('is over when the run is begun again: it goes on where it was, and what it tells starts automations', async () => {
        const a = await node(automations);
        await a.cache.delete(`ctx:{${WORKSPACE}}:global`);
        const id = await a.emit('parent');
        const { correlationId, id: run } = await runOf(a, id, 'waiting');
        expect(await a.runtime.cancel(WORKSPACE, correlationId)).toBe(1);

        await a.runtime.retry(WORKSPACE, run);
        await runOf(a, id, 'waiting');
        await a.emit('go', { to: id });

        await runOf(a, id, 'done');
        await eventually(async () => expect((await global(a)).kid).toBe(1));
        expect(await global(a)).toMatchObject({ parent: 1, told: 1, kid: 1 });
        expect(keysSeen).toHaveLength(1);
      });
    });

    it('the contexts of a deleted workspace end with its events, what its last runs write too', async () => {
      const a = await node({});
      const [global, user, other] = ['ctx:{gone}:global', 'ctx:{gone}:user:ada', 'ctx:{stays}:user:ada'];
      await a.cache.set(user, { name: 'Ada' });
      await a.cache.set(other, { name: 'Ada' });
      const lives = new Map<string, number | undefined>();
      const { expire, apply } = a.cache;
      a.cache.expire = (key, ttlMs) => {
        lives.set(key, ttlMs);
        // As if its days were over.
        return expire.call(a.cache, key, key.startsWith('ctx:') ? 300 : ttlMs);
      };
      a.cache.apply = (key, operations, options) => {
        lives.set(key, options?.ttlMs);
        return apply.call(a.cache, key, operations, { ...options, ttlMs: 300 });
      };

      await a.bus.send(
        'workspaces.deleted',
        { workspaceId: 'gone' },
        { topic: 'workspaces.deleted', source: { workspaceId: 'gone', correlationId: 'c', serviceTopic: 'workspaces.deleted' } },
      );

      await eventually(() => lives.has(user));
      expect([lives.get(global), lives.get(user), lives.get(other)]).toEqual([90 * DAY, 90 * DAY, undefined]);
      await apply.call(a.cache, global, [{ type: 'replace', path: ['late'], value: true }]);
      for (const key of [global, user]) await eventually(async () => expect(await a.cache.get(key)).toBeNull());
      expect(await a.cache.get(other)).not.toBeNull();
    });

    it('the model a run was put to sleep with is kept as long as the last one may wait that was', async () => {
      const a = await node({});
      const keys = async () => {
        const found: string[] = [];
        for await (const key of a.cache.keys(`run:{${WORKSPACE}}:model:77`)) found.push(key);
        return found;
      };
      await a.runtime.store.keepModel(WORKSPACE, '77', { workspace: {}, apps: {} } as never);
      const [key] = await keys();
      // As weeks later: little is left of its life.
      await a.cache.expire(key as string, 300);

      await a.runtime.store.keepModel(WORKSPACE, '77', { workspace: {}, apps: {} } as never);

      await a.cache.set('a life as short', true, { ttlMs: 400 });
      await eventually(async () => expect(await a.cache.get('a life as short')).toBeNull());
      expect(await a.runtime.store.keptModel(WORKSPACE, '77')).not.toBeNull();
    });

    it('of two who begin a run again at once one does, and the other has touched nothing', async () => {
      let isRepaired = false;
      const a = await node({
        order: {
          events: ['fails once'],
          run: async (ask) => {
            await ask(increment('fails once'));
            await ask({ type: 'fetch', request: { url: stubUrl, method: 'POST', body: {} } });
            if (!isRepaired) throw fault('BadParametersError', { message: 'not yet' });
            await ask(increment('succeeded'));
            await ask({ type: 'wait', oneOf: [{ event: 'never' }], timeoutS: 600 });
          },
        },
      });
      await a.emit('fails once');
      const failed = await eventually(async () => (await a.runtime.store.list(WORKSPACE, 1, 'failed'))[0] ?? false);
      const { id } = failed as RunRecord;
      isRepaired = true;
      // The first has read the record when it is held up.
      const read = a.cache.list;
      let goOn: () => void = () => {};
      const held = new Promise<void>((done) => (goOn = done));
      a.cache.list = async (...args) => {
        a.cache.list = read;
        await held;
        return read.apply(a.cache, args) as never;
      };
      const first = a.runtime.retry(WORKSPACE, id);
      await eventually(() => a.cache.list === read);
      await a.runtime.retry(WORKSPACE, id);
      await eventually(async () => expect((await a.runtime.store.find(WORKSPACE, id))?.record.state).toBe('waiting'), {
        timeoutMs: 10_000,
      });
      const journal = await a.cache.list(journalKey(WORKSPACE, id));

      goOn();

      await expect(first).rejects.toMatchObject({ type: 'VersionConflict' });
      expect(await a.cache.list(journalKey(WORKSPACE, id))).toEqual(journal);
      expect(await global(a)).toMatchObject({ 'fails once': 1, succeeded: 1 });
      expect(keysSeen).toHaveLength(1);
      await a.runtime.cancel(WORKSPACE, (failed as RunRecord).correlationId);
    });

    describe('of events that a wait with cancelTriggers could take', () => {
      const automations: Record<string, Automation> = {
        asker: {
          events: ['ask-for-one'],
          run: async (ask) => {
            const event = await ask({ type: 'wait', oneOf: [{ event: 'single', cancelTriggers: true }], timeoutS: 60 });
            await ask({ type: 'context.write', context: 'global', operations: [{ type: 'push', path: ['took'], value: event.payload.n }] });
          },
        },
        listener: {
          events: ['single'],
          run: async (ask, { payload }) =>
            void (await ask({
              type: 'context.write',
              context: 'global',
              operations: [{ type: 'push', path: ['listened'], value: (payload as any).payload.n }],
            })),
        },
      };
      const numbers = async (on: RuntimeNode) => {
        const { took = [], listened = [] } = await global(on);
        return { took, all: [...took, ...listened].sort() };
      };

      it('one starts nothing, the others all do', async () => {
        const a = await node(automations);
        await a.emit('ask-for-one');
        await eventually(() => a.runtime.waits.heldCount() === 1);

        await Promise.all([1, 2, 3, 4].map((n) => a.emit('single', { n })));

        await eventually(async () => expect((await numbers(a)).all).toEqual([1, 2, 3, 4]), { timeoutMs: 10_000 });
        expect((await numbers(a)).took).toHaveLength(1);
      });

      it('none is kept for a run that was cancelled while it waited', async () => {
        const a = await node(automations);
        const id = await a.emit('ask-for-one');
        const waiting = async () => (await a.runtime.store.list(WORKSPACE, 10, 'waiting')).find(({ trigger }) => trigger.id === id);
        await eventually(async () => (await waiting()) !== undefined, { timeoutMs: 5_000 });

        expect(await a.runtime.cancel(WORKSPACE, (await waiting())?.correlationId as string)).toBe(1);
        await a.emit('single', { n: 5 });

        await eventually(async () => expect((await numbers(a)).all).toEqual([1, 2, 3, 4, 5]), { timeoutMs: 10_000 });
      });

      it('none is kept for a webhook whose node is no more', async () => {
        const a = await node(automations, 'web');
        const request = {
          id: 'webhook-asks',
          workspaceId: WORKSPACE,
          automation: 'asker',
          payload: {},
          trigger: { type: 'endpoint' as const, value: 'asker' },
          identity: {},
          run: { correlationId: 'webhook-asks', depth: 0 },
          acceptedAt: Date.now(),
          isDurable: false,
        };
        void a.runtime.execution.run(request).catch(() => {});
        await eventually(() => a.runtime.waits.heldCount() === 1);
        await a.die();
        nodes = [];
        const b = await node(automations, 'b');
        const dead = async () => {
          for await (const key of b.cache.keys('runs:found-dead:web-')) return key !== undefined;
          return false;
        };
        await eventually(dead, { timeoutMs: 15_000 });

        await b.emit('single', { n: 6 });

        await eventually(async () => expect((await numbers(b)).all).toEqual([1, 2, 3, 4, 5, 6]), { timeoutMs: 10_000 });
      });
    });

    it('a run that loses its node again and again is given up, and its workspace told the reason', async () => {
      const a = await node({}, 'a');
      const told: PrismeEvent[] = [];
      // Runs that former tests left behind are lost too, and told.
      await a.bus.on('error', (event) => void (event.source.automationSlug === 'poison' && told.push(event)), { mode: 'broadcast' });
      const request = {
        id: 'poison',
        workspaceId: WORKSPACE,
        automation: 'poison',
        payload: {},
        trigger: { type: 'event' as const, value: 'x' },
        identity: {},
        run: { correlationId: 'c', depth: 0 },
        acceptedAt: Date.now(),
        isDurable: true,
      };
      const record = { ...a.runtime.execution.newRecord(request, undefined, 'running'), owner: 'gone', attempts: 5 };
      await a.runtime.store.create(record);
      await a.cache.addMembers('runs:nodes', ['gone']);

      await eventually(async () => expect((await a.runtime.store.find(WORKSPACE, 'poison'))?.record.state).toBe('dead'), {
        timeoutMs: 10_000,
      });
      expect((await a.runtime.store.find(WORKSPACE, 'poison'))?.record.error).toMatchObject({ error: 'RunLostError' });
      await eventually(() => expect(told).toHaveLength(1));
      expect(told[0]).toMatchObject({
        payload: { error: 'RunLostError' },
        source: { workspaceId: WORKSPACE, correlationId: 'c', automationSlug: 'poison' },
      });
    });

    it('a run that fails again when it was begun again tells it again', async () => {
      const a = await node({
        failing: {
          events: ['fail'],
          run: async (ask) => {
            await ask(increment('failing'));
            throw fault('BadParametersError', { message: 'never' });
          },
        },
      });
      const told: PrismeEvent[] = [];
      await a.bus.on('error', (event) => void (event.source.automationSlug === 'failing' && told.push(event)), { mode: 'broadcast' });
      const trigger = await a.emit('fail');
      const run = (await eventually(
        async () => (await a.runtime.store.list(WORKSPACE, 100, 'failed')).find((found) => found.trigger.id === trigger) ?? false,
      )) as RunRecord;

      await a.runtime.retry(WORKSPACE, run.id);

      await eventually(() => expect(new Set(told.map(({ id }) => id)).size).toBe(2));
    });

    it('a thousand concurrent increments and pushes on two nodes are all there', async () => {
      const automations: Record<string, Automation> = {
        count: {
          events: ['count'],
          run: async (ask, { payload }) => {
            await ask({ type: 'context.read', contexts: ['global'] });
            await ask(increment('n'));
            await ask({ type: 'context.write', context: 'global', operations: [{ type: 'push', path: ['list'], value: payload.id }] });
          },
        },
      };
      const a = await node(automations, 'a');
      await node(automations, 'b');

      const ids = await Promise.all(Array.from({ length: 1000 }, () => a.emit('count')));

      // A run pushes after it has counted: the list is whole a moment after the counter.
      await eventually(
        async () => {
          const { n, list } = await global(a);
          expect([n, list?.length]).toEqual([1000, 1000]);
        },
        { timeoutMs: 50_000, everyMs: 250 },
      );
      expect(new Set((await global(a)).list)).toEqual(new Set(ids));
    });
  });
}

export const embedded = async () => {
  const stores = testStores();
  return { stores, close: async () => stores.cleanUp() };
};
