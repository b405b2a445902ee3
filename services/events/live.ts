/**
 * live — events as they happen, for requests that wait (long polling) or stream (server-sent events). One bus subscription per node feeds all of them,
 * so any node can answer any poll.
 */
import type { Subscription as BusSubscription, EventBus } from '../../mixins/bus/contract.ts';
import { compile } from '../../mixins/filters/condition.ts';
import { createMatcher, type Matcher } from '../../mixins/filters/matcher.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { shortId } from '../../mixins/shared/ids.ts';
import type { Condition } from '../../mixins/storage/datalake/contract.ts';

export interface Interest {
  workspaceId: string;
  where: Condition;
  readable: Condition | null;
}

export interface Live {
  /** Calls `deliver` for each event that is wanted and readable, until the returned function is called. */
  watch(interest: Interest, deliver: (event: PrismeEvent) => void): { close(): void; mayRead(readable: Condition | null): void };
  /** What happened after an event, as far as the bus still keeps it; `null`: it does not. */
  since(interest: Interest, afterId: string, limit: number): Promise<PrismeEvent[] | null>;
  close(): Promise<void>;
}

export async function openLive(bus: EventBus): Promise<Live> {
  const workspaces = new Map<string, Matcher>();
  const receivers = new Map<string, (event: PrismeEvent) => void>();
  const following: BusSubscription = await bus.on(
    '*',
    (event) => {
      const matcher = workspaces.get(event.source.workspaceId ?? '');
      if (matcher) for (const id of matcher.match(event)) receivers.get(id)?.(event);
    },
    { mode: 'broadcast' },
  );

  return {
    watch({ workspaceId, where, readable }, deliver) {
      const id = shortId(12);
      const terms = [{ condition: where, currentSocketOnly: false }];
      let matcher = workspaces.get(workspaceId);
      if (!matcher) {
        matcher = createMatcher();
        workspaces.set(workspaceId, matcher);
      }
      matcher.set(id, { terms, readable });
      receivers.set(id, deliver);
      return {
        mayRead: (now) => workspaces.get(workspaceId)?.set(id, { terms, readable: now }),
        close() {
          receivers.delete(id);
          matcher.remove(id);
          if (matcher.size === 0) workspaces.delete(workspaceId);
        },
      };
    },
    async since({ workspaceId, where, readable }, afterId, limit) {
      if (readable === null) return [];
      const events = await bus.replay(afterId, workspaceId, limit);
      const isWanted = compile({ all: [where, readable] });
      return events === null ? null : events.filter(isWanted);
    },
    close: () => following.stop({ drainMs: 0 }),
  };
}

export interface PollOptions {
  live: Live;
  interest: Interest;
  timeoutMs: number;
  limit: number;
  afterId?: string;
  /** The events that are there already. */
  stored: () => Promise<PrismeEvent[]>;
}

/** Events that are there, else the first that come, else none after `timeoutMs`. */
export async function poll({ live, interest, timeoutMs, limit, afterId, stored }: PollOptions): Promise<PrismeEvent[]> {
  const arrived: PrismeEvent[] = [];
  let wake = () => {};
  // Watch first, then look: the other way round loses an event that comes in between.
  const watching = live.watch(interest, (event) => {
    arrived.push(event);
    wake();
  });
  try {
    const recent = afterId ? await live.since(interest, afterId, limit) : null;
    const present = recent ?? (await stored());
    if (present.length > 0) return present;
    if (arrived.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        wake = () => {
          clearTimeout(timer);
          setImmediate(resolve); // events written together are answered together
        };
      });
    }
    return arrived.slice(0, limit);
  } finally {
    watching.close();
  }
}
