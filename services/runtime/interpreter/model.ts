/**
 * model — what the interpreter runs: a workspace compiled once per revision. Made by compile.ts from files, never changed afterwards.
 * The same compiler checks a file on save, loads it in the runtime and lints a folder.
 */
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Template } from '../expressions/index.ts';

/** A place in a workspace: instruction path, and line and column (1-based) when the YAML text is known. */
export interface Place {
  file?: string;
  /** `automations.hello.do[2].repeat.on` */
  path: string;
  line?: number;
  column?: number;
}

export interface Problem {
  /** `error` refuses a save (only the structural faults of newer.md 2.12); a warning travels with the answer. */
  severity: 'error' | 'warning';
  code: string;
  message: string;
  place: Place;
  /** Lines with a caret under the fault. */
  excerpt?: string;
  /** Of the fault in the text that stands at the place. */
  range?: { start: number; end: number };
  suggestion?: string;
}

/** Raw workspace as stored (DSUL): the input of the compiler. */
export interface WorkspaceSource {
  id: string;
  slug?: string;
  name?: string;
  /** Grows with each change; a model is identified by workspace and revision. */
  revision: number;
  config?: { schema?: JsonObject; value?: JsonObject };
  automations: Record<string, JsonObject>;
  imports: Record<string, JsonObject>;
  [other: string]: unknown;
}

export interface AutomationTriggers {
  events: string[];
  /** Pattern of the endpoint (`true` became the slug), or null. */
  endpoint: string | null;
  schedules: { cron: string; timezone?: string }[];
}

/** Among `calls`: an automation that is known only when it is called. */
export const ANY_AUTOMATION = '*';

export interface CompiledAutomation {
  slug: string;
  isPrivate: boolean;
  isDisabled: boolean;
  triggers: AutomationTriggers;
  authorization?: string;
  /** Dotted paths of `secret: true` arguments. */
  secretPaths: string[];
  /** Dotted paths removed from the executed event (`redact: true`). */
  redactPaths: { payload: string[]; output: string[] };
  output?: Template;
  /** Names it calls, as they are written. */
  calls?: string[];
  /** Opaque to everyone but the interpreter. */
  body: unknown;
}

export interface CompiledWorkspace {
  source: WorkspaceSource;
  automations: ReadonlyMap<string, CompiledAutomation>;
  problems: Problem[];
}
