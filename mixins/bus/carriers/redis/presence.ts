/**
 * presence — notices that a process is gone without waiting for its leases: it holds a subscription to a channel of its own, which Redis drops with the
 * connection, and the kernel closes that when the process ends. Nothing is ever published; `PUBSUB NUMSUB` counts who is there. docs/decisions/034.
 *
 * Only who was seen can be missed: a name nobody was subscribed to since this side connected is not judged, so that neither a restart of Redis nor a
 * server that refuses the commands makes anybody dead. What cannot be told here the leases tell.
 */
import type { Logger } from '../../carrier.ts';
import type { Client } from './connect.ts';

/** A connection that breaks is back sooner than this. */
const CONFIRM_MS = 750;

export interface Presence {
  announce(name: string, onSeen?: (isSeen: boolean) => void): void;
  gone(names: string[]): Promise<string[]>;
  stop(): void;
}

export interface PresenceOptions {
  client: Pick<Client, 'pubsub' | 'on' | 'status'>;
  /** Makes the connection of the subscription. */
  another: () => Pick<Client, 'subscribe' | 'on' | 'once' | 'status' | 'disconnect'>;
  /** Of the channel of a name. */
  channelOf: (name: string) => string;
  logger: Logger;
  clock?: () => number;
}

export function openPresence({ client, another, channelOf, logger, clock = () => performance.now() }: PresenceOptions): Presence {
  /** Names seen since this side connected, with the time since when nobody has been there; `null`: somebody is. */
  const seen = new Map<string, number | null>();
  const listeners = new Set<(isSeen: boolean) => void>();
  let subscriber: ReturnType<typeof another> | undefined;
  let isRefused = false;
  let isStopped = false;

  client.on('close', () => seen.clear());

  function refuse(error: Error): void {
    if (isRefused || isStopped) return;
    isRefused = true;
    logger.info(`bus: dead processes are noticed when their leases end, as Redis does not tell who is connected: ${error.message}`);
  }

  return {
    announce(name, onSeen) {
      if (onSeen) listeners.add(onSeen);
      if (!subscriber) {
        subscriber = another();
        // The client subscribes again by itself.
        for (const [event, isSeen] of [
          ['close', false],
          ['ready', true],
        ] as const)
          subscriber.on(event, () => {
            if (!isStopped) for (const tell of listeners) tell(isSeen);
          });
      }
      // Not before: a subscription on its way forbids the question with which the client begins, and it would begin again.
      const subscribe = () => void subscriber?.subscribe(channelOf(name)).catch(refuse);
      if (subscriber.status === 'ready') subscribe();
      else subscriber.once('ready', subscribe);
    },
    async gone(names) {
      if (isRefused || isStopped || names.length === 0 || client.status !== 'ready') return [];
      let counts: unknown[];
      try {
        counts = (await client.pubsub('NUMSUB', ...names.map(channelOf))) as unknown[];
      } catch (error) {
        if (client.status === 'ready') refuse(error as Error);
        return [];
      }
      const now = clock();
      return names.filter((name, i) => {
        if (Number(counts[2 * i + 1]) > 0) {
          seen.set(name, null);
          return false;
        }
        const since = seen.get(name);
        if (since === undefined) return false;
        if (since === null) seen.set(name, now);
        return since !== null && now - since >= CONFIRM_MS;
      });
    },
    stop() {
      isStopped = true;
      subscriber?.disconnect();
    },
  };
}
