/**
 * live — events as they happen, for requests that wait (long polling) or stream (server-sent events). One bus subscription per node feeds all of them,
 * so any node can answer any poll.
 */
import { changesRights, changesTopics } from '../../mixins/auth/changes.ts';
import { type CatchUpOptions, catchUp, createFeedMemory, type Replayed } from '../../mixins/bus/catch-up.ts';
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
  /** Read rights as they are now: asked whenever they may have changed. */
  recheck?: () => Promise<Condition | null>;
  /** Whose request it is: it ends when the session does. */
  who?: { userId?: string; sessionId?: string };
}

export interface Watching {
  /** Rights as they are now. */
  recheck(): Promise<void>;
  close(): void;
}

export interface Live {
  /** Calls `deliver` for each event that is wanted and readable, until closed; `onEnd` when the session of the request has ended, or the node stops. */
  watch(interest: Interest, deliver: (event: PrismeEvent) => void, onEnd?: (why: 'revoked' | 'stopped') => void): Watching;
  /** What happened after an event and is wanted; what the watcher brings until `onCaughtUp` is part of it, or older. */
  since(interest: Interest, options: Pick<CatchUpOptions, 'afterId' | 'onCaughtUp' | 'isGone'>): Promise<Since>;
  /** Rights in a workspace may have changed. */
  refresh(workspaceId: string): Promise<void>;
  /** Sessions of a user, or one session, have ended. */
  revoked(who: { userId?: string; sessionId?: string }): void;
  close(): Promise<void>;
}

export interface Since {
  /** Oldest first; `null` when nobody can tell. */
  past: PrismeEvent[] | null;
  /** There were too many: more may follow the last one. */
  isCut: boolean;
  replayed: Replayed;
}

/** Events looked through for those that are wanted. */
const SCANNED = 5_000;

export interface LiveOptions {
  bus: EventBus;
  /** All events of a workspace after one, oldest first. */
  eventsAfter: (workspaceId: string, afterId: string, limit: number) => Promise<PrismeEvent[] | null>;
  /** Makes the node forget what it knows of the rights in a workspace. */
  accessChanged: (workspaceId: string) => void;
}

interface Watcher extends Interest {
  deliver(event: PrismeEvent): void;
  onEnd?: (why: 'revoked' | 'stopped') => void;
  recheckNow(): Promise<void>;
}

export async function openLive({ bus, eventsAfter, accessChanged }: LiveOptions): Promise<Live> {
  const workspaces = new Map<string, { matcher: Matcher; watchers: Map<string, Watcher> }>();
  const feed = createFeedMemory();

  async function refresh(workspaceId: string): Promise<void> {
    const watchers = [...(workspaces.get(workspaceId)?.watchers.values() ?? [])];
    await Promise.all(watchers.map((watcher) => watcher.recheckNow()));
  }

  function deliver(event: PrismeEvent): void {
    const workspace = workspaces.get(event.source.workspaceId ?? '');
    if (workspace) for (const id of workspace.matcher.match(event)) workspace.watchers.get(id)?.deliver(event);
    feed.add(event.id);
  }

  const following: BusSubscription = await bus.on(
    '*',
    (event) => {
      const { workspaceId } = event.source;
      const isRights = changesRights(event);
      if (!workspaceId || !workspaces.has(workspaceId) || !(isRights || changesTopics(event))) return deliver(event);
      // The next event of the workspace waits until the new rights hold.
      if (isRights) accessChanged(workspaceId);
      return refresh(workspaceId).then(() => deliver(event));
    },
    { mode: 'broadcast' },
  );

  return {
    refresh,
    watch(interest, receive, onEnd) {
      const { workspaceId, where, recheck } = interest;
      const id = shortId(12);
      const terms = [{ condition: where, currentSocketOnly: false }];
      const workspace = workspaces.get(workspaceId) ?? { matcher: createMatcher(), watchers: new Map<string, Watcher>() };
      workspaces.set(workspaceId, workspace);
      const mayRead = (readable: Condition | null) => {
        if (workspace.watchers.has(id)) workspace.matcher.set(id, { terms, readable });
      };
      // Rights that cannot be judged are none.
      const recheckNow = async () => void (recheck && (await recheck().then(mayRead, () => mayRead(null))));
      workspace.watchers.set(id, { ...interest, deliver: receive, onEnd, recheckNow });
      mayRead(interest.readable);
      return {
        recheck: recheckNow,
        close() {
          workspace.watchers.delete(id);
          workspace.matcher.remove(id);
          if (workspace.watchers.size === 0 && workspaces.get(workspaceId) === workspace) workspaces.delete(workspaceId);
        },
      };
    },
    async since({ workspaceId, where, readable }, options) {
      const read = () => (readable === null ? Promise.resolve([]) : eventsAfter(workspaceId, options.afterId, SCANNED));
      const { past, replayed } = await catchUp({ ...options, feed, read });
      const isWanted = compile({ all: [where, ...(readable ? [readable] : [])] });
      return { past: past?.filter(isWanted) ?? null, isCut: past !== null && past.length >= SCANNED, replayed };
    },
    revoked({ userId, sessionId }) {
      for (const { watchers } of workspaces.values())
        for (const { who, onEnd } of watchers.values())
          if ((userId !== undefined && who?.userId === userId) || (sessionId !== undefined && who?.sessionId === sessionId))
            onEnd?.('revoked');
    },
    async close() {
      // Streams end, so that their clients go to another node; polls answer with what they have.
      for (const { watchers } of [...workspaces.values()]) for (const { onEnd } of [...watchers.values()]) onEnd?.('stopped');
      await following.stop({ drainMs: 0 });
    },
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
  let arrived: PrismeEvent[] = [];
  let wake = () => {};
  let isOver = false;
  // Watch first, then look: the other way round loses an event that comes in between.
  const watching = live.watch(
    interest,
    (event) => {
      arrived.push(event);
      wake();
    },
    () => {
      isOver = true;
      wake();
    },
  );
  try {
    let isKnown: (id: string) => boolean = () => false;
    if (afterId) {
      const onCaughtUp = () => {
        arrived = [];
      };
      const { past, isCut, replayed } = await live.since(interest, { afterId, onCaughtUp, isGone: () => isOver });
      if (past !== null && past.length > 0) return past.slice(0, limit);
      // Too many to look through, or known to the history only: the store looks.
      if (past === null || isCut) {
        const present = await stored();
        if (present.length > 0) return present;
      }
      isKnown = replayed.has;
    } else {
      const present = await stored();
      if (present.length > 0) return present;
    }
    const fresh = () => arrived.filter(({ id }) => !isKnown(id));
    const until = Date.now() + timeoutMs;
    while (fresh().length === 0 && !isOver && Date.now() < until)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, until - Date.now());
        wake = () => {
          clearTimeout(timer);
          setImmediate(resolve); // events written together are answered together
        };
      });
    return fresh().slice(0, limit);
  } finally {
    watching.close();
  }
}
