/**
 * paced middleware — streams between nodes, at the pace of their reader. A stream of Moleculer is published as it comes: nobody tells the sender to wait, so
 * a slow reader fills memories, and Redis cuts a subscriber that is 32 MB behind. An action with `paced: true` that returns a Readable to a caller on another
 * node keeps it instead; the caller gets a Readable that asks for piece after piece (`streams.next`), each once it has room. To a caller on its own node the
 * stream is handed as it is. docs/decisions/081-large-files.md
 */
import { Readable } from 'node:stream';
import type { ActionSchema, Context, Middleware, ServiceBroker } from 'moleculer';
import { identityKeysOf } from '../auth/identity-keys.ts';
import { MINUTE, SECOND } from '../shared/clock.ts';
import { hexId } from '../shared/ids.ts';
import { RETRY_AFTER_MS } from '../shared/persistent.ts';
import { openHeld } from './held.ts';
import { pulled } from './pulled.ts';
import { streamsService } from './streams.service.ts';

declare module 'moleculer' {
  interface ActionSchema {
    /** A Readable it returns goes to other nodes piece by piece, at the pace of the reader. */
    paced?: boolean;
  }
}

/** How long a stream waits for its reader: a person may pause a download. */
const IDLE_MS = 10 * MINUTE;
const PIECE_TIMEOUT_MS = 20 * SECOND;

interface Told {
  $paced: string;
}

const isTold = (result: unknown): result is Told => typeof (result as Told | null)?.$paced === 'string';

export function pacedMiddleware(): Middleware {
  let broker: ServiceBroker;
  const held = openHeld(IDLE_MS);

  const ask = <T>(nodeID: string, action: string, params: object): Promise<T> => {
    const identity = identityKeysOf(broker).sign({ kind: 'system', service: 'streams', correlationId: hexId() });
    return broker.call<T, object>(action, params, { nodeID, timeout: PIECE_TIMEOUT_MS, meta: { identity } } as never);
  };

  return {
    name: 'paced',

    created(created: ServiceBroker) {
      broker = created;
      broker.createService(streamsService(held));
    },

    localAction(next: (ctx: Context) => Promise<unknown>, action: ActionSchema) {
      if (!action.paced) return next;
      return async function paced(this: unknown, ctx: Context) {
        const result = await next.call(this, ctx);
        const reader = ctx.nodeID;
        if (!(result instanceof Readable) || !reader || reader === broker.nodeID) return result;
        return { $paced: held.keep(result, reader) } satisfies Told;
      };
    },

    remoteAction(next: (ctx: Context) => Promise<unknown>, action: ActionSchema) {
      if (!action.paced) return next;
      return async function paced(this: unknown, ctx: Context) {
        const result = await next.call(this, ctx);
        if (!isTold(result)) return result;
        const node = ctx.nodeID as string;
        const ref = result.$paced;
        return pulled({
          next: (index) => ask<string>(node, 'streams.next', { ref, index }),
          end: () => void ask(node, 'streams.end', { ref }).catch(() => {}),
          retryAfterMs: RETRY_AFTER_MS,
        });
      };
    },
  } as unknown as Middleware;
}
