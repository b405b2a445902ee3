/** stream — live events as server-sent events, for clients without WebSocket. @see https://html.spec.whatwg.org/multipage/server-sent-events.html */
import { Readable } from 'node:stream';
import { SECOND } from '../../mixins/shared/clock.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import type { Condition } from '../../mixins/storage/datalake/contract.ts';
import type { Interest, Live } from './live.ts';

const MAX_WAITING_BYTES = 1_000_000;
const RECHECK_MS = 10 * SECOND;
const REPLAY_LIMIT = 5_000;

export interface StreamOptions {
  live: Live;
  interest: Interest;
  /** Last event the client has. */
  afterId?: string;
  keepAliveMs: number;
  /** Read rights as they are now: a revoked share ends the flow. */
  recheck: () => Promise<Condition | null>;
  recheckMs?: number;
}

const frame = (event: PrismeEvent) => `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

/** A client that reads too slowly is told so and let go: it comes back with the id of its last event. */
export function eventStream({ live, interest, afterId, keepAliveMs, recheck, recheckMs = RECHECK_MS }: StreamOptions): Readable {
  const seen = new Set<string>();
  let pending: PrismeEvent[] | null = [];
  const output = new Readable({
    read() {},
    destroy(error, done) {
      close();
      done(error);
    },
  });
  const write = (event: PrismeEvent) => {
    if (output.readableLength > MAX_WAITING_BYTES) {
      output.push(
        'event: error\ndata: {"error":"SlowConsumerError","message":"This client reads more slowly than events arrive; reconnect with Last-Event-ID."}\n\n',
      );
      output.push(null);
      return close();
    }
    output.push(frame(event));
  };
  const watching = live.watch(interest, (event) => {
    if (pending) pending.push(event);
    else if (!output.readableEnded) write(event);
  });
  const alive = setInterval(() => output.push(': keep-alive\n\n'), keepAliveMs);
  const checking = setInterval(() => recheck().then(watching.mayRead, () => watching.mayRead(null)), recheckMs);
  alive.unref();
  checking.unref();
  function close() {
    clearInterval(alive);
    clearInterval(checking);
    watching.close();
  }

  output.push('retry: 1000\n\n');
  const replayed = afterId ? live.since(interest, afterId, REPLAY_LIMIT) : Promise.resolve([]);
  replayed.then(
    (recent) => {
      if (recent === null)
        output.push('event: gap\ndata: {"message":"The given event is not kept any more; read the history for what lies between."}\n\n');
      for (const event of recent ?? []) {
        seen.add(event.id);
        write(event);
      }
      for (const event of pending ?? []) if (!seen.has(event.id)) write(event);
      pending = null;
    },
    (error) => output.destroy(error),
  );
  return output;
}
