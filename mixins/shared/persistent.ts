/** persistent — a question to a node, asked again when nothing was answered. For what may be done twice only. */
import { SECOND, sleep } from './clock.ts';
import { fault, isFault } from './errors.ts';

/** Pauses before the next attempt, ms: in all longer than a node takes to be back after it was taken for dead (docs/operations.md). */
export const RETRY_AFTER_MS: readonly number[] = [0.1, 0.4, 1, 2, 3, 4, 5].map((seconds) => seconds * SECOND);

/**
 * A busy node is silent for a moment, and a large file is hundreds of questions. A refusal, that is any fault, is final.
 * @throws UpstreamUnavailable `silence` when every attempt failed
 */
export async function persistent<T>(ask: () => Promise<T>, silence: string, retryAfterMs = RETRY_AFTER_MS): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask();
    } catch (cause) {
      if (isFault(cause)) throw cause;
      const pause = retryAfterMs[attempt];
      if (pause === undefined) throw fault('UpstreamUnavailable', { message: silence, cause });
      await sleep(pause);
    }
  }
}
