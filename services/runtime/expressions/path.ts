/** path — names that are written to: `cart.lines[]`, `session.cache[{{key}}]`, `bag.{{item.id}}`, `reply.headers.Content-Type`. */
import { type Compilation, compileSegment, type Evaluate, type Scope } from './compiler.ts';
import { ExpressionError, refusedName } from './errors.ts';
import type { Env } from './function.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { Parser } from './parser.ts';
import { isHostile, toKey } from './values.ts';

export interface PathTemplate {
  /** Keys and indexes; the first is the root. @throws ExpressionError on a hostile or empty computed name */
  evaluate(scope: Scope, env: Env): (string | number)[];
  /** The name ended in `[]`: the value is appended. */
  readonly append: boolean;
  /** Roots read by computed keys. */
  readonly roots: ReadonlySet<string>;
  /** Fixed first segment, or null when it is computed. */
  readonly root: string | null;
  /** The whole path when nothing is computed. */
  readonly fixed: readonly (string | number)[] | null;
}

const toSegment = (key: string): string | number => (/^(0|[1-9]\d{0,8})$/.test(key) ? Number(key) : key);

/** @throws ExpressionError InvalidVariableNameError */
export function compilePath(name: string, options: Partial<Limits> = {}): PathTemplate {
  const append = name.endsWith('[]');
  const text = append ? name.slice(0, -2) : name;
  const parser = new Parser(text, { ...DEFAULT_LIMITS, ...options });
  const segments = parser.path('');
  if (!segments)
    throw new ExpressionError('InvalidVariableNameError', 'This is not the name of a variable.', name, { start: 0, end: name.length });
  const compilation: Compilation = { text: name, roots: new Set() };
  const steps: (string | number | Evaluate)[] = segments.map((segment) =>
    segment.kind === 'fixed' ? toSegment(segment.key) : compileSegment(segment, compilation),
  );
  const fixed = steps.every((step) => typeof step !== 'function') ? (steps as (string | number)[]) : null;
  const first = steps[0];
  // `{{name}}` alone as a name is the path that the variable holds.
  const isIndirect = steps.length === 1 && typeof first === 'function';
  return {
    append,
    roots: compilation.roots,
    root: typeof first === 'function' ? null : String(first),
    fixed,
    evaluate(scope, env) {
      if (fixed) return fixed as (string | number)[];
      const keys: (string | number)[] = [];
      for (const step of steps) {
        if (typeof step !== 'function') {
          keys.push(step);
          continue;
        }
        const key = toKey(step(scope, env));
        const whole = { start: 0, end: name.length };
        if (isHostile(key)) throw refusedName(key, name, whole);
        if (key === '') throw new ExpressionError('InvalidVariableNameError', 'A computed part of this name is empty.', name, whole);
        keys.push(toSegment(key));
      }
      if (isIndirect && typeof keys[0] === 'string' && /[.[]/.test(keys[0])) return [...(compilePath(keys[0], options).fixed ?? keys)];
      return keys;
    },
  };
}
