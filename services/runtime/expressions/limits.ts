/** limits — bounds of one expression or template. Each has a test at the limit and one past it. */
export interface Limits {
  /** Characters of an expression or of one template string. */
  maxLength: number;
  /** Nested brackets, calls and templates. */
  maxDepth: number;
  /** Nodes of one expression. */
  maxNodes: number;
  /** Operators, or fields and indexes, one after the other: `a + b + c`, `x.a.b.c`. `and` and `or` have no such limit. */
  maxChain: number;
  /** Characters that one evaluation of a template string may produce. */
  maxOutputChars: number;
  /** Items or pairs a function may make. */
  maxItems: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxLength: 1_000_000,
  maxDepth: 64,
  maxNodes: 10_000,
  maxChain: 1_000,
  maxOutputChars: 10_000_000,
  maxItems: 1_000_000,
};

/** What the making of a text costs. */
export const CHARS_PER_STEP = 32;
