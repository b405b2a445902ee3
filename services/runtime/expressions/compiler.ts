/** compiler — tree → closure. Everything that can be decided before a run is decided here: operators, functions, fixed keys, patterns. */
import type { Node, Segment } from './ast.ts';
import { ExpressionError, type Range } from './errors.ts';
import type { CallContext, Env, FunctionDefinition } from './function.ts';
import { functions, nearestFunction } from './functions/index.ts';
import { CHARS_PER_STEP, DEFAULT_LIMITS } from './limits.ts';
import { BINARY, doesMatch, textToMatch } from './operators.ts';
import { type Pattern, regexFrom } from './regex.ts';
import { isHostile, read, toKey, toText } from './values.ts';

export interface Scope {
  /** Value of a root variable; undefined when absent. */
  get(name: string): unknown;
}

export type Evaluate = (scope: Scope, env: Env) => unknown;

export interface Compilation {
  text: string;
  /** Root variables that may be read; '*' when the name is computed. */
  roots: Set<string>;
}

/** Text path → value, for functions that take the name of a variable. Quotes and computed keys do not occur there. */
const lookup = (scope: Scope, path: string): unknown => {
  const [root, ...rest] = path.split('.');
  let value = scope.get(root as string);
  for (const key of rest) value = read(value, key);
  return value;
};

export function compileNode(node: Node, into: Compilation): Evaluate {
  switch (node.type) {
    case 'literal': {
      const { value } = node;
      return () => value;
    }
    case 'variable':
      return compileVariable(node.path, into);
    case 'logical':
      return compileLogical(
        node.operator,
        node.items.map((item) => compileNode(item, into)),
      );
    case 'binary': {
      const left = compileNode(node.left, into);
      if (node.operator === 'matches' || node.operator === 'not matches') return compileMatch(node, left, into);
      const right = compileNode(node.right, into);
      const apply = BINARY[node.operator];
      if (node.operator === '+')
        return (scope, env) => {
          const sum = apply(left(scope, env), right(scope, env));
          if (typeof sum === 'string') payForText(sum, env, into.text, node.range);
          return sum;
        };
      return (scope, env) => apply(left(scope, env), right(scope, env));
    }
    case 'not': {
      const operand = compileNode(node.operand, into);
      return (scope, env) => !operand(scope, env);
    }
    case 'negate': {
      const operand = compileNode(node.operand, into);
      return (scope, env) => BINARY['-'](0, operand(scope, env));
    }
    case 'exists': {
      const operand = compileNode(node.operand, into);
      const { isNegated } = node;
      return (scope, env) => {
        const value = operand(scope, env);
        return (value !== undefined && value !== null) !== isNegated;
      };
    }
    case 'regex': {
      // Only `matches` takes a pattern; as a value it is its text, never an object of the host.
      const source = compileSource(node.parts, into);
      const { flags } = node;
      return (scope, env) => `/${source(scope, env)}/${flags}`;
    }
    case 'call':
      return compileCall(node, undefined, into);
    case 'member':
      return compileMember(node, into);
    case 'array': {
      const items = node.items.map((item) => compileNode(item, into));
      return (scope, env) => items.map((item) => item(scope, env));
    }
    case 'object': {
      const entries = node.entries.map(({ key, value }) => [key, compileNode(value, into)] as const);
      return (scope, env) => {
        const made: Record<string, unknown> = {};
        for (const [key, value] of entries) made[key] = value(scope, env);
        return made;
      };
    }
  }
}

function compileMatch(node: Node & { type: 'binary' }, left: Evaluate, into: Compilation): Evaluate {
  const isNegated = node.operator === 'not matches';
  if (node.right.type === 'regex') {
    const pattern = compileRegex(node.right, into);
    return (scope, env) => pattern(scope, env).test(textToMatch(left(scope, env)), env.charge) !== isNegated;
  }
  const right = compileNode(node.right, into);
  return (scope, env) => doesMatch(left(scope, env), right(scope, env), env.charge) !== isNegated;
}

const { maxOutputChars, maxItems } = DEFAULT_LIMITS;

/** Long texts cost steps, and have an end: doubling a text in a loop must not fill the memory. */
export function payForText(made: string, env: Env, text: string, range: Range): void {
  const max = env.maxTextChars ?? maxOutputChars;
  if (made.length > max) throw new ExpressionError('LimitExceededError', `This text would be longer than ${max} characters.`, text, range);
  env.charge(Math.floor(made.length / CHARS_PER_STEP));
}

function compileLogical(operator: 'and' | 'or', items: Evaluate[]): Evaluate {
  if (items.length === 2) {
    const [first, second] = items as [Evaluate, Evaluate];
    return operator === 'and'
      ? (scope, env) => first(scope, env) && second(scope, env)
      : (scope, env) => first(scope, env) || second(scope, env);
  }
  const stopsAt = operator === 'or';
  return (scope, env) => {
    let value: unknown;
    for (const item of items) {
      value = item(scope, env);
      if (Boolean(value) === stopsAt) return value;
    }
    return value;
  };
}

/** A computed segment: one part keeps its value (a number indexes), several are joined as text. */
export function compileSegment(segment: Segment & { kind: 'computed' }, into: Compilation): Evaluate {
  const parts = segment.parts.map((part) => (typeof part === 'string' ? () => part : compileNode(part, into)));
  if (parts.length === 1) return parts[0] as Evaluate;
  return (scope, env) => {
    let key = '';
    for (const part of parts) key += toKey(part(scope, env));
    return key;
  };
}

