/** replay — what a returning client has missed, then whatever happens: each event once, in order, at the pace of the client. */
import type { ServiceBroker } from 'moleculer';
import type { AuthMethods } from '../../../mixins/auth/contract.ts';
import { catchUp, type FeedMemory } from '../../../mixins/bus/catch-up.ts';
import { createMatcher } from '../../../mixins/filters/matcher.ts';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import { drained, type Member, messageName, waitingOf } from './rooms.ts';

/** Packets handed to the transport before the client has to have taken some. */
const SLICE = 200;

export interface ReplayOptions {
  broker: ServiceBroker;
  systemMeta: AuthMethods['systemMeta'];
  logger: ServiceBroker['logger'];
  feed: FeedMemory;
  limit: number;
}

export function createReplay({
  broker,
  systemMeta,
  logger,
  feed,
  limit,
}: ReplayOptions): (member: Member, afterId: string) => Promise<void> {
  /** Nothing is dropped for being replayed, however slow the client is: what happens meanwhile waits, within bounds (rooms.ts). */
  async function send(member: Member, events: PrismeEvent[]): Promise<void> {
    const isGone = () => !member.socket.connected;
    for (let i = 0; i < events.length && !isGone(); i += SLICE) {
      for (const event of events.slice(i, i + SLICE)) member.socket.emit(messageName(event.type), event);
      while (waitingOf(member.socket) > SLICE && !isGone()) await drained(member);
    }
  }

  return async function replay(member, afterId) {
    const { socket, workspaceId } = member;
    const isGone = () => !socket.connected;
    try {
      const { past, replayed } = await catchUp({
        feed,
        afterId,
        read: () => broker.call<PrismeEvent[] | null, object>('events.replay', { workspaceId, afterId, limit }, { meta: systemMeta() }),
        onCaughtUp: () => {
          member.pending = [];
        },
        isGone,
      });
      if (past === null || past.length >= limit) socket.emit('gap', { afterId });
      member.replayed = replayed;
      const matcher = createMatcher();
      matcher.set('self', { terms: member.terms, readable: member.readable, socketId: member.logicalId });
      await send(
        member,
        (past ?? []).filter((event) => matcher.match(event).length > 0),
      );
      while (member.pending && member.pending.length > 0 && !isGone()) {
        const meanwhile = member.pending.filter(({ id }) => !replayed.has(id));
        member.pending = [];
        await send(member, meanwhile);
      }
    } catch (error) {
      socket.emit('gap', { afterId });
      logger.warn(`Events after ${afterId} cannot be replayed: ${(error as Error).message}`);
      for (const event of member.pending ?? []) socket.emit(messageName(event.type), event);
    }
    member.pending = null;
  };
}
