/** signals — how a block ends other than by reaching its end. Not errors: they cost nothing and no `catch` sees them by accident. */

export interface BreakSignal {
  scope: 'automation' | 'repeat' | 'all';
  /** Output of the interrupted automation. */
  payload?: unknown;
  hasPayload: boolean;
  /** `all` that came out of a called automation: a `try` may catch it. */
  isFromCall?: boolean;
}

/** undefined: the end of the block was reached. */
export type Outcome = BreakSignal | undefined;
export type MaybeAsync<T> = T | Promise<T>;

export const isPromise = (value: unknown): value is Promise<any> => value instanceof Promise;
