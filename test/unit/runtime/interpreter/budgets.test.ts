import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { automationSchema, compileWorkspace, instructions } from '../../../../services/runtime/interpreter/index.ts';
import { heldSchemas } from '../../../../services/runtime/interpreter/schemas.ts';
import { fakeWorld } from '../../../support/fake-world.ts';
import { run } from '../../../support/run-automation.ts';

const main = (...steps: unknown[]) => ({ automations: { main: { name: 'Main', do: steps } } });
const endless = { repeat: { until: '{{never}} == true', do: [{ set: { name: 'n', value: '{% {{n}} + 1 %}' } }] } };

describe('a run without end', () => {
  it('ends with the limit of its steps, and others have their turn meanwhile', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);

    const ended = run(main(endless), { limits: { maxSteps: 400_000, maxOpenTurns: 1_000_000, sliceMs: 2 } });

    await expect(ended).rejects.toMatchObject({
      type: 'LimitExceededError',
      data: { limit: 'maxSteps', place: expect.stringContaining('main.do[0]') },
    });
    clearInterval(timer);
    // Hundreds of milliseconds of computing, in slices of two.
    expect(ticks).toBeGreaterThan(2);
  });

  it('cannot hold on by catching its errors', async () => {
    const tries = {
      repeat: { until: 1_000_000, do: [{ try: { do: [endless], catch: [{ comment: 'again' }], finally: [{ comment: 'and again' }] } }] },
    };

    await expect(run(main(tries), { limits: { maxSteps: 5_000 } })).rejects.toMatchObject({
      type: 'LimitExceededError',
      data: { limit: 'maxSteps' },
    });
  });

  it('lets others have their turn also when its effects are answered at once', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const emits = { repeat: { until: '{{never}} == true', do: [{ emit: { event: 'again' } }] } };

    await expect(run(main(emits), { limits: { maxSteps: 60_000, sliceMs: 2 } })).rejects.toMatchObject({ data: { limit: 'maxSteps' } });

    clearInterval(timer);
    expect(ticks).toBeGreaterThan(2);
  });

  it('does not count the time of a slow effect as computing', async () => {
    let now = 0;
    const world = fakeWorld();
    const perform = world.perform.bind(world);
    world.perform = async (request) => {
      await new Promise((resolve) => setImmediate(resolve));
      now += 1_000;
      return perform(request);
    };
    const comments = Array.from({ length: 64 }, () => ({ comment: 'x' }));

    const ended = run(main({ emit: { event: 'a' } }, ...comments), { world, clock: () => now, limits: { maxBusyMs: 100, sliceMs: 10 } });

    await expect(ended).resolves.toMatchObject({ isBroken: false });
  });

  it('is cancelled between two instructions', async () => {
    const control = new AbortController();
    const started = run(main(endless), { signal: control.signal, limits: { sliceMs: 1 } });
    setImmediate(() => control.abort());

    await expect(started).rejects.toMatchObject({ type: 'RunCancelledError' });
  });
});

describe('time budgets', () => {
  /** A clock that moves by `step` each time it is read. */
  const clockOf = (step: number) => {
    let now = 0;
    return () => (now += step);
  };
  const comments = (count: number) => Array.from({ length: count }, () => ({ comment: 'x' }));

  it.each([
    // The clock is read every 32 instructions, and at each breath.
    ['at the limit', 1, 100, undefined],
    ['past it', 60, 100, 'maxBusyMs'],
  ])('computing without a pause, %s', async (_name, step, maxBusyMs, limit) => {
    const ended = run(main(...comments(64)), { clock: clockOf(step), limits: { maxBusyMs, sliceMs: 50 } });

    if (limit === undefined) await expect(ended).resolves.toMatchObject({ isBroken: false });
    else await expect(ended).rejects.toMatchObject({ type: 'LimitExceededError', data: { limit } });
  });

  it.each([
    ['at the limit', 1_000_000, undefined],
    ['past it', 100, 'maxWallMs'],
  ])('wall time, %s', async (_name, maxWallMs, limit) => {
    const ended = run(main({ emit: { event: 'a' } }, { emit: { event: 'b' } }), { clock: clockOf(50), limits: { maxWallMs } });

    if (limit === undefined) await expect(ended).resolves.toMatchObject({ isBroken: false });
    else await expect(ended).rejects.toMatchObject({ type: 'LimitExceededError', data: { limit } });
  });

  it('waits do not count', async () => {
    let now = 0;
    const world = fakeWorld();
    const perform = world.perform.bind(world);
    world.perform = async (request) => {
      now += request.effect.type === 'wait' ? 1_000_000 : 1;
      return perform(request);
    };

    await expect(
      run(main({ wait: { timeout: 60 } }, { emit: { event: 'a' } }), { world, clock: () => now, limits: { maxWallMs: 100 } }),
    ).resolves.toMatchObject({
      isBroken: false,
    });
  });
});

describe('blocks within blocks', () => {
  const nested = (levels: number): unknown => {
    let block: unknown[] = [{ set: { name: 'x', value: 1 } }];
    for (let n = 0; n < levels; n++) block = [{ conditions: { true: block } }];
    return block[0];
  };

  it('are possible a hundred deep', async () => {
    await expect(run(main(nested(99)))).resolves.toMatchObject({ isBroken: false });
  });

  it('end in an error beyond that, found when they are compiled', async () => {
    const { problems } = compileWorkspace({ id: 'w', revision: 1, automations: { main: { name: 'M', do: [nested(100)] } }, imports: {} });

    expect(problems.map(({ code }) => code)).toContain('LimitExceededError');
    await expect(run(main(nested(100)))).rejects.toMatchObject({ type: 'LimitExceededError' });
    await expect(run(main(nested(3000)))).rejects.toMatchObject({ type: 'LimitExceededError' });
  });
});

describe('what a compile leaves behind', () => {
  it('is nothing in the validator: schemas of former revisions are let go', () => {
    const automations = { main: { name: 'M', do: [], validateArguments: true, arguments: { n: { type: 'number' } } } };
    const before = heldSchemas();

    for (let revision = 0; revision < 20; revision++)
      compileWorkspace({ id: 'w', revision, automations: JSON.parse(JSON.stringify(automations)), imports: {} });

    expect(heldSchemas()).toBe(before);
  });
});

describe('the JSON Schema of an automation', () => {
  const validate = new Ajv({ strict: false, allErrors: true }).compile(automationSchema());
  const root = resolve(import.meta.dirname, '../../../..');

  it('accepts the examples of every instruction', () => {
    for (const { examples } of instructions.values())
      for (const { source } of examples) {
        validate({ name: 'Example', do: parse(source) });
        expect(validate.errors ?? []).toEqual([]);
      }
  });

  it.each(['examples/hello-world/automations', 'test/fixtures/workspaces/salesforce-next/automations'])('accepts %s', (folder) => {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true }).filter((file) => file.isFile())) {
      validate(parse(readFileSync(join(entry.parentPath, entry.name), 'utf8')));
      expect(validate.errors?.filter(({ keyword }) => keyword !== 'required') ?? []).toEqual([]);
    }
  });

  it.each([
    ['no do', { name: 'A' }],
    ['a do that is an object', { name: 'A', do: {} }],
    ['a misspelt scope', { name: 'A', do: [{ break: { scope: 'loop' } }] }],
    ['a list as event', { name: 'A', do: [{ emit: { event: ['a'] } }] }],
    ['a block in a block that is none', { name: 'A', do: [{ repeat: { on: [], do: { set: {} } } }] }],
  ])('refuses %s', (_name, automation) => {
    expect(validate(automation)).toBe(false);
  });
});
