/**
 * A law of runs whose branches go on side by side: killed at any write and executed again, as often as it may be, a run asks for the same things under the
 * same keys, sends the same events, and ends with the same output. fast-check prints the seed of a counterexample.
 */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { fault } from '../../../mixins/shared/errors.ts';
import type { PathOperation } from '../../../mixins/storage/cache/contract.ts';
import { applyOperations } from '../../../mixins/storage/cache/document.ts';
import type { ContextOwner } from '../../../services/runtime/contexts.ts';
import { type EffectRequest, runAutomation } from '../../../services/runtime/interpreter/index.ts';
import { createJournal, type JournalEntry, type JournalHead } from '../../../services/runtime/journal.ts';
import { derivedUlid } from '../../../services/runtime/native-events.ts';
import { Redactor } from '../../../services/runtime/redaction.ts';
import type { Wait } from '../../../services/runtime/waits.ts';
import { createWorld, generator, type WorldOptions } from '../../../services/runtime/world.ts';
import { modelOf } from '../../support/run-automation.ts';

type Instruction = Record<string, unknown>;

const EVENT = {
  emit: { event: 'told', payload: { log: '{{log}}', at: '{{run.date}}', n: '{{x.n}}', by: '{% rand(1, 1000000) %}' }, output: 'told' },
};
const LEAVES: Instruction[] = [
  EVENT,
  { set: { name: 'log', value: '{{log}}a' } },
  { set: { name: 'log', value: '{{log}}{{x.n}}' } },
  { set: { name: 'log', value: '{{log}}{% rand(1, 1000) %}' } },
  { set: { name: 'log', value: '{{log}}{{global.n}}' } },
  { set: { name: 'global.n', value: '{% {{global.n}} + 1 %}' } },
  { run: { module: 'm', function: 'f', parameters: { log: '{{log}}' }, output: 'x' } },
  { run: { module: 'm', function: 'fails', parameters: {}, onError: 'continue', output: 'x' } },
  { rateLimit: { name: 'r', window: 60, limit: 5, output: 'limit' } },
  { wait: { oneOf: [{ event: 'answer' }], output: 'x' } },
  { inner: { n: '{{x.n}}', output: 'x' } },
  // Whoever comes first.
  { conditions: { '!{{winner}}': [{ set: { name: 'winner', value: '{{log}}.' } }, EVENT] } },
  // Computes long enough to pause.
  { repeat: { until: 40, do: [{ set: { name: 'sum', value: '{% {{sum}} + 1 %}' } }] } },
];
const { program } = fc.letrec<{ instruction: Instruction; program: Instruction[] }>((tie) => ({
  instruction: fc.oneof(
    { maxDepth: 3, depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(...LEAVES),
    fc.array(tie('instruction'), { minLength: 2, maxLength: 3 }).map((all) => ({ all })),
    tie('program').map((list) => ({ repeat: { on: [1], do: list } })),
    tie('program').map((list) => ({ repeat: { on: [1, 2], batch: { size: 2 }, do: list } })),
  ),
  program: fc.array(tie('instruction'), { minLength: 1, maxLength: 4 }),
}));

/** What is kept of a run, and what the world has seen of it, whatever happens to its nodes. */
interface Outside {
  records: unknown[];
  contexts: Record<string, Record<string, unknown>>;
  operations: Set<string>;
  /** Effects that change something, by their key, as they were done first. */
  done: Map<string, string>;
  /** Event ids by the key of the effect. */
  sent: Map<string, string>;
}

/** One execution with delays of its own, killed when it has written `writes` times. The output, or `undefined` when it was killed. */
async function execute(source: Instruction[], outside: Outside, seed: number, writes: number) {
  const random = generator((seed >>> 0).toString(16).padStart(8, '0').repeat(4));
  const later = async <T>(answer: () => T): Promise<T> => {
    for (let turns = Math.floor(random() * 4); turns > 0; turns--) await new Promise((done) => setImmediate(done));
    return answer();
  };
  let left = writes;
  let kill = () => {};
  const killed = new Promise<undefined>((done) => (kill = () => done(undefined)));
  const dead = () => new Promise<never>(() => {});
  let breakOff: (error: unknown) => void = () => {};
  const broken = new Promise<never>((_, fail) => (breakOff = fail));
  const journal = createJournal({
    head: { startedAt: 1_000, seed: '0123456789abcdef'.repeat(2), revision: 1 } satisfies JournalHead,
    records: [...outside.records],
    onFirstWrite: async () => {},
    assertOwned: async () => {},
    append: (list) =>
      later(() => left-- > 0).then((isAlive) => {
        if (isAlive) return void outside.records.push(...list);
        world.silence();
        kill();
        return dead();
      }),
  });
  const asked = new Map<string, string>();
  /** What came as far as the services: what the run knew was durable before. */
  const performed: string[] = [];
  const did = (id: string) => void performed.push(id.slice('r/'.length));
  const services = {
    config: { waitTimeoutS: 20 },
    contexts: {
      read: (names: string[]) => later(() => Object.fromEntries(names.map((name) => [name, structured(outside.contexts[name] ?? {})]))),
      write: (name: string, operations: PathOperation[], _owner: ContextOwner, id: string) =>
        later(() => {
          did(id);
          if (!outside.operations.has(id))
            outside.contexts[name] = applyOperations(structured(outside.contexts[name] ?? {}), operations) as Record<string, unknown>;
          outside.operations.add(id);
          return structured(outside.contexts[name] as object);
        }),
      keepRun: async () => {},
    },
    platform: {
      organisationOf: async () => undefined,
      module: ({ function: name }: { function: string }, _frame: unknown, _request: unknown, { key }: { key: string }) =>
        later(() => {
          did(key);
          if (name === 'fails') throw fault('BadParametersError', { message: 'refused' });
          return { n: Math.floor(random() * 10) };
        }),
      rateLimit: () => later(() => ({ ok: true })),
    },
    throttle: () => (random() < 0.7 ? 0 : later(() => 5)),
    waits: {
      outcome: async () => null,
      register: async ({ id }: Wait) => did(id),
      hold: (wait: Wait) => later(() => ({ event: { id: `for ${wait.id}`, type: 'answer', payload: {}, n: Math.floor(random() * 10) } })),
      remove: async () => {},
      letGo: () => {},
      accepts: () => false,
      decide: async () => ({ event: null }),
    },
    events: { executed: async () => {}, error: async () => {} },
    bus: {
      replay: async () => [],
      send: (type: string, payload: object, { id }: { id: string }) => later(() => ({ id, type, payload, n: 7 })),
    },
    log: () => {},
  };
  const world = createWorld({
    services,
    request: {
      id: 'r',
      workspaceId: 'w',
      isDurable: true,
      trigger: { type: 'event', value: 'go' },
      run: { correlationId: 'c', depth: 0 },
      identity: {},
      acceptedAt: 0,
    },
    loaded: { root: modelOf({ automations: {} }) },
    redactor: new Redactor(),
    control: new AbortController(),
    seed: () => journal.head.seed,
    startedAt: journal.head.startedAt,
    journal,
    onBroken: breakOff,
  } as unknown as WorldOptions);
  const { send } = services.bus;
  services.bus.send = (type, payload, options) => {
    const text = JSON.stringify(payload);
    // One event has one content.
    expect(outside.sent.get(options.id) ?? text).toBe(text);
    outside.sent.set(options.id, text);
    const key = [...asked.keys()].find((one) => derivedUlid(0, `r/${one}`).slice(10) === options.id.slice(10)) as string;
    did(`r/${key}`);
    return send(type, payload, options);
  };
  const perform = world.perform.bind(world);
  world.perform = (request: EffectRequest) => {
    asked.set(request.key, JSON.stringify(request.effect));
    return perform(request);
  };
  const model = modelOf({
    automations: {
      main: {
        name: 'main',
        do: [{ set: { name: 'log', value: '' } }, { set: { name: 'sum', value: 0 } }, ...source, EVENT],
        output: { log: '{{log}}', winner: '{{winner}}', x: '{{x}}', told: '{{told.id}}', at: '{{run.date}}', r: '{% rand(1, 1000000) %}' },
      },
      inner: {
        name: 'inner',
        do: [{ run: { module: 'm', function: 'f', parameters: { n: '{{n}}' }, output: 'y' } }, EVENT],
        output: { n: '{{y.n}}' },
      },
    },
  });
  const output = await Promise.race([
    killed,
    broken,
    runAutomation({
      model,
      automation: model.workspace.automations.get('main') as never,
      payload: {},
      trigger: { type: 'event', value: 'go' },
      identity: {},
      run: { correlationId: 'c', depth: 0 },
      world,
      // One execution pauses at every look, the other never.
      limits: { sliceMs: random() < 0.5 ? 0 : 10_000 },
      pause: () => later(() => {}),
    }).then((result) => JSON.stringify(result.output)),
  ]);
  // As when it is suspended.
  const isKept = output !== undefined && (await Promise.race([killed, journal.flush().then(() => true)]));
  return { output: isKept ? output : undefined, asked, performed };
}

const structured = <T>(value: T): T => JSON.parse(JSON.stringify(value));

describe('branches side by side', () => {
  it('do the same again, wherever the run was killed', async () => {
    await fc.assert(
      fc.asyncProperty(
        program,
        fc.integer(),
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 0, max: 12 }),
        async (source, seed, first, second) => {
          const outside: Outside = { records: [], contexts: {}, operations: new Set(), done: new Map(), sent: new Map() };
          let ended: Awaited<ReturnType<typeof execute>> | undefined;
          for (const [at, writes] of [first, second, Number.POSITIVE_INFINITY].entries()) {
            ended = await execute(source, outside, seed + at, writes);
            // What was done before is asked again in the same way.
            for (const [key, effect] of outside.done)
              if (ended.output !== undefined) expect([key, ended.asked.get(key)]).toEqual([key, effect]);
            for (const key of ended.performed) {
              const effect = ended.asked.get(key) as string;
              expect([key, outside.done.get(key) ?? effect]).toEqual([key, effect]);
              outside.done.set(key, effect);
            }
            if (ended.output !== undefined) break;
          }
          const again = await execute(source, outside, seed + 7, Number.POSITIVE_INFINITY);

          expect(again.output).toBe(ended?.output);
          expect(again.performed).toEqual([]);
          // Every emit has sent one event, however often.
          const emits = [...outside.done].filter(([, effect]) => effect.startsWith('{"type":"emit"'));
          expect(outside.sent.size).toBe(emits.length);
        },
      ),
      { numRuns: 150 },
    );
  }, 60_000);

  it('wait for nobody for ever, in whatever order the journal has their answers, and whichever it lacks', async () => {
    await fc.assert(
      fc.asyncProperty(program, fc.integer(), fc.boolean(), async (source, seed, isRetry) => {
        const outside: Outside = { records: [], contexts: {}, operations: new Set(), done: new Map(), sent: new Map() };
        await execute(source, outside, seed, Number.POSITIVE_INFINITY);
        const [head, ...entries] = outside.records as [JournalHead, ...JournalEntry[]];
        const random = generator((seed >>> 0).toString(16).padStart(8, '0').repeat(4));
        // Begun again by its owner, who has the contexts read and written again; or kept by a version that knew no order.
        const kept = isRetry ? entries.filter(({ y }) => !y.startsWith('context.')) : [...entries].sort(() => random() - 0.5);
        const again = execute(
          source,
          { ...outside, records: head ? [head, ...kept] : [], sent: new Map() },
          seed,
          Number.POSITIVE_INFINITY,
        );

        // Another one may come first now, and ask for what the journal has not.
        await again.catch((error) => expect(error).toMatchObject({ type: 'RunLostError' }));
      }),
      { numRuns: 100 },
    );
  }, 60_000);
});
