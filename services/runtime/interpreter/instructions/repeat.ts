/** repeat — a block once for each item, one after the other or in batches. */
import { fault } from '../../../../mixins/shared/errors.ts';
import { isPlainObject } from '../../../../mixins/shared/json.ts';
import { type Expression, type Template, toNumber } from '../../expressions/index.ts';
import { isLiveStream, type LiveStream } from '../effects.ts';
import { type Frame, type Locals, maskOf } from '../frame.ts';
import { type Block, defineInstruction, object } from '../instruction.ts';
import { isPromise, type MaybeAsync, type Outcome } from '../signals.ts';
import { copyFor } from '../writes.ts';

/** Turns paid for at once from the workspace's bucket. */
const TURNS_PER_TOKEN_CALL = 500;

interface Loop {
  block: Block;
  engine: { block(block: Block, frame: Frame): MaybeAsync<Outcome> };
  until: { template: Template; condition: Expression | null } | null;
  /** Contexts that `until` reads. */
  untilMask: number;
  /** Ends the loop after the turn in which it is true. */
  stop: Expression | null;
}

/** What `until` means in this run: a count of turns, or a condition. */
function untilOf({ until }: Loop, frame: Frame, hasItems: boolean): { until: number; stop: Expression | null } {
  if (!until) return { until: Number.NaN, stop: null };
  const value = until.template.evaluate(frame, frame.run.env);
  const isMissing = value === undefined || value === null || value === '';
  const count = isMissing || typeof value === 'boolean' ? Number.NaN : toNumber(value);
  // Without items, nothing given means no turn, as a missing count does.
  if (!until.condition || !Number.isNaN(count) || (isMissing && !hasItems)) return { until: count, stop: null };
  return { until: Number.NaN, stop: until.condition };
}

/** Items of a value; undefined for a stream, which is read at its own pace. */
function itemsOf(on: unknown): unknown[] {
  if (Array.isArray(on)) return on;
  if (typeof on === 'string') return Array.from(on);
  if (on instanceof Uint8Array) return Array.from(on);
  if (isPlainObject(on)) return Object.keys(on).map((key) => ({ key, value: on[key] }));
  return [];
}

/** `break` with scope repeat ends this loop and no more. */
const afterLoop = (outcome: Outcome): Outcome => (outcome?.scope === 'repeat' ? undefined : outcome);

const tooManyTurns = (max: number, turns: number) =>
  fault('LimitExceededError', { message: `A loop may have ${max} turns, this one has ${turns}.`, data: { limit: 'maxTurns', max } });

const neverEnds = (max: number) =>
  fault('LimitExceededError', {
    message: `The condition of this loop was not true after ${max} turns.`,
    data: { limit: 'maxOpenTurns', max },
  });

function enter(frame: Frame, item: unknown, index: number): void {
  const names = frame.holderOf('item');
  names['item'] = copyFor(frame, item);
  names['$index'] = index;
}

/** What a nested loop must not destroy. */
function remember(locals: Locals): () => void {
  const had = Object.hasOwn(locals, 'item');
  const { item } = locals;
  const outerIndex = locals['$index'];
  const hadIndex = Object.hasOwn(locals, '$index');
  return () => {
    if (had) {
      locals['item'] = item;
      if (hadIndex) locals['$index'] = outerIndex;
    } else delete locals['item'];
  };
}