const asKey = (value: unknown): string | number => (typeof value === 'number' ? value : toKey(value));

export function compileVariable(path: Segment[], into: Compilation): Evaluate {
  const [first, ...rest] = path as [Segment, ...Segment[]];
  const steps = rest.map((segment) => (segment.kind === 'fixed' ? segment.key : compileSegment(segment, into)));
  if (first.kind === 'computed') {
    into.roots.add('*');
    const root = compileSegment(first, into);
    return (scope, env) => {
      const name = toKey(root(scope, env));
      let value = isHostile(name) ? undefined : scope.get(name);
      for (const step of steps) value = read(value, typeof step === 'string' ? step : asKey(step(scope, env)));
      return value;
    };
  }
  const root = first.key;
  into.roots.add(root);
  if (steps.length === 0) return (scope) => scope.get(root);
  if (steps.length === 1 && typeof steps[0] === 'string') {
    const [key] = steps as [string];
    return (scope) => read(scope.get(root), key);
  }
  return (scope, env) => {
    let value = scope.get(root);
    for (const step of steps) {
      if (value === undefined || value === null) return undefined;
      value = read(value, typeof step === 'string' ? step : asKey(step(scope, env)));
    }
    return value;
  };
}

function compileSource(parts: (string | Node)[], into: Compilation): (scope: Scope, env: Env) => string {
  const pieces = parts.map((part) => (typeof part === 'string' ? part : compileNode(part, into)));
  return (scope, env) => {
    let source = '';
    for (const piece of pieces) source += typeof piece === 'string' ? piece : toText(piece(scope, env));
    return source;
  };
}

/** A pattern without variables is compiled, and refused, with the expression. */
function compileRegex({ parts, flags }: Node & { type: 'regex' }, into: Compilation): (scope: Scope, env: Env) => Pattern {
  if (parts.every((part) => typeof part === 'string')) {
    const pattern = regexFrom(parts.join(''), flags);
    return () => pattern;
  }
  const source = compileSource(parts, into);
  return (scope, env) => regexFrom(source(scope, env), flags);
}

function definitionOf(node: Node & { type: 'call' }, text: string): FunctionDefinition {
  const definition = functions.get(node.name);
  if (!definition) {
    const near = nearestFunction(node.name);
    throw new ExpressionError(
      'InvalidExpressionSyntax',
      `Unknown function '${node.name}' in an expression or condition${near ? `; did you mean '${near}'?` : '.'}`,
      text,
      node.range,
    );
  }
  const [least, most] = definition.arity;
  if (node.args.length < least || node.args.length > most) {
    throw new ExpressionError(
      'InvalidExpressionSyntax',
      `'${node.name}' takes ${least === most ? least : `${least} to ${most === Number.POSITIVE_INFINITY ? 'any number of' : most}`} arguments, not ${node.args.length}. Usage: ${definition.signature}`,
      text,
      node.range,
    );
  }
  return definition;
}

function compileCall(node: Node & { type: 'call' }, field: string | undefined, into: Compilation): Evaluate {
  const definition = definitionOf(node, into.text);
  // isArray("order.lines") names a variable: it may be any.
  if (definition.name === 'isArray' || definition.name === 'isObject')
    if (node.args.some((argument) => argument.type !== 'variable')) into.roots.add('*');
  const args = node.args.map((argument) => compileNode(argument, into));
  const { text } = into;
  const call = (values: unknown[], env: Env, context: CallContext): unknown => {
    if (field === undefined) return definition.apply(values, env, context);
    return definition.field ? definition.field(values, field, env, context) : read(definition.apply(values, env, context), field);
  };
  return (scope, env) => {
    const values = args.map((argument) => argument(scope, env));
    const context: CallContext = { lookup: (path) => lookup(scope, path) };
    try {
      const made = call(values, env, context);
      if (typeof made === 'string') payForText(made, env, text, node.range);
      else if (Array.isArray(made) && made.length > maxItems)
        throw new ExpressionError('LimitExceededError', `This list would have more than ${maxItems} items.`, text, node.range);
      return made;
    } catch (error) {
      if (error instanceof ExpressionError && !error.text) throw new ExpressionError(error.type, error.reason, text, node.range);
      throw error;
    }
  };
}

function compileMember(node: Node & { type: 'member' }, into: Compilation): Evaluate {
  if (node.object.type === 'call' && node.key.type === 'literal' && typeof node.key.value === 'string')
    return compileCall(node.object, node.key.value, into);
  const object = compileNode(node.object, into);
  const key = compileNode(node.key, into);
  return (scope, env) => read(object(scope, env), asKey(key(scope, env)));
}

/** Number of nodes: what an evaluation costs at most, functions apart. */
export function sizeOf(node: Node): number {
  switch (node.type) {
    case 'logical':
    case 'array':
      return node.items.reduce((sum, item) => sum + sizeOf(item), 1);
    case 'binary':
      return 1 + sizeOf(node.left) + sizeOf(node.right);
    case 'not':
    case 'negate':
    case 'exists':
      return 1 + sizeOf(node.operand);
    case 'call':
      return node.args.reduce((sum, item) => sum + sizeOf(item), 2);
    case 'member':
      return 1 + sizeOf(node.object) + sizeOf(node.key);
    case 'object':
      return node.entries.reduce((sum, { value }) => sum + sizeOf(value), 1);
    default:
      return 1;
  }
}
