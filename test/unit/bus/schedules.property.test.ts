/**
 * Random schedules of sends, joins, leaves, deaths, delays and a store that fails or whose answers are lost, against a model that is a list per workspace:
 * whatever happens, every event is handled at least once or dead-lettered, in the order of its workspace, and twice only where a process died or was cut
 * off. Time is held by the test.
 */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type OpenedBus, openBus } from '../../../mixins/bus/bus.ts';
import type { Carrier } from '../../../mixins/bus/carrier.ts';
import { memoryStore, openMemory } from '../../../mixins/bus/carriers/memory/carrier.ts';
import { loadConfig } from '../../../mixins/shared/config.ts';
import { EMIT_TOPIC } from '../../../mixins/shared/event.ts';
import { manualTimers } from '../../support/manual-timers.ts';

const ALWAYS = 99;
const ATTEMPTS = 8;

type Step =
  | { do: 'send'; workspace: number; failures: number; takesMs: number }
  | { do: 'join' }
  | { do: 'leave'; which: number }
  | { do: 'die'; which: number }
  | { do: 'fail'; which: number; times: number; isDone: boolean }
  | { do: 'wait'; ms: number };

const send = fc.record({
  do: fc.constant('send' as const),
  workspace: fc.nat({ max: 3 }),
  failures: fc.oneof(
    { weight: 8, arbitrary: fc.constant(0) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 3 }) },
    { weight: 1, arbitrary: fc.constant(ALWAYS) },
  ),
  takesMs: fc.oneof(
    { weight: 4, arbitrary: fc.constant(0) },
    { weight: 2, arbitrary: fc.nat({ max: 60 }) },
    { weight: 1, arbitrary: fc.constant(1_500) },
  ),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: send },
  { weight: 2, arbitrary: fc.constant({ do: 'join' as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('die' as const), which: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      which: fc.nat(),
      times: fc.integer({ min: 1, max: 25 }),
      isDone: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: 700 }) }) },
);

interface Trouble {
  /** So many of the next operations of the member fail. */
  times: number;
  /** The store does what was asked, and only the answer is lost. */
  isDone: boolean;
}

/** What a member does with the store may fail, before or after it was done. */
function fragile(carrier: Carrier, trouble: Trouble): Carrier {
  const wrapped = { ...carrier };
  for (const name of ['beat', 'lease', 'renew', 'release', 'settle', 'read', 'fetch'] as const)
    wrapped[name] = async (...args: any[]) => {
      const work = carrier[name] as (...args: any[]) => Promise<any>;
      if (trouble.times <= 0) return work(...args);
      trouble.times--;
      if (trouble.isDone) await work(...args);
      throw new Error('no answer');
    };
  return wrapped;
}

async function run(steps: Step[]): Promise<void> {
  const timers = manualTimers();
  const store = memoryStore(() => 1_000_000 + timers.now());
  const sent: { id: number; workspace: number; failures: number }[] = [];
  const done: { id: number; workspace: number }[] = [];
  const failuresLeft = new Map<number, number>();
  const running = new Map<number, number>();
  const members: { bus: OpenedBus; isDead: boolean; trouble: Trouble }[] = [];
  const everyone: OpenedBus[] = [];
  let deaths = 0;
  let failures = 0;
  let mostAtOnce = 0;

  const open = async (trouble: Trouble = { times: 0, isDone: false }): Promise<OpenedBus> => {
    const bus = await openBus(loadConfig({}, { nodeId: `n${everyone.length}` }), {
      carrier: fragile(openMemory(store), trouble),
      timers,
      leaseMs: 500,
      tickMs: 100,
      settleMs: 5,
      trimMs: 1e9,
    });
    everyone.push(bus);
    return bus;
  };

  const join = async () => {
    const trouble: Trouble = { times: 0, isDone: false };
    const member = { bus: await open(trouble), isDead: false, trouble };
    members.push(member);
    await member.bus.on(
      EMIT_TOPIC,
      async (event) => {
        const { id, workspace, takesMs } = event.payload as { id: number; workspace: number; takesMs: number };
        running.set(workspace, (running.get(workspace) ?? 0) + 1);
        if (deaths + failures === 0) mostAtOnce = Math.max(mostAtOnce, running.get(workspace) as number);
        if (takesMs) await new Promise<void>((resolve) => timers.after(takesMs, resolve));
        running.set(workspace, (running.get(workspace) as number) - 1);
        if (member.isDead) return new Promise(() => {}); // nothing more comes from a dead process
        const left = failuresLeft.get(id) as number;
        if (left > 0) {
          failuresLeft.set(id, left - 1);
          throw new Error('not now');
        }
        done.push({ id, workspace });
      },
      { group: 'g', attempts: ATTEMPTS, backoffMs: 10, maxInFlight: 8 },
    );
  };

  try {
    const producer = await open();
    for (const one of steps) {
      if (one.do === 'send') {
        const id = sent.length;
        sent.push({ id, workspace: one.workspace, failures: one.failures });
        failuresLeft.set(id, one.failures === ALWAYS ? Number.POSITIVE_INFINITY : one.failures);
        const payload = { id, workspace: one.workspace, takesMs: one.takesMs };
        await producer.send('step', payload, { topic: EMIT_TOPIC, source: { workspaceId: `w${one.workspace}` } });
      } else if (one.do === 'join') await join();
      else if (one.do === 'wait') await timers.advance(one.ms);
      else if (one.do === 'fail') {
        const member = members[one.which % Math.max(members.length, 1)];
        if (!member) continue;
        failures++;
        Object.assign(member.trouble, { times: one.times, isDone: one.isDone });
      } else if (members.length) {
        const [member] = members.splice(one.which % members.length, 1);
        if (one.do === 'die') {
          deaths++;
          (member as { isDead: boolean }).isDead = true;
          await member?.bus.core.carrier.close();
        } else {
          const closing = member?.bus.close({ drainMs: 10_000 });
          await timers.advance(2_000);
          await closing;
        }
      }
    }
    for (const { trouble } of members) trouble.times = 0;
    await join();
    // Long enough for every retry of every event of one lane, one after the other.
    await timers.advance(5_000 + sent.length * 15_000);

    const letters = await producer.deadLetters({ limit: 10_000 });
    const dead = new Set(letters.map(({ event }) => event.payload.id));
    const doneIds = new Set(done.map(({ id }) => id));
    for (const { id, failures } of sent) {
      if (failures === ALWAYS) expect(dead.has(id)).toBe(true);
      else expect([id, doneIds.has(id), dead.has(id)]).toEqual([id, true, false]);
    }
    for (let workspace = 0; workspace < 4; workspace++) {
      const firsts = [...new Set(done.filter((one) => one.workspace === workspace).map(({ id }) => id))];
      expect(firsts).toEqual([...firsts].sort((a, b) => a - b));
    }
    expect(mostAtOnce).toBeLessThanOrEqual(1);
    const extra = done.length - doneIds.size;
    if (deaths + failures === 0) expect(extra).toBe(0);
    expect(letters.length).toBe(dead.size); // none is written twice
    expect((await producer.lag()).find(({ group }) => group === 'g')?.entries ?? 0).toBe(0);
  } finally {
    for (const member of members) member.isDead = true;
    await Promise.all(everyone.map((bus) => bus.close({ drainMs: 0 })).concat(timers.advance(1)));
  }
}

describe('any schedule of sends, joins, leaves, deaths, delays and failures of the store', () => {
  it('ends with every event handled in order or dead-lettered, and repeats only after deaths', async () => {
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), run), { numRuns: Number(process.env.RUNS ?? 60) });
  }, 120_000);
});
