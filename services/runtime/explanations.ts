/**
 * explanations — why an event did or did not start automations: what the node that handled it decided, remembered for a while; later, what can
 * still be told from the event itself, the present model and the records of its runs.
 */

import { isFault } from '../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { lru } from '../../mixins/shared/lru.ts';
import type { RunModel } from './interpreter/index.ts';
import { childrenOf, type LoadedWorkspace } from './models.ts';
import type { RunRecord, RunStore } from './runs.ts';
import { eventRequest, startsOf } from './starts.ts';
import { prefixed } from './triggers.ts';

export interface Consideration {
  automation: string;
  /** `refused`: no right · `unknown`: it left no record, and no node remembers. */
  decision: 'started' | 'duplicate' | 'disabled' | 'refused' | 'cancelled' | 'failed' | 'unknown';
  reason?: string;
  runId?: string;
}

/** What was decided about an event on this node. */
export interface Explanation {
  eventId: string;
  workspaceId: string;
  type: string;
  at: string;
  /** Why nothing was considered at all. */
  reason?:
    | 'no automation listens to it'
    | 'a wait asked for it alone'
    | 'workspace missing or suspended'
    | 'too many successive calls'
    | 'its run was cancelled';
  considered: Consideration[];
}

export function createExplanations(max = 5_000) {
  const known = lru<string, Explanation>({ max });
  return {
    add(event: PrismeEvent, rest: Partial<Explanation>): Explanation {
      const made: Explanation = {
        eventId: event.id,
        workspaceId: event.source.workspaceId as string,
        type: event.type,
        at: new Date().toISOString(),
        considered: [],
        ...rest,
      };
      known.set(event.id, made);
      return made;
    },
    find: (eventId: string): Explanation | null => known.get(eventId) ?? null,
  };
}

/** How a run that failed is told. */
export const failureOf = (error: Error): Pick<Consideration, 'decision' | 'reason'> => ({
  decision: isFault(error, 'ForbiddenError') ? 'refused' : 'failed',
  reason: error.message,
});

/** Disabled automations that would listen to an event: the most common reason why nothing happened. */
export function disabledListeners(model: RunModel, type: string): Consideration[] {
  const found: Consideration[] = [];
  for (const { slug, isDisabled, triggers } of model.workspace.automations.values())
    if (isDisabled && triggers.events.some((event) => prefixed(model.instance, event) === type))
      found.push({ automation: prefixed(model.instance, slug), decision: 'disabled', reason: 'the automation is disabled' });
  for (const slug of childrenOf(model)) {
    const child = model.child(slug);
    if (child) found.push(...disabledListeners(child, type));
  }
  return found;
}

const ofRecord = ({ state, error, id }: RunRecord): Omit<Consideration, 'automation'> => {
  if (state === 'failed' || state === 'dead')
    return { decision: error?.error === 'ForbiddenError' ? 'refused' : 'failed', reason: error?.message ?? state, runId: id };
  if (state === 'cancelled') return { decision: 'cancelled', runId: id };
  return { decision: 'started', reason: `the run is ${state}`, runId: id };
};

/**
 * A node remembers how it began a run. One that left memory since (it waited, its node died) ended somewhere else, or was cancelled while it waited:
 * its record tells.
 */
export async function withOutcomes(found: Explanation, store: RunStore): Promise<Explanation> {
  const ids = found.considered.flatMap(({ runId }) => runId ?? []);
  const records = new Map((await store.findMany(found.workspaceId, ids)).flatMap((record) => (record ? [[record.id, record]] : [])));
  const considered = found.considered.map((entry): Consideration => {
    const record = records.get(entry.runId as string);
    if (!record || (entry.decision !== 'started' && entry.decision !== 'duplicate')) return entry;
    const told = ofRecord(record);
    return told.decision === 'started' && entry.decision === 'duplicate' ? entry : { automation: entry.automation, ...told };
  });
  return { ...found, considered };
}

/** What can be told of an event that no node remembers. `null`: the workspace is gone or suspended. */
export async function explainPast(event: PrismeEvent, workspace: LoadedWorkspace | null, store: RunStore): Promise<Explanation> {
  if (!workspace)
    return {
      eventId: event.id,
      workspaceId: String(event.source.workspaceId),
      type: event.type,
      at: event.createdAt,
      reason: 'workspace missing or suspended',
      considered: [],
    };
  const requests = startsOf(workspace, event).map(({ match, trigger }) => eventRequest(match, event, trigger, {}));
  const records = await store.findMany(
    workspace.id,
    requests.map(({ id }) => id),
  );
  const unknown = {
    decision: 'unknown',
    reason: 'it listens to this event, and left no record: a run that changes nothing leaves none',
  } as const;
  return {
    eventId: event.id,
    workspaceId: workspace.id,
    type: event.type,
    at: event.createdAt,
    ...(requests.length === 0 ? { reason: 'no automation listens to it' as const } : {}),
    considered: requests.map(({ automation }, i) => ({ automation, ...(records[i] ? ofRecord(records[i]) : unknown) })),
  };
}
