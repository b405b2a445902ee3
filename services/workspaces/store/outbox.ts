/** outbox — hands the events of a committed change to the bus. An event the bus will never take is replaced by an `error` event, not lost in silence. */
import type { Logger } from 'moleculer';
import type { EventBus } from '../../../mixins/bus/contract.ts';
import { isFault, toPublicError } from '../../../mixins/shared/errors.ts';
import type { StagedEvent } from './store.ts';

/** Parts of payloads left out, in this order, when an event is too large; the revision stays, so that consumers read the rest from the store. */
const SHRINK = ['oldConfig', 'appInstance', 'automation', 'page', 'workspace', 'blocks', 'config', 'security', 'files', 'errors', 'events'];
const FINAL = ['InvalidEventError', 'EventValidationError', 'BrokerError'] as const;

/** @throws what may pass when tried again (the bus is full or away) */
export async function sendStaged(bus: EventBus, events: StagedEvent[], logger: Logger): Promise<void> {
  const ready = events.map(({ id, type, payload, source }) => ({ type, payload, options: { id, source, shrink: SHRINK } }));
  try {
    await bus.sendAll(ready);
    return;
  } catch (error) {
    if (!FINAL.some((type) => isFault(error, type))) throw error;
  }
  for (const { type, payload, options } of ready) {
    try {
      await bus.send(type, payload, options);
    } catch (error) {
      if (!FINAL.some((final) => isFault(error, final))) throw error;
      const { status: _status, ...problem } = toPublicError(error);
      logger.error(`The event ${type} of workspace ${options.source.workspaceId} was refused: ${problem.message}`);
      await bus
        .send('error', { ...problem, refusedEvent: type } as never, { id: `${options.id}E`, source: options.source })
        .catch(() => {});
    }
  }
}
