/**
 * Instructions as data: each file of instructions/ holds cases. A case is one automation `main` (`do`, `output`, …) run in a fake world:
 *
 *   name            a sentence
 *   given           its payload
 *   do, output      its program; `automation` holds further fields, `automations`, `apps`, `config`, `secrets` the rest of the workspace
 *   contexts        what is stored before: global, user:<id>, session:<id>, socket, run
 *   world           answers: fetch, wait, module, rateLimit (a list: one after the other), identities, forbidden
 *   expect          output · variables (name → value) · contexts (after) · emitted · errors · http · executed · effects (types, throttle
 *                   left out) · asked (the effects themselves, in part) · exactly (the same, whole) · problems (codes) · error (type, or { type, place, message, details })
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { type Fault, isFault } from '../../mixins/shared/errors.ts';
import { instructions } from '../../services/runtime/interpreter/index.ts';
import { modelOf, run } from '../support/run-automation.ts';

interface Case {
  name: string;
  given?: Record<string, unknown>;
  do?: unknown;
  output?: unknown;
  automation?: Record<string, unknown>;
  automations?: Record<string, Record<string, unknown>>;
  apps?: Record<string, any>;
  config?: unknown;
  secrets?: unknown;
  contexts?: Record<string, Record<string, unknown>>;
  identity?: Record<string, string>;
  run?: Record<string, unknown>;
  limits?: Record<string, number>;
  world?: Record<string, any>;
  start?: string;
  expect: Record<string, any>;
}

const folder = join(import.meta.dirname, 'instructions');

/** Answers in turn; the last one stays. `$fault` throws. */
function inTurn(answers: unknown): (() => unknown) | undefined {
  if (answers === undefined) return undefined;
  const list = Array.isArray(answers) ? answers : [answers];
  let at = 0;
  return () => {
    const answer = list[Math.min(at++, list.length - 1)] as any;
    if (answer?.$fault) throw Object.assign(new Error(answer.message ?? answer.$fault), { name: 'Fault', type: answer.$fault, code: 400 });
    if (answer?.$stream) return streamOf(answer.$stream);
    return answer;
  };
}

function streamOf(items: unknown[]) {
  return {
    status: 200,
    headers: {},
    body: {
      isLiveStream: true as const,
      async *[Symbol.asyncIterator]() {
        yield* items;
      },
      cancel: async () => {},
    },
  };
}

/** `$undefined` stands for undefined, `$NaN` for what is no number. */
const special = (value: unknown): unknown => {
  if (value === '$undefined') return undefined;
  if (value === '$NaN') return Number.NaN;
  if (Array.isArray(value)) return value.map(special);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, special(item)]));
  return value;
};