export const repeat = defineInstruction({
  name: 'repeat',
  summary:
    'Runs a block for each item of `on` (list, object as {key, value}, text by character, stream by chunk), or `until` times. Inside, `item` is the current one and `$index` its number from 0; an outer loop finds its own again afterwards.',
  schema: object(
    {
      on: { description: 'A list, object, text or stream.' },
      until: {
        description:
          'A count of turns; with `on` the largest. Any other text is a condition: the loop ends after the turn in which it is true.',
      },
      do: { $ref: '#/block', description: '`break` ends the automation; `break: { scope: repeat }` only the loop.' },
      batch: object({
        size: {
          type: 'number',
          description:
            'Turns at the same time, each with variables and an identity of its own: what a turn assigns and whom it switches to ends with it.',
        },
        interval: { type: 'number', description: 'Milliseconds between batches.' },
      }),
    },
    { required: ['do'] },
  ),
  examples: [
    {
      title: 'adds up a list',
      source:
        "- set: { name: total, value: 0 }\n- repeat:\n    on: '{{body.prices}}'\n    do: [{ set: { name: total, value: '{% {{total}} + {{item}} %}' } }]",
    },
  ],
  compile(args, context) {
    const given = isPlainObject(args) ? args : {};
    const on = given.on === undefined ? null : context.template(given.on, 'on');
    const untilTemplate = given.until === undefined || given.until === null ? null : context.template(given.until, 'until');
    // Read again after each turn, unless it turns out to be a count. `{{done}}` and `{% … %}` are themselves expressions.
    const condition = typeof given.until === 'string' && !/^\s*\d*\s*$/.test(given.until) ? context.condition(given.until, 'until') : null;
    const batch = isPlainObject(given.batch) || typeof given.batch === 'string' ? context.template(given.batch, 'batch') : null;
    const block = context.block(given.do, 'do');
    const untilMask = maskOf([...(untilTemplate?.roots ?? []), ...(condition?.roots ?? [])]);
    const until = untilTemplate && { template: untilTemplate, condition };
    const loop: Loop = { block, engine: context.engine, until, untilMask, stop: null };
    const mask = untilMask | maskOf([...(on?.roots ?? []), ...(batch?.roots ?? [])]);
    return {
      mask,
      deepMask: block.deepMask,
      run(frame): MaybeAsync<Outcome> {
        const { env } = frame.run;
        const value = on?.evaluate(frame, env);
        const { until, stop } = untilOf(loop, frame, on !== null);
        if (isLiveStream(value)) return overStream({ ...loop, stop }, value, frame.forLoop(), until);
        const { maxTurns, maxOpenTurns } = frame.run.budget.limits;
        const items = on ? itemsOf(value) : null;
        const isOpen = items === null && stop !== null;
        let turns = items ? items.length : isOpen ? maxOpenTurns + 1 : until;
        if (items && until > 0) turns = Math.min(turns, until);
        if (!(turns > 0)) return undefined;
        turns = Math.floor(turns);
        if (!isOpen && turns > maxTurns) throw tooManyTurns(maxTurns, turns);
        const { size, interval } = (batch?.evaluate(frame, env) ?? {}) as { size?: unknown; interval?: unknown };
        if (toNumber(size) > 1)
          return inBatches({ ...loop, stop }, items, turns, Math.floor(toNumber(size)), toNumber(interval) || 0, frame);
        return oneByOne({ ...loop, stop }, items, turns, frame.forLoop());
      },
    };
  },
});

/** What the condition reads, after a turn that has waited or switched the identity. */
const reload = ({ untilMask }: Loop, frame: Frame): Promise<void> | undefined =>
  frame.has(untilMask) ? undefined : frame.ensure(untilMask);

