/** checks — looks at modules at the same time, none for longer than a moment, and says what was found without telling where they are. */
import { SECOND } from '../shared/clock.ts';
import { fault, isFault } from '../shared/errors.ts';
import type { Check, Module, ModuleError, Readiness } from './contract.ts';

export const CHECK_TIMEOUT_MS = 2 * SECOND;

/** Codes of the system that help whoever repairs it. What a client library says may hold addresses, users and passwords. */
const REASONS: Record<string, string> = {
  TimeoutError: 'It did not answer in time.',
  ECONNREFUSED: 'The connection was refused.',
  ECONNRESET: 'The connection was lost.',
  EHOSTUNREACH: 'Its host cannot be reached.',
  ENETUNREACH: 'Its network cannot be reached.',
  ENOTFOUND: 'The name of its host is not known.',
  EAI_AGAIN: 'The name of its host cannot be looked up.',
  ETIMEDOUT: 'The connection was not made in time.',
  ENOSPC: 'The disk is full.',
  EDQUOT: 'The quota of the disk is used up.',
  EROFS: 'The disk is read-only.',
  EACCES: 'The rights of the process do not suffice.',
  EPERM: 'The rights of the process do not suffice.',
  ENOENT: 'Its folder is not there.',
  ENOTDIR: 'Its folder is not a folder.',
  EMFILE: 'The process has too many open files.',
};

const NAME = /^[A-Za-z][A-Za-z0-9_]{0,60}$/;

/** The most telling name on the way down to the first cause. */
function nameOf(error: unknown): string {
  let name = 'Error';
  let one = error as { code?: unknown; name?: unknown; cause?: unknown } | undefined;
  for (let depth = 0; one && typeof one === 'object' && depth < 5; depth++, one = one.cause as typeof one) {
    if (typeof one.code === 'string' && Object.hasOwn(REASONS, one.code)) return one.code;
    if (name !== 'Error') continue;
    if (isFault(one)) name = one.type;
    else name = [one.code, one.name].find((text): text is string => typeof text === 'string' && NAME.test(text)) ?? name;
  }
  return name;
}

export function moduleError({ module, driver }: Module, error: unknown): ModuleError {
  const name = nameOf(error);
  return { error: name, module, driver, message: REASONS[name] ?? 'It does not work; the log of the node says more.' };
}

/** @param told hears of each failure as it was, for the log */
export async function runChecks(
  checks: Check[],
  told: (module: Module, error: unknown) => void = () => {},
  timeoutMs = CHECK_TIMEOUT_MS,
): Promise<Readiness> {
  const outcomes = await Promise.all(
    checks.map(async ({ module, driver, check }) => {
      try {
        await within(timeoutMs, check);
        return { ready: { module, driver } };
      } catch (error) {
        told({ module, driver }, error);
        return { error: moduleError({ module, driver }, error) };
      }
    }),
  );
  const modulesReady = outcomes.flatMap(({ ready }) => ready ?? []);
  const errors = outcomes.flatMap(({ error }) => error ?? []);
  return { status: errors.length === 0 ? 'ready' : 'error', modulesReady, errors };
}

async function within(ms: number, work: () => Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(fault('TimeoutError')), ms);
  });
  try {
    // A check may throw before it has a promise.
    await Promise.race([(async () => work())(), late]);
  } finally {
    clearTimeout(timer);
  }
}
