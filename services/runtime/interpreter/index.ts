/**
 * interpreter — runs one automation of a compiled workspace against a world. Pure: see effects.ts.
 * What the runtime imports from this room is exported here.
 */
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { RunIdentity, TriggerInfo, World } from './effects.ts';
import type { CompiledAutomation, CompiledWorkspace } from './model.ts';

export * from './effects.ts';
export * from './model.ts';

/** One workspace or app instance as a run sees it: its compiled automations and its resolved configuration. */
export interface RunModel {
  /** Dotted path of the instance in the running workspace; '' for the workspace itself. */
  instance: string;
  appSlug?: string;
  /** Slugs of the apps above, nearest first. */
  parentAppSlugs: string[];
  workspace: CompiledWorkspace;
  /** `config` as expressions see it. */
  config: JsonObject;
  /** `secret` of the running workspace. */
  secrets: JsonObject;
  /** Secret texts to hide from native events. */
  secretTexts: string[];
  /** `global.endpoints` and other computed globals of this model. */
  computedGlobals: JsonObject;
  /** Instance imported under `slug`, or undefined. */
  child(slug: string): RunModel | undefined;
}

export interface RunInput {
  model: RunModel;
  automation: CompiledAutomation;
  /** Locals of the first automation: the trigger payload. */
  payload: JsonObject;
  trigger: TriggerInfo;
  identity: RunIdentity;
  /** Fields of `run` known from the start: correlationId, depth, socketId, ip, sourceWorkspaceId, authenticatedWorkspaceId, … */
  run: JsonObject & { correlationId: string; depth: number };
  /** Prefix of effect keys: '' for a single trigger, '0', '1', … when one event starts several automations. */
  branch?: string;
  world: World;
  limits?: Partial<RunLimits>;
  timezone?: string;
  locale?: string;
  /** Milliseconds, for measuring budgets only: no value depends on it. */
  clock?: () => number;
  /** Called when a slice is used up: resolves when the run may go on. Default: after one turn of the event loop. */
  pause?: () => Promise<void>;
}

export interface RunLimits {
  /** Nested automation calls; 21 levels run, the 22nd fails. */
  maxDepth: number;
  /** Instructions and evaluation steps of one run. */
  maxSteps: number;
  /** Milliseconds of computing without a pause. */
  maxBusyMs: number;
  /** Milliseconds of the run in memory, from its start; waits and pauses are not counted. */
  maxWallMs: number;
  /** Turns of one loop. */
  maxTurns: number;
  /** Turns of a loop that only a condition ends. */
  maxOpenTurns: number;
  /** Bytes of an automation's output. */
  maxOutputBytes: number;
  /** Characters a template may produce. */
  maxTemplateChars: number;
  /** Texts, numbers, lists and objects that one variable may hold, counted together. */
  maxValueNodes: number;
  /** Milliseconds of computing before the interpreter lets the event loop breathe. */
  sliceMs: number;
}

export interface RunResult {
  /** `undefined` when the automation defines no output. */
  output: unknown;
  /** Ended by `break`. */
  isBroken: boolean;
  throttledMs: number;
}

/** Runs to the end. @throws the fault that ended the run, with `data.place` and, for events, the innermost frame */
export type RunAutomation = (input: RunInput) => Promise<RunResult>;

export { automationSchema } from './automation-schema.ts';
export { CODES } from './codes.ts';
export type { CompileOptions } from './compile.ts';
export type { ArgumentSchema, InstructionDefinition } from './instruction.ts';
export { instructions } from './instructions/index.ts';
export { compileWorkspace, runAutomation } from './interpreter.ts';
export { DEFAULT_RUN_LIMITS } from './limits.ts';
export { structureOf } from './problems.ts';
export { APP_FIELDS, KNOWN_FIELDS, RUN_FIELDS } from './reserved.ts';
