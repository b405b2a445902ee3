/**
 * instruction — how an instruction is described: its words, its schema, examples, and how its arguments are compiled into something
 * executable. The interpreter knows no instruction by name; instructions/index.ts is the list.
 */
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Counter, Expression, PathTemplate, Template } from '../expressions/index.ts';
import type { Frame } from './frame.ts';
import type { RunResult } from './index.ts';
import type { Problem } from './model.ts';
import type { MaybeAsync, Outcome } from './signals.ts';

export interface Executable {
  /** Contexts (bits of frame.ts) that must be loaded before `run`: those its own templates read. */
  mask: number;
  /** The same, with everything below: what an automation may read. */
  deepMask: number;
  path: string;
  run(frame: Frame): MaybeAsync<Outcome>;
}

export interface Block {
  items: Executable[];
  deepMask: number;
}

export interface CallRequest {
  slug: string;
  args: JsonObject;
}

/** What compiled instructions ask of the interpreter. */
export interface Engine {
  block(block: Block, frame: Frame): MaybeAsync<Outcome>;
  /** Calls an automation of the frame's model, or of an instance it imports. */
  call(request: CallRequest, frame: Frame): Promise<{ result: RunResult; signal: Outcome }>;
}

/** Handed to `compile`: everything said to it carries its place. */
export interface CompileContext {
  engine: Engine;
  /** Place of the instruction: `automations.hello.do[2].repeat`. */
  path: string;
  /** Value with templates inside. A fault becomes a warning now and the named error when it is evaluated. */
  template(value: unknown, at?: string): Template;
  condition(text: string, at: string): Expression;
  /** Name of a variable to write. */
  name(value: unknown, at: string): PathTemplate;
  /** `value` when it counts at the path `name`: a sum onto what is there. Null when it is none. */
  counter(name: string, value: unknown, at: string): Counter | null;
  block(value: unknown, at: string): Block;
  /** Instruction that answers with `output`. */
  assign(output: unknown): ((frame: Frame, value: unknown) => MaybeAsync<void>) & { mask: number };
  warn(code: string, message: string, at?: string, suggestion?: string): void;
  /** Notes that the automation of this name is called. */
  calls(slug: string): void;
  /** Notes a call of an automation that is named only when it runs. */
  callsAny(): void;
  problems: Problem[];
}

export interface ArgumentSchema {
  type?: string | string[];
  description?: string;
  default?: unknown;
  enum?: unknown[];
  properties?: Record<string, ArgumentSchema>;
  items?: ArgumentSchema;
  required?: string[];
  oneOf?: ArgumentSchema[];
  additionalProperties?: boolean | ArgumentSchema;
  $ref?: string;
}

export interface InstructionDefinition {
  name: string;
  summary: string;
  schema: ArgumentSchema;
  examples: { title: string; source: string }[];
  /** `- name:` alone is complete. */
  takesNothing?: boolean;
  /** Known to be missing arguments are problems, never exceptions: a broken instruction compiles to one that throws its error. */
  compile(args: any, context: CompileContext): { mask?: number; deepMask?: number; run(frame: Frame): MaybeAsync<Outcome> };
}

export const defineInstruction = (definition: InstructionDefinition): InstructionDefinition => definition;

export const object = (properties: Record<string, ArgumentSchema>, more: Partial<ArgumentSchema> = {}): ArgumentSchema => ({
  type: 'object',
  properties,
  ...more,
});
