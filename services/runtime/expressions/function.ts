/** function — how a built-in function is described. The examples are its first tests and its documentation. */
import { ExpressionError } from './errors.ts';

/** What evaluation may use of the world: all given by the run, so that a value depends on the text, the scope and these alone. */
export interface Env {
  /** Milliseconds since the epoch, frozen by the run. */
  now(): number;
  /** In [0, 1). */
  random(): number;
  /** 32 hexadecimal characters. */
  uuid(): string;
  timezone: string;
  locale: string;
  /** Characters of a text that is made; the limit of the expression when there is none. */
  maxTextChars?: number;
  /** Called with a cost; throws when the run's budget is used up. */
  charge(steps: number): void;
}

export interface FunctionDefinition {
  name: string;
  /** `round(value: number, digits?: integer = 0): number` */
  signature: string;
  summary: string;
  /** [expression, expected value]; an expected `Error` type name means that it must fail so. */
  examples: [string, unknown][];
  /** Fewest and most arguments. */
  arity: [number, number];
  /** True when the same arguments may give another value (time, chance): never computed at compile time. */
  isVolatile?: boolean;
  apply(args: unknown[], env: Env, context: CallContext): unknown;
  /** Fields that may follow the call, `date(x).hour`; when absent, fields are read from the result. */
  field?(args: unknown[], name: string, env: Env, context: CallContext): unknown;
}

export interface CallContext {
  /** Value of a variable by its path as text, for isArray("a.b"). */
  lookup(path: string): unknown;
}

export const defineFunction = (definition: FunctionDefinition): FunctionDefinition => definition;

/** @throws ExpressionError InvalidExpressionSyntax with the signature as the way out */
export function refuse(definition: { signature: string }, reason: string): never {
  throw new ExpressionError('InvalidExpressionSyntax', `Invalid parameters: ${reason}. Usage: ${definition.signature}`, '', {
    start: 0,
    end: 0,
  });
}

export function limitReached(reason: string): never {
  throw new ExpressionError('LimitExceededError', reason, '', { start: 0, end: 0 });
}
