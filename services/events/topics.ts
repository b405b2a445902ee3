/** topics — who has joined which user topic: sets in the cache, without a time limit. */
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';

export interface Membership {
  workspaceId: string;
  topic: string;
  userIds: string[];
}

const topicsKey = (workspaceId: string, userId: string) => `{events:${workspaceId}}:user:${userId}:topics`;
const membersKey = (workspaceId: string, topic: string) => `{events:${workspaceId}}:topic:${topic}:users`;

/** Topics a user has joined in a workspace. */
export const topicsOf = (store: CacheDriver, workspaceId: string, userId: string): Promise<string[]> =>
  store.members(topicsKey(workspaceId, userId));

export const membersOf = (store: CacheDriver, workspaceId: string, topic: string): Promise<string[]> =>
  store.members(membersKey(workspaceId, topic));

export async function joinTopic(store: CacheDriver, { workspaceId, topic, userIds }: Membership): Promise<void> {
  for (const userId of userIds) await store.addMembers(topicsKey(workspaceId, userId), [topic]);
  if (userIds.length > 0) await store.addMembers(membersKey(workspaceId, topic), userIds);
}

export async function leaveTopic(store: CacheDriver, { workspaceId, topic, userIds }: Membership): Promise<void> {
  for (const userId of userIds) await store.removeMembers(topicsKey(workspaceId, userId), [topic]);
  if (userIds.length > 0) await store.removeMembers(membersKey(workspaceId, topic), userIds);
}

const texts = (value: unknown): string[] =>
  (Array.isArray(value) ? value : value === undefined ? [] : [value]).filter(
    (item): item is string => typeof item === 'string' && item !== '',
  );

/** Users a topic event names: `userIds`, `user: { id }`. */
export function membershipOf({ source, payload }: PrismeEvent): Membership | null {
  const user = isPlainObject(payload.user) ? payload.user.id : undefined;
  const userIds = [...texts(payload.userIds), ...texts(user)];
  return source.workspaceId && typeof payload.topic === 'string' && payload.topic
    ? { workspaceId: source.workspaceId, topic: payload.topic, userIds }
    : null;
}
