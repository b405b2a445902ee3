/** language — expressions, templates, loops and compiling, each beside a hand-written JavaScript function that does the same. */
import { compileExpression, compileTemplate, type Env } from '../services/runtime/expressions/index.ts';
import { compileWorkspace, type RunModel, runAutomation, type World } from '../services/runtime/interpreter/index.ts';
import { median, type Row } from './row.ts';

const RUNS = 7;
const env: Env = { now: () => 0, random: () => 0.5, uuid: () => '', timezone: 'UTC', locale: 'en', charge() {} };
const scopeOf = (variables: Record<string, unknown>) => ({ get: (name: string) => variables[name] });
const round = (value: number) => Number(value.toPrecision(3));

/** Milliseconds that this thread has computed: what others do on the machine does not count. */
const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

/** The clock of computing ticks coarsely: what is measured is repeated until it takes this long. */
const LEAST_MS = 25;

/** Median of the milliseconds of `work`, after warming up. */
function timed(work: () => unknown): number {
  for (let n = 0; n < 3; n++) work();
  const once = () => {
    const started = cpuMs();
    let times = 0;
    while (cpuMs() - started < LEAST_MS) {
      work();
      times++;
    }
    return (cpuMs() - started) / times;
  };
  return median(Array.from({ length: RUNS }, once));
}

/** Turns a second, each measured beside the other so that both meet the same machine. */
function perSecond(left: (n: number) => unknown, right: (n: number) => unknown, turns = 2_000_000): [number, number] {
  let sink = 0;
  const loop = (work: (n: number) => unknown) => {
    const started = cpuMs();
    for (let n = 0; n < turns; n++) if (work(n)) sink++;
    return turns / ((cpuMs() - started) / 1000);
  };
  const rates: [number, number][] = [];
  for (let n = 0; n < RUNS + 2; n++) rates.push([loop(left), loop(right)]);
  if (sink < 0) throw new Error('unreachable');
  return [median(rates.slice(2).map(([rate]) => rate)), median(rates.slice(2).map(([, rate]) => rate))];
}

function evaluation(): Row {
  // Different values every turn: a constant would let the machine skip the work.
  const people = Array.from({ length: 64 }, (_, n) => ({ a: n, b: n % 3 ? 'x' : 'y', c: `c${n % 5}`, list: ['c0', 'c1', 'c2'] }));
  const compiled = compileExpression('{{a}} > 18 and {{b}} == "x" or {{c}} in {{list}}');
  let present: Record<string, unknown> = {};
  const scope = { get: (name: string) => present[name] };
  const [ours, byHand] = perSecond(
    (n) => {
      present = people[n & 63] as Record<string, unknown>;
      return compiled.evaluate(scope, env);
    },
    (n) => {
      const { a, b, c, list } = people[n & 63] as (typeof people)[0];
      return (a > 18 && b === 'x') || list.includes(c);
    },
  );
  return {
    name: 'evaluations of {{a}} > 18 and {{b}} == "x" or {{c}} in {{list}}',
    value: Math.round(ours),
    unit: '/s',
    limit: { name: 'the function by hand', value: Math.round(byHand) },
    ratio: ours / byHand,
    goal: '1 000 000/s, 8.3 % (12x)',
  };
}

const silent: World = {
  now: () => 0,
  random: () => 0.5,
  uuid: () => '',
  signal: new AbortController().signal,
  perform: async () => undefined,
};

function modelOf(automations: Record<string, any>): RunModel {
  const workspace = compileWorkspace({ id: 'bench', revision: 1, automations, imports: {} });
  return {
    instance: '',
    parentAppSlugs: [],
    workspace,
    config: {},
    secrets: {},
    secretTexts: [],
    computedGlobals: {},
    child: () => undefined,
  };
}

const start = (model: RunModel, limits = {}) =>
  runAutomation({
    model,
    automation: model.workspace.automations.get('main') as never,
    payload: { total: 0 },
    trigger: { type: 'endpoint', value: 'main' },
    identity: {},
    run: { correlationId: 'c', depth: 0 },
    world: silent,
    limits,
  });

async function loop(turns: number): Promise<number> {
  const step = { set: { name: 'total', value: '{% {{total}} + {{item}} * 2 %}' } };
  const model = modelOf({ main: { name: 'Main', do: [{ repeat: { until: turns, do: [step] } }], output: '{{total}}' } });
  for (let n = 0; n < 20; n++) await start(model);
  const times: number[] = [];
  for (let n = 0; n < RUNS; n++) {
    const started = cpuMs();
    for (let m = 0; m < 200; m++) await start(model);
    times.push((cpuMs() - started) / 200);
  }
  return median(times);
}

function loopByHand(turns: number): number {
  const variables: Record<string, unknown> = { total: 0 };
  return timed(() => {
    for (let item = 0; item < turns; item++) variables['total'] = (variables['total'] as number) + item * 2;
    return variables;
  });
}

