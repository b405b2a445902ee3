/**
 * interpreter — executes compiled automations against a world. It knows no instruction by name: blocks, calls, budgets and the life of
 * one automation are all it has.
 */
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { type CompiledBody, type CompileOptions, compileWith } from './compile.ts';
import type { ExecutedReport, TriggerInfo } from './effects.ts';
import { described, isReported, located, markReported } from './faults.ts';
import { ALL_CONTEXTS, type Branch, branchOf, Frame, type IdentityView, type RunState, viewOf } from './frame.ts';
import type { RunInput, RunModel, RunResult } from './index.ts';
import type { Block, CallRequest, Engine, Executable } from './instruction.ts';
import { Budget } from './limits.ts';
import type { CompiledAutomation, CompiledWorkspace, WorkspaceSource } from './model.ts';
import { isPromise, type MaybeAsync, type Outcome } from './signals.ts';
import { copy, copyFor, meterOf } from './writes.ts';

/** Executes a block: without a promise as long as nothing has to be waited for. */
function runBlock(block: Block, frame: Frame): MaybeAsync<Outcome> {
  const { items } = block;
  for (let at = 0; at < items.length; at++) {
    const outcome = begin(items[at] as Executable, frame);
    if (isPromise(outcome)) return runRest(items, at, outcome, frame);
    if (outcome) return outcome;
  }
  return undefined;
}

async function runRest(items: Executable[], at: number, pending: Promise<Outcome>, frame: Frame): Promise<Outcome> {
  let outcome = await settled(pending, items[at] as Executable, frame);
  for (let next = at + 1; !outcome && next < items.length; next++) {
    const item = items[next] as Executable;
    const begun = begin(item, frame);
    outcome = isPromise(begun) ? await settled(begun, item, frame) : begun;
  }
  return outcome;
}

async function settled(pending: Promise<Outcome>, item: Executable, frame: Frame): Promise<Outcome> {
  try {
    return await pending;
  } catch (error) {
    throw located(error, item.path, frame);
  }
}

function begin(item: Executable, frame: Frame): MaybeAsync<Outcome> {
  try {
    if (frame.run.budget.step()) return frame.run.budget.breathe().then(() => load(item, frame));
    return frame.has(item.mask) ? item.run(frame) : load(item, frame);
  } catch (error) {
    throw located(error, item.path, frame);
  }
}

/** Everything the automation may read is loaded with the first thing it does read: one round trip. */
async function load(item: Executable, frame: Frame): Promise<Outcome> {
  if (!frame.has(item.mask)) await frame.ensure(item.mask | ((frame.automation.body as CompiledBody).block.deepMask & ALL_CONTEXTS));
  return item.run(frame);
}

interface Execution {
  run: RunState;
  model: RunModel;
  automation: CompiledAutomation;
  payload: JsonObject;
  trigger: TriggerInfo;
  view: { current: IdentityView };
  branch: Branch;
  /** Depth of the caller. */
  depth: number;
}

/** Fields of `run` that belong to the app instance. */
function runFieldsOf(model: RunModel, trigger: TriggerInfo): JsonObject {
  const fields: JsonObject = { trigger };
  if (!model.instance) return fields;
  return {
    ...fields,
    appSlug: model.appSlug,
    appInstanceSlug: model.instance.split('.').at(-1),
    appInstanceFullSlug: model.instance,
    parentAppSlug: model.parentAppSlugs[0],
    parentAppSlugs: model.parentAppSlugs,
  };
}

/** True when `value` is certainly larger than `maxBytes` as JSON; counts characters and stops early. */
function exceeds(value: unknown, maxBytes: number): boolean {
  let left = maxBytes;
  const stack = [value];
  while (stack.length) {
    const item = stack.pop();
    if (typeof item === 'string') left -= item.length + 2;
    else if (typeof item !== 'object' || item === null || item instanceof Uint8Array) left -= 4;
    else {
      left -= 2;
      for (const key of Object.keys(item)) {
        if (!Array.isArray(item)) left -= key.length + 3;
        stack.push((item as JsonObject)[key]);
      }
    }
    if (left < 0) return true;
  }
  return false;
}

