/** patience — long work answers in time: with its result, or with the news that it goes on. */
import { SECOND } from '../../mixins/shared/clock.ts';
import type { Self } from './editing.mixin.ts';

export interface Processing {
  processing: true;
  message: string;
  id: string;
}

const PATIENCE_S = 15;
const MAX_PATIENCE_S = 50;

/** The result, or after a while (`timeout` seconds of the caller's query) the news that work goes on: its end is told by `event`. */
export async function inTime<T>(
  self: Self,
  { workspaceId, event, timeout }: { workspaceId: string; event: string; timeout?: unknown },
  work: Promise<T>,
): Promise<T | Processing> {
  const asked = Number(timeout);
  const seconds = timeout !== undefined && Number.isFinite(asked) && asked >= 0 ? Math.min(asked, MAX_PATIENCE_S) : PATIENCE_S;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Processing>((resolve) => {
    timer = setTimeout(() => {
      // From here on nobody waits for the outcome but the log.
      work.catch((error) => self.logger.warn(`Work on workspace ${workspaceId} failed after it was answered: ${error.message}`));
      resolve({ processing: true, message: `The work goes on; an event ${event} will tell its end.`, id: workspaceId });
    }, seconds * SECOND);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