/** Stays synchronous until a turn has to wait. */
function oneByOne(loop: Loop, items: unknown[] | null, turns: number, frame: Frame): MaybeAsync<Outcome> {
  const restore = remember(frame.holderOf('item'));
  let paid = TURNS_PER_TOKEN_CALL;
  const { stop: condition } = loop;
  const { maxOpenTurns } = frame.run.budget.limits;

  const ends = (outcome: Outcome, index: number): Outcome | 'go on' | 'stop' => {
    if (outcome) return outcome.scope === 'repeat' ? 'stop' : outcome;
    if (condition) {
      if (condition.evaluate(frame, frame.run.env)) return 'stop';
      if (!items && index + 1 >= maxOpenTurns) throw neverEnds(maxOpenTurns);
    }
    return 'go on';
  };
  const from = (start: number): MaybeAsync<Outcome> => {
    for (let index = start; index < turns; index++) {
      if (index >= paid) return pay(index);
      enter(frame, items ? items[index] : index, index);
      const outcome = loop.engine.block(loop.block, frame);
      if (isPromise(outcome)) return rest(outcome, index);
      const end = ends(outcome, index);
      if (end !== 'go on') return finish(end === 'stop' ? undefined : end);
    }
    return finish(undefined);
  };
  const finish = (outcome: Outcome): Outcome => {
    restore();
    return outcome;
  };
  const pay = async (index: number): Promise<Outcome> => {
    await frame.throttle('repeats', Math.min(TURNS_PER_TOKEN_CALL, turns - index));
    paid += TURNS_PER_TOKEN_CALL;
    return from(index);
  };
  const rest = async (pending: Promise<Outcome>, start: number): Promise<Outcome> => {
    let outcome = await pending;
    for (let index = start; ; ) {
      if (condition) await reload(loop, frame);
      const end = ends(outcome, index);
      if (end !== 'go on') return finish(end === 'stop' ? undefined : end);
      if (++index >= turns) return finish(undefined);
      if (index >= paid) {
        await frame.throttle('repeats', Math.min(TURNS_PER_TOKEN_CALL, turns - index));
        paid += TURNS_PER_TOKEN_CALL;
      }
      enter(frame, items ? items[index] : index, index);
      outcome = await loop.engine.block(loop.block, frame);
    }
  };
  try {
    const outcome = from(0);
    return isPromise(outcome)
      ? outcome.catch((error) => {
          restore();
          throw error;
        })
      : outcome;
  } catch (error) {
    restore();
    throw error;
  }
}

/** Turns of a batch run side by side, each with names and an identity of its own over shared values. */
async function inBatches(
  loop: Loop,
  items: unknown[] | null,
  turns: number,
  size: number,
  interval: number,
  frame: Frame,
): Promise<Outcome> {
  const { maxOpenTurns } = frame.run.budget.limits;
  let paid = TURNS_PER_TOKEN_CALL;
  for (let start = 0; start < turns; start += size) {
    if (!items && loop.stop && start >= maxOpenTurns) throw neverEnds(maxOpenTurns);
    if (start > 0 && interval > 0) await frame.perform({ type: 'sleep', ms: interval });
    const count = Math.min(size, turns - start);
    for (; start + count > paid; paid += TURNS_PER_TOKEN_CALL)
      await frame.throttle('repeats', Math.min(TURNS_PER_TOKEN_CALL, turns - paid));
    // Loaded once, not once per turn.
    if (!frame.has(loop.block.deepMask)) await frame.ensure(loop.block.deepMask);
    const branch = frame.forkPoint();
    const forks = Array.from({ length: count }, (_, n) => {
      const index = start + n;
      return frame.fork(branch(n), {
        ...frame.locals,
        ...frame.holderOf('item'),
        item: copyFor(frame, items ? items[index] : index),
        $index: index,
      });
    });
    const outcomes = await Promise.allSettled(
      forks.map(async (own) => {
        const turn = own.run.world.begins?.();
        if (turn) await turn;
        return loop.engine.block(loop.block, own);
      }),
    );
    frame.join(forks);
    let ended: Outcome;
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') throw outcome.reason;
      ended ??= outcome.value;
    }
    if (ended) return afterLoop(ended);
    if (loop.stop) {
      await reload(loop, frame);
      if (loop.stop.evaluate(frame, frame.run.env)) return undefined;
    }
  }
  return undefined;
}

async function overStream(loop: Loop, stream: LiveStream, frame: Frame, until: number): Promise<Outcome> {
  const restore = remember(frame.holderOf('item'));
  const { budget } = frame.run;
  let index = 0;
  budget.asking();
  try {
    for await (const chunk of stream) {
      budget.rested();
      if (index > 0 && index % TURNS_PER_TOKEN_CALL === 0) await frame.throttle('repeats', TURNS_PER_TOKEN_CALL);
      enter(frame, chunk, index++);
      const outcome = await loop.engine.block(loop.block, frame);
      if (outcome) return afterLoop(outcome);
      if (loop.stop) await reload(loop, frame);
      if (loop.stop?.evaluate(frame, frame.run.env) || (until > 0 && index >= until)) return undefined;
      budget.asking();
    }
    return undefined;
  } finally {
    restore();
    await stream.cancel();
  }
}
