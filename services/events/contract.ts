/**
 * events — what other services may ask. Types only.
 *
 * Published actions (REST, see services/gateway/routes/events.ts): `events.emit`, `events.find`, `events.search`, `events.searchAll`,
 * `events.usage`, `events.trace`, `events.export`, `events.aggregate`. For services: the ones below.
 */

import type { EventOptions, EventTarget, PrismeEvent } from '../../mixins/shared/event.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';

/** `events.emit`: POST /v2/workspaces/:workspaceId/events and the socket message `event`. Answers PrismeEvent[] once durable. */
export interface EmitParams {
  workspaceId: string;
  body: {
    events: { type: string; payload?: JsonObject; target?: EventTarget; options?: EventOptions; source?: { serviceTopic?: string } }[];
  };
  /** Of the request: whoever repeats it within a day gets the events of the first one, and nothing is sent twice. */
  idempotencyKey?: string;
  /** Set by the gateway's sockets only. */
  socketId?: string;
}

/** `events.topics.of` { workspaceId, userId } → names of the user topics joined. (identity: system) */
export type TopicsAnswer = string[];

/** `events.replay` { workspaceId, afterId, limit } → events after the id, oldest first, or null when it is not known any more. (identity: system) */
export type ReplayAnswer = PrismeEvent[] | null;
