/**
 * changes — events after which the rights in their workspace are judged anew, before anything that follows them is delivered live.
 * Only the platform's own word counts: anybody may emit an event that is merely called so.
 */
import { isNative, type PrismeEvent } from '../shared/event.ts';

const TYPES = new Set([
  'workspaces.security.updated',
  'workspaces.created',
  'workspaces.deleted',
  'workspaces.imported',
  'workspaces.versions.rollback',
]);

export const changesRights = (event: PrismeEvent): boolean =>
  (TYPES.has(event.type) || event.type.startsWith('workspaces.permissions.') || event.type.startsWith('apikeys.')) && isNative(event);

/** Somebody has joined or left a user topic. */
export const changesTopics = (event: PrismeEvent): boolean => event.type.startsWith('events.userTopics.') && isNative(event);
