/** stream — live events as server-sent events, for clients without WebSocket. @see https://html.spec.whatwg.org/multipage/server-sent-events.html */
import { Readable } from 'node:stream';
import type { Replayed } from '../../mixins/bus/catch-up.ts';
import { HOUR, SECOND } from '../../mixins/shared/clock.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import type { Interest, Live } from './live.ts';

const MAX_WAITING_BYTES = 1_000_000;
const MAX_PENDING = 5_000;
/** Rights are judged anew when something tells that they have changed; this often in case nothing did. */
const RECHECK_MS = 30 * SECOND;
/** A stream ends after this time; the client comes back with the id of its last event and shows its credentials again. */
const MAX_LIFE_MS = HOUR;

export interface StreamOptions {
  live: Live;
  interest: Interest;
  /** Last event the client has. */
  afterId?: string;
  keepAliveMs: number;
  maxLifeMs?: number;
}

const frame = (event: PrismeEvent) => `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

/** A client that reads too slowly is told so and let go: it comes back with the id of its last event. */
export function eventStream({ live, interest, afterId, keepAliveMs, maxLifeMs = MAX_LIFE_MS }: StreamOptions): Readable {
  let pending: PrismeEvent[] | null = afterId ? [] : null;
  let replayed: Replayed | null = null;
  let isOver = false;
  const output = new Readable({
    read() {},
    destroy(error, done) {
      close();
      done(error);
    },
  });
  const end = (reason?: { error: string; message: string }) => {
    if (isOver) return;
    close();
    if (reason) output.push(`event: error\ndata: ${JSON.stringify(reason)}\n\n`);
    output.push(null);
  };
  const write = (event: PrismeEvent) => {
    if (isOver) return;
    if (output.readableLength > MAX_WAITING_BYTES)
      return end({
        error: 'SlowConsumerError',
        message: 'This client reads more slowly than events arrive; reconnect with Last-Event-ID.',
      });
    output.push(frame(event));
  };
  const receive = (event: PrismeEvent) => {
    if (replayed?.isOver()) replayed = null;
    else if (replayed?.has(event.id)) return;
    if (!pending) return write(event);
    if (pending.push(event) > MAX_PENDING)
      end({ error: 'SlowConsumerError', message: 'Too much happened while the past was read; reconnect.' });
  };
  const watching = live.watch(interest, receive, (why) =>
    end(why === 'revoked' ? { error: 'AuthenticationError', message: 'The session has ended.' } : undefined),
  );
  const alive = setInterval(() => output.push(': keep-alive\n\n'), keepAliveMs);
  const checking = setInterval(() => void watching.recheck(), RECHECK_MS);
  const ending = setTimeout(() => end(), maxLifeMs);
  for (const timer of [alive, checking, ending]) timer.unref();
  function close() {
    isOver = true;
    clearInterval(alive);
    clearInterval(checking);
    clearTimeout(ending);
    watching.close();
  }

  async function replay(id: string): Promise<void> {
    const onCaughtUp = () => {
      pending = [];
    };
    const found = await live.since(interest, { afterId: id, onCaughtUp, isGone: () => isOver });
    if (isOver) return;
    if (found.past === null || found.isCut)
      output.push(
        'event: gap\ndata: {"message":"Not every event since the given one can be told; read the history for what lies between."}\n\n',
      );
    replayed = found.replayed;
    for (const event of found.past ?? []) write(event);
    for (const event of pending ?? []) if (!found.replayed.has(event.id)) write(event);
    pending = null;
  }
  output.push('retry: 1000\n\n');
  if (afterId) replay(afterId).catch((error) => output.destroy(error));
  return output;
}
