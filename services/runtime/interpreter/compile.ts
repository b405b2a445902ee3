/**
 * compile — workspace files → model: every template, condition, name, trigger and validator, once per revision. Finds all problems at once.
 * What cannot be understood becomes a warning here and throws its named error when a run reaches it; only the structural faults of
 * `structureOf` are errors.
 */
import { fault } from '../../../mixins/shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { checkArguments, checkFields } from './check-arguments.ts';
import { Context, type Work } from './compile-context.ts';
import { maskOf } from './frame.ts';
import type { Block, Engine, Executable } from './instruction.ts';
import { callInstruction } from './instructions/call.ts';
import { instructions } from './instructions/index.ts';
import type { AutomationTriggers, CompiledAutomation, CompiledWorkspace, Problem, WorkspaceSource } from './model.ts';
import { pathOf } from './positions.ts';
import { type Call, checkCalls, type KnownNames, placeProblems, structureOf } from './problems.ts';
import { argumentsCheck, markedPaths } from './schemas.ts';

export interface CompileOptions {
  /** YAML text by file (`automations/hello.yml`): problems then carry line and column. */
  texts?: Record<string, string>;
  known?: KnownNames;
}

/** What the interpreter finds in CompiledAutomation.body. */
export interface CompiledBody {
  block: Block;
  outputMask: number;
  check: ((payload: JsonObject) => void) | null;
}

/** `- emit:` alone is an error of the run, not of the file. */
function withoutPayload(context: Context, name: string): Executable {
  const message = `Invalid ${name} instruction : undefined or null payload`;
  context.warn('InvalidInstructionError', message);
  return {
    mask: 0,
    deepMask: 0,
    path: context.path,
    run() {
      throw fault('InvalidInstructionError', { message });
    },
  };
}

function compileInstruction(item: unknown, path: string, work: Work): Executable | null {
  if (!isPlainObject(item)) {
    if (item !== null && item !== undefined)
      work.problems.push({
        severity: 'warning',
        code: 'InvalidInstructionError',
        message: `An instruction is an object with one key, not ${Array.isArray(item) ? 'a list' : typeof item}.`,
        place: { path },
      });
    return null;
  }
  // The first key is the instruction; others beside it are ignored, as files of the product have them.
  const [name, ...others] = Object.keys(item);
  if (name === undefined) return null;
  const context = new Context(work, `${path}${pathOf([name])}`);
  if (others.length) context.warn('IgnoredKeys', `Only '${name}' is executed here; '${others.join("', '")}' beside it is ignored.`);
  if (isHostileName(name)) {
    const message = `The name '${name}' may not be used.`;
    context.warn('InvalidInstructionError', message);
    return {
      mask: 0,
      deepMask: 0,
      path: context.path,
      run() {
        throw fault('InvalidInstructionError', { message });
      },
    };
  }
  const definition = instructions.get(name);
  if (definition && !definition.takesNothing && (item[name] === null || item[name] === undefined)) return withoutPayload(context, name);
  if (definition) checkArguments(item[name], definition, context);
  let compiled: ReturnType<typeof callInstruction>;
  try {
    compiled = definition ? definition.compile(item[name], context) : callInstruction(name, item[name], context);
  } catch (error) {
    // One instruction that cannot be compiled must not take its whole workspace with it.
    compiled = { run: context.fails(error) };
  }
  if (!definition) context.calls(name);
  const mask = compiled.mask ?? 0;
  return { mask, deepMask: mask | (compiled.deepMask ?? 0), path: context.path, run: compiled.run };
}

function triggersOf(slug: string, when: unknown): AutomationTriggers {
  const found = isPlainObject(when) ? when : {};
  const { events, endpoint, schedules } = found;
  return {
    events: Array.isArray(events) ? events.filter((event): event is string => typeof event === 'string' && event !== '') : [],
    endpoint: endpoint === true ? slug : typeof endpoint === 'string' && endpoint ? endpoint.replace(/^\/+/, '') : null,
    schedules: (Array.isArray(schedules) ? schedules : []).flatMap((schedule) => {
      if (typeof schedule === 'string') return [{ cron: schedule }];
      if (isPlainObject(schedule) && typeof schedule.cron === 'string')
        return [{ cron: schedule.cron, ...(typeof schedule.timezone === 'string' ? { timezone: schedule.timezone } : {}) }];
      return [];
    }),
  };
}

export function compileAutomation(
  slug: string,
  automation: JsonObject,
  engine: Engine,
  problems: Problem[],
  calls: Call[] = [],
): CompiledAutomation {
  const names = new Set<string>();
  const work: Work = { engine, problems, calls, names, depth: 0, instruction: compileInstruction };
  const context = new Context(work, `automations.${slug}`);
  problems.push(...structureOf(slug, automation));
  checkFields(automation, context);
  const block = Array.isArray(automation.do) ? context.block(automation.do, 'do') : { items: [], deepMask: 0 };
  const output = automation.output === undefined ? undefined : context.template(automation.output, 'output');
  const authorizations = automation.authorizations;
  const schemas = Array.isArray(automation.schemas) ? automation.schemas.filter(isPlainObject) : [];
  const payloads = [automation.arguments, ...schemas.map(({ payload }) => (payload as JsonObject | undefined)?.properties)];
  const outputs = schemas.map((branch) => (branch.output as JsonObject | undefined)?.properties);
  const check = argumentsCheck(automation, (message, at) =>
    context.warn('InvalidSchema', `This schema cannot be compiled: ${message}`, at),
  );
  const body: CompiledBody = { block, outputMask: output ? maskOf(output.roots) : 0, check };
  return {
    slug,
    isPrivate: automation.private === true,
    isDisabled: automation.disabled === true,
    triggers: triggersOf(slug, automation.when),
    ...(isPlainObject(authorizations) && typeof authorizations.action === 'string' ? { authorization: authorizations.action } : {}),
    secretPaths: [...new Set(payloads.flatMap((properties) => markedPaths(properties, 'secret')))],
    redactPaths: {
      payload: [...new Set(payloads.flatMap((properties) => markedPaths(properties, 'redact')))],
      output: [...new Set(outputs.flatMap((properties) => markedPaths(properties, 'redact')))],
    },
    ...(output ? { output } : {}),
    ...(names.size ? { calls: [...names] } : {}),
    body,
  };
}

/** `until` is read as a value and as a condition: what is wrong with it is one problem. */
const onceEach = (problems: Problem[]): Problem[] => [
  ...new Map(problems.map((problem) => [`${problem.code} ${problem.place.path} ${problem.range?.start}`, problem])).values(),
];

/** @param engine given by the interpreter: compiled instructions call back into it */
export function compileWith(engine: Engine, source: WorkspaceSource, { texts = {}, known }: CompileOptions = {}): CompiledWorkspace {
  const problems: Problem[] = [];
  const calls: Call[] = [];
  const automations = new Map<string, CompiledAutomation>();
  for (const [slug, automation] of Object.entries(source.automations ?? {})) {
    if (isHostileName(slug)) continue;
    automations.set(slug, compileAutomation(slug, isPlainObject(automation) ? automation : {}, engine, problems, calls));
  }
  checkCalls(calls, source, problems, known);
  placeProblems(problems, source, texts);
  return { source, automations, problems: onceEach(problems) };
}