const automation = (n: number) => ({
  name: `Automation ${n}`,
  when: { endpoint: true, events: [`order.${n}`] },
  arguments: { body: { type: 'object', properties: { id: { type: 'string' }, n: { type: 'number' } }, required: ['id'] } },
  validateArguments: true,
  do: [
    {
      set: {
        name: 'order',
        value: { id: '{{body.id}}', label: `order {{body.id}} of {{user.id}} (${n})`, total: '{% {{body.n}} * 1.2 %}' },
      },
    },
    {
      conditions: {
        [`{{order.total}} > ${n} and {{body.kind}} == "gift"`]: [
          { fetch: { url: 'https://x.test/{{order.id}}', method: 'POST', body: { order: '{{order}}' }, output: 'answer' } },
          { emit: { event: 'order.paid', payload: { id: '{{order.id}}', status: '{{answer.status}}' } } },
        ],
        default: [{ repeat: { on: '{{body.lines}}', do: [{ set: { name: 'session.lines[]', value: '{{item.sku}}-{{$index}}' } }] } }],
      },
    },
    { try: { do: [{ [`automation${(n + 1) % 100}`]: { id: '{{order.id}}' } }], catch: [{ break: { payload: '{{$error}}' } }] } },
  ],
  output: { id: '{{order.id}}', answer: '{{answer}}' },
});

function compiling(count: number): [ms: number, parsingMs: number] {
  const automations = Object.fromEntries(Array.from({ length: count }, (_, n) => [`automation${n}`, automation(n)]));
  const text = JSON.stringify(automations);
  const ms = timed(() => compileWorkspace({ id: 'bench', revision: 1, automations, imports: {} }));
  return [ms, timed(() => JSON.parse(text))];
}

const chain = (terms: number) => Array.from({ length: terms }, (_, n) => `{{a${n}}} == ${n}`).join(' and ');
const chainMs = (terms: number) => {
  const text = chain(terms);
  return timed(() => compileExpression(text, { maxNodes: 1_000_000 }));
};

function objectMs(keys: number): [ms: number, byHandMs: number] {
  const source = Object.fromEntries(Array.from({ length: keys }, (_, n) => [`key${n}`, `value {{v}} ${n}`]));
  const scope = scopeOf({ v: 'x' });
  const ms = timed(() => compileTemplate(source).evaluate(scope, env));
  const byHand = timed(() => Object.fromEntries(Object.entries(source).map(([key, text]) => [key, text.replaceAll('{{v}}', 'x')])));
  return [ms, byHand];
}

/** Gaps between turns of a timer, beyond its own millisecond, until stopped. */
function sampleDelays(): () => number[] {
  const delays: number[] = [];
  let last = performance.now();
  const turn = () => {
    const now = performance.now();
    delays.push(Math.max(0, now - last - 1));
    last = now;
    timer = setTimeout(turn, 1);
  };
  let timer = setTimeout(turn, 1);
  return () => {
    clearTimeout(timer);
    return delays.sort((a, b) => a - b);
  };
}

/** How long others wait for their turn while a program without end runs. */
async function fairness(): Promise<Row> {
  const step = { set: { name: 'n', value: '{% {{n}} + 1 %}' } };
  const model = modelOf({ main: { name: 'Main', do: [{ repeat: { until: '{{never}} == true', do: [step] } }] } });
  await start(model, { maxSteps: 200_000 }).catch(() => {});
  const stop = sampleDelays();
  const ended = await start(model, { maxSteps: 19_000_000, maxOpenTurns: 10_000_000 }).catch((error: { type?: string }) => error.type);
  const delays = stop();
  return {
    name: `delay of a timer beside an endless loop, p99 of ${delays.length} (it ends with ${ended})`,
    value: round(delays[Math.floor(delays.length * 0.99)] ?? Number.NaN),
    unit: 'ms',
    goal: '50 ms',
  };
}

/** n, 10n, 100n: the same cost for each unit means linear. */
function growth(name: string, sizes: number[], work: (size: number) => number): Row {
  const perUnit = sizes.map((size) => (work(size) / size) * 1e6);
  return {
    name: `${name}: ns for each at ${sizes.join(', ')} (${perUnit.map((value) => Math.round(value)).join(', ')})`,
    value: round((perUnit.at(-1) as number) / (perUnit[0] as number)),
    unit: 'x',
    goal: 'not growing with n',
  };
}

export async function rows(): Promise<Row[]> {
  const [loopMs, byHandMs] = [await loop(1000), loopByHand(1000)];
  const [compileMs, parseMs] = compiling(100);
  const [bigMs, bigByHandMs] = objectMs(20_000);
  return [
    evaluation(),
    {
      name: '1000 turns of repeat with one arithmetic set',
      value: round(loopMs),
      unit: 'ms',
      limit: { name: 'the loop by hand, ms', value: round(byHandMs) },
      ratio: loopMs / byHandMs,
      goal: '2 ms',
    },
    {
      name: 'compiling a workspace of 100 automations',
      value: round(compileMs),
      unit: 'ms',
      limit: { name: 'JSON.parse of it, ms', value: round(parseMs) },
      ratio: compileMs / parseMs,
      goal: '150 ms',
    },
    { name: 'a condition of 200 and terms, compiled', value: round(chainMs(200)), unit: 'ms', goal: '5 ms' },
    {
      name: 'a template of 20 000 keys, compiled and evaluated',
      value: round(bigMs),
      unit: 'ms',
      limit: { name: 'replaceAll by hand, ms', value: round(bigByHandMs) },
      ratio: bigMs / bigByHandMs,
      goal: '50 ms',
    },
    growth('and terms', [100, 1_000, 10_000], chainMs),
    growth('keys of a template', [200, 2_000, 20_000], (keys) => objectMs(keys)[0]),
    growth('automations of a workspace', [1, 10, 100], (count) => compiling(count)[0]),
    await fairness(),
  ];
}