async function check(test: Case): Promise<void> {
  const wanted = special(test.expect) as Record<string, any>;
  const names = Object.keys(wanted['variables'] ?? {});
  const output = names.length ? Object.fromEntries(names.map((name, index) => [`v${index}`, `{{${name}}}`])) : test.output;
  const main = { name: 'Main', do: test.do ?? [], ...(output === undefined ? {} : { output }), ...test.automation };
  const named = Object.entries(test.automations ?? {}).map(([slug, automation]) => [slug, { name: slug, ...automation }]);
  const data = {
    automations: { main, ...Object.fromEntries(named) },
    ...(test.apps ? { apps: test.apps } : {}),
    ...(test.config ? { config: test.config } : {}),
    ...(test.secrets ? { secrets: test.secrets } : {}),
  };
  const { fetch, wait, module, rateLimit, ...world } = test.world ?? {};
  let error: Fault | undefined;
  const ran = await run(data, {
    ...world,
    ...(fetch === undefined ? {} : { fetch: inTurn(fetch) as never }),
    ...(wait === undefined ? {} : { wait: inTurn(wait) as never }),
    ...(module === undefined ? {} : { modules: inTurn(module) as never }),
    ...(rateLimit === undefined ? {} : { rateLimit: inTurn(rateLimit) as never }),
    automation: test.start ?? 'main',
    payload: test.given ?? {},
    ...(test.contexts ? { contexts: test.contexts } : {}),
    ...(test.identity ? { identity: test.identity } : {}),
    ...(test.run ? { run: test.run } : {}),
    ...(test.limits ? { limits: test.limits } : {}),
    onWorld: (made) => (shown = made),
  }).catch((caught) => {
    error = caught;
    return undefined;
  });
  const problems = modelOf(data).problems.map(({ code }) => code);

  if (wanted['error'] === undefined && error) throw error;
  if (wanted['error'] !== undefined) {
    const expected = typeof wanted['error'] === 'string' ? { type: wanted['error'] } : wanted['error'];
    if (!error) throw new Error(`no error, output ${JSON.stringify(ran?.output)}`);
    expect(isFault(error)).toBe(true);
    expect(error.type).toBe(expected.type);
    if (expected.place) expect(error.data?.['place']).toBe(expected.place);
    if (expected.message) expect(error.message).toContain(expected.message);
    if (expected.details) expect(error.data).toMatchObject(expected.details);
  }
  if (names.length) expect(ran?.output).toEqual(Object.fromEntries(names.map((name, index) => [`v${index}`, wanted['variables'][name]])));
  else if (Object.hasOwn(wanted, 'output')) expect(ran?.output).toEqual(wanted['output']);
  if (Object.hasOwn(wanted, 'isBroken')) expect(ran?.isBroken).toBe(wanted['isBroken']);
  if (wanted['contexts']) expect(shown?.contexts).toMatchObject(wanted['contexts']);
  if (wanted['emitted']) expect(shown?.emitted).toEqual(wanted['emitted']);
  if (wanted['errors']) expect(shown?.errors).toMatchObject(wanted['errors']);
  if (wanted['http']) expect(shown?.http).toEqual(wanted['http']);
  if (wanted['executed']) expect(shown?.executed).toMatchObject(wanted['executed']);
  const asked = (shown?.effects ?? []).filter(({ type }) => type !== 'throttle' && type !== 'executed');
  if (wanted['effects']) expect(asked.map(({ type }) => type)).toEqual(wanted['effects']);
  if (wanted['asked']) expect(asked.filter(({ type }) => type !== 'context.read')).toMatchObject(wanted['asked']);
  if (wanted['exactly']) expect(asked.map(({ key: _key, frame: _frame, ...effect }) => effect)).toEqual(wanted['exactly']);
  if (wanted['throttled'])
    expect((shown?.effects ?? []).flatMap((effect) => (effect.type === 'throttle' ? [`${effect.bucket} ${effect.tokens}`] : []))).toEqual(
      wanted['throttled'],
    );
  if (wanted['problems']) expect(problems).toEqual(wanted['problems']);
}

let shown: Awaited<ReturnType<typeof run>>['world'] | undefined;

for (const file of readdirSync(folder).filter((name) => name.endsWith('.yaml'))) {
  describe(file.replace('.yaml', ''), () => {
    for (const test of parse(readFileSync(join(folder, file), 'utf8'), { merge: true }) as Case[]) {
      it(test.name, async () => {
        shown = undefined;
        await check(test);
      });
    }
  });
}

describe('examples of the instructions', () => {
  for (const definition of instructions.values()) {
    it(`${definition.name} has a summary, a schema and examples`, () => {
      expect(definition.summary.length).toBeGreaterThan(10);
      expect(definition.schema).toBeDefined();
      expect(definition.examples.length).toBeGreaterThan(0);
    });
    for (const { title, source } of definition.examples) {
      it(`${definition.name} ${title}`, async () => {
        const called = { name: 'Called', do: [], output: { ok: true } };
        const automations = { main: { name: 'Main', do: parse(source) }, pay: called, 'handle-order': called };
        const payload = { body: { id: 'A1', kind: 'order', age: 20, prices: [1, 2], sku: 'S', text: 't' } };

        const ran = await run({ automations }, { payload, fetch: () => ({ status: 200 }), modules: () => 'done' });

        expect(ran.model.problems).toEqual([]);
        expect(ran.world.executed.at(-1)).toMatchObject({ slug: 'main' });
      });
    }
  }
});
