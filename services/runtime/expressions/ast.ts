/** ast — the tree of an expression. Every node knows its range in the text. */
import type { Range } from './errors.ts';

export type BinaryOperator =
  | '=='
  | '==='
  | '!='
  | 'not equals'
  | 'in'
  | 'not in'
  | 'matches'
  | 'not matches'
  | '<'
  | '<='
  | '>'
  | '>='
  | '+'
  | '-'
  | '*'
  | '/'
  | '%';

/** One step of a path: a fixed name or index, or one computed when the path is read. */
export type Segment = { kind: 'fixed'; key: string; range: Range } | { kind: 'computed'; parts: (string | Node)[]; range: Range };

/** `isGrouped`: it stands in parentheses of its own. */
export type Node = { range: Range; isGrouped?: boolean } & (
  | { type: 'literal'; value: string | number | boolean | null | undefined; isBare?: boolean }
  | { type: 'variable'; path: Segment[] }
  /** Same operator all the way: flat, so that long chains need no deep recursion. */
  | { type: 'logical'; operator: 'and' | 'or'; items: Node[] }
  | { type: 'binary'; operator: BinaryOperator; left: Node; right: Node }
  | { type: 'not'; operand: Node }
  | { type: 'negate'; operand: Node }
  | { type: 'exists'; operand: Node; isNegated: boolean }
  /** Pattern of `matches regex(…)`: fixed text and variables, concatenated. */
  | { type: 'regex'; parts: (string | Node)[]; flags: string }
  | { type: 'call'; name: string; args: Node[] }
  /** `date(x).hour`: a field that the function itself defines. */
  | { type: 'member'; object: Node; key: Node }
  | { type: 'array'; items: Node[] }
  | { type: 'object'; entries: { key: string; value: Node }[] }
);
