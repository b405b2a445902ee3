/** faults — errors of the language with their place: what clients see, what `$error` holds, what events tell. */
import { type Fault, fault, isFault, toPublicError } from '../../../mixins/shared/errors.ts';
import { ExpressionError, lineOf } from '../expressions/index.ts';
import type { Frame } from './frame.ts';

/** Errors already told in an executed event: only the innermost automation tells. */
const reported = new WeakSet<object>();
export const isReported = (error: unknown): boolean => typeof error === 'object' && error !== null && reported.has(error);
export const markReported = (error: unknown): void => {
  if (typeof error === 'object' && error !== null) reported.add(error);
};

/** An expression's error as a fault of the catalogue. */
export function fromExpressionError(error: ExpressionError): Fault {
  return fault(error.type, {
    message: error.message,
    data: {
      ...(error.text ? { expression: error.text.slice(0, 1000), ...lineOf(error.text, error.range.start) } : {}),
      range: error.range,
      ...(error.place === undefined ? {} : { place: error.place }),
    },
    cause: error,
  });
}

/** The engine itself gave up: a value nested too deeply for the stack, or a text longer than it can hold. */
const isTooMuch = (error: unknown): boolean => (error as { name?: unknown } | null)?.name === 'RangeError';

const tooMuch = (cause: unknown): Fault =>
  fault('LimitExceededError', { message: 'A value is nested too deeply, or is too large.', cause });

/** Adds where it happened, once: the innermost place wins. */
export function located(error: unknown, path: string, frame: Frame): unknown {
  const found = error instanceof ExpressionError ? fromExpressionError(error) : isTooMuch(error) ? tooMuch(error) : error;
  if (isFault(found)) {
    const data = (found.data ?? {}) as Record<string, unknown>;
    // Known already: how far into the instruction, or which instruction of an automation that was called.
    const isWithin = typeof data.place === 'string' && data.place.startsWith(path) && (found as { frame?: unknown }).frame === undefined;
    const place = isWithin ? (data.place as string) : path;
    if (data.place === undefined || isWithin)
      found.data = { ...data, place: frame.model.instance ? `${frame.model.instance}:${place}` : place };
    if ((found as { frame?: unknown }).frame === undefined)
      Object.defineProperty(found, 'frame', { value: frame.place, enumerable: false });
  }
  return found;
}

/** `$error` of a `catch`, and `error` of an executed event. */
export function described(error: unknown): { error: string; name: string; message: string; details: Record<string, unknown> } {
  const { error: name, message, details } = toPublicError(error);
  return { error: name, name, message, details };
}