async function execute({
  run,
  model,
  automation,
  payload,
  trigger,
  view,
  branch,
  depth,
}: Execution): Promise<{ result: RunResult; signal: Outcome }> {
  const started = run.world.now();
  const body = automation.body as CompiledBody;
  const frame = new Frame({
    run,
    model,
    automation,
    locals: payload,
    view,
    branch,
    depth: depth + 1,
    runFields: runFieldsOf(model, trigger),
  });
  // What the executed event shows: what was given, whatever the automation does to its variables.
  const reported = { ...payload };
  frame.keepAsGiven(reported);
  run.world.entered?.(frame.place, payload);
  const report = (more: Partial<ExecutedReport>): ExecutedReport => ({
    slug: automation.slug,
    payload: reported,
    output: undefined,
    startedAt: new Date(started).toISOString(),
    duration: Math.max(0, run.world.now() - started),
    throttledMs: frame.throttledMs,
    trigger,
    break: false,
    ...more,
  });
  try {
    if (automation.authorization !== undefined) await frame.perform({ type: 'authorize', action: automation.authorization });
    body.check?.(payload);
    const { maxDepth, maxOutputBytes } = run.budget.limits;
    if (depth > maxDepth) throw fault('TooManyCallError', { data: { limit: maxDepth } });
    const throttled = frame.throttle('automations');
    if (throttled) await throttled;

    const ran = runBlock(body.block, frame);
    const signal = isPromise(ran) ? await ran : ran;
    let output: unknown;
    if (signal?.hasPayload) output = signal.payload;
    else if (automation.output) {
      if (!frame.has(body.outputMask)) await frame.ensure(body.outputMask);
      output = automation.output.evaluate(frame, run.env);
    }
    if (typeof output === 'object' && output !== null && exceeds(output, maxOutputBytes))
      throw fault('LimitExceededError', {
        message: `The output is larger than ${maxOutputBytes} bytes.`,
        data: { limit: 'maxOutputBytes', max: maxOutputBytes },
      });
    const told = frame.perform({ type: 'executed', report: report({ output, break: signal !== undefined }) });
    if (isPromise(told)) await told;
    return {
      result: { output, isBroken: signal !== undefined, throttledMs: frame.throttledMs },
      signal: signal?.scope === 'all' ? { ...signal, isFromCall: true } : undefined,
    };
  } catch (caught) {
    const error = located(caught, `automations.${automation.slug}`, frame);
    // Only the innermost automation tells; a cancelled run tells nothing any more.
    if (!isReported(error) && !run.world.signal.aborted) {
      markReported(error);
      const { error: name, message, details } = described(error);
      await frame.perform({ type: 'executed', report: report({ error: { error: name, message, details } }) });
    }
    throw error;
  }
}

/** `foo` here, `Inst.foo` in an instance imported here; private and deeper ones cannot be reached from outside. */
function resolve(slug: string, model: RunModel): { model: RunModel; automation: CompiledAutomation } {
  const missing = (): never => {
    throw fault('ObjectNotFoundError', {
      message: `Automation not found: '${slug}'`,
      data: { workspaceId: model.workspace.source.id, automation: slug },
    });
  };
  const own = slug.includes('.') ? undefined : model.workspace.automations.get(slug);
  if (own) return own.isDisabled ? missing() : { model, automation: own };
  const dot = slug.indexOf('.');
  if (dot <= 0) return missing();
  const child = model.child(slug.slice(0, dot));
  const automation = child?.workspace.automations.get(slug.slice(dot + 1));
  if (!child || !automation || automation.isPrivate || automation.isDisabled) return missing();
  return { model: child, automation };
}

const engine: Engine = {
  block: runBlock,
  async call({ slug, args }: CallRequest, frame: Frame) {
    const { model, automation } = resolve(slug, frame.model);
    const { instance } = frame.model;
    const trigger: TriggerInfo = { type: 'automation', value: instance ? `${instance}.${frame.automation.slug}` : frame.automation.slug };
    // A switch of identity in the callee stays there; what it writes to the contexts is seen here.
    const view = { current: frame.view.current };
    return execute({
      run: frame.run,
      model,
      automation,
      payload: copyFor(frame, args),
      trigger,
      view,
      branch: frame.branch,
      depth: frame.depth,
    });
  },
};

export const compileWorkspace = (source: WorkspaceSource, options?: CompileOptions): CompiledWorkspace =>
  compileWith(engine, source, options);

/** Runs one automation to its end. @throws the fault that ended it */
export async function runAutomation(input: RunInput): Promise<RunResult> {
  const { world, model, automation, trigger, identity, branch } = input;
  const { pause } = input;
  const budget = new Budget(input.limits ?? {}, world.signal, input.clock, pause && (() => world.pausing?.(pause()) ?? pause()));
  const { depth, ...known } = input.run;
  const run: RunState = {
    world,
    budget,
    env: {
      now: () => world.now(),
      random: () => world.random(),
      uuid: () => world.uuid(),
      timezone: input.timezone ?? 'UTC',
      locale: input.locale ?? 'en',
      maxTextChars: budget.limits.maxTemplateChars,
      charge: budget.charge,
    },
    shared: { global: null, socket: null, run: null },
    known,
    globals: undefined,
    beside: 0,
  };
  const { result } = await execute({
    run,
    model,
    automation,
    payload: isPlainObject(input.payload) ? copy(input.payload, meterOf(budget)) : {},
    trigger,
    view: { current: viewOf(identity) },
    branch: branchOf(branch ? `${branch}.` : ''),
    depth,
  });
  return result;
}
