import { describe, expect, it } from '@jest/globals';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import {
  type Consideration,
  disabledListeners,
  type Explanation,
  explainPast,
  withOutcomes,
} from '../../../services/runtime/explanations.ts';
import type { LoadedModel, LoadedWorkspace } from '../../../services/runtime/models.ts';
import type { RunRecord, RunStore } from '../../../services/runtime/runs.ts';
import { startsOf } from '../../../services/runtime/starts.ts';

function model(
  instance: string,
  listeners: Record<string, { events: string[]; isDisabled?: boolean }>,
  children: Record<string, LoadedModel> = {},
) {
  const automations = Object.entries(listeners).map(([slug, { events, isDisabled = false }]) => [
    slug,
    { slug, isDisabled, isPrivate: false, triggers: { events, endpoint: null, schedules: [] } },
  ]);
  const map = new Map(Object.entries(children));
  return {
    instance,
    workspace: { automations: new Map(automations as never) },
    children: map,
    child: (slug: string) => map.get(slug),
  } as never as LoadedModel;
}

const mail = model('mail', { send: { events: ['asked'], isDisabled: true }, life: { events: ['workspaces.apps.uninstalled'] } });
const root = model('', { done: { events: ['known'] }, failing: { events: ['known'] }, silent: { events: ['known'] } }, { mail });
const workspace = { id: 'w', root } as LoadedWorkspace;
const event = (type: string, payload = {}): PrismeEvent =>
  ({
    id: '01',
    type,
    payload,
    source: { workspaceId: 'w', correlationId: 'c', serviceTopic: type },
    createdAt: '2026-01-01T00:00:00.000Z',
  }) as never;

/** Answers the records of runs by automation: their ids are asked for in the order in which automations listen. */
const store = (records: Record<string, Partial<RunRecord>>) =>
  ({ findMany: async (_: string, ids: string[]) => ids.map((id, i) => at(records, i, id)) }) as never as RunStore;
const at = (records: Record<string, Partial<RunRecord>>, i: number, id: string) => {
  const found = records[['done', 'failing', 'silent'][i] as string];
  return found ? { id, ...found } : null;
};

describe('an event that no node remembers', () => {
  it('is explained by the records of its runs, as far as there are any', async () => {
    const { considered } = await explainPast(
      event('known'),
      workspace,
      store({ done: { state: 'done' }, failing: { state: 'failed', error: { error: 'ForbiddenError', message: 'not yours' } } }),
    );

    expect(considered).toMatchObject([
      { automation: 'done', decision: 'started', reason: 'the run is done' },
      { automation: 'failing', decision: 'refused', reason: 'not yours' },
      { automation: 'silent', decision: 'unknown' },
    ]);
  });

  it('tells that nobody listens, also to names every object has', async () => {
    for (const type of ['nobody', 'constructor', 'toString', '__proto__'])
      expect(await explainPast(event(type), workspace, store({}))).toMatchObject({ reason: 'no automation listens to it', considered: [] });
  });
});

it('what a node remembers is told with how its runs ended since', async () => {
  const entry = (automation: string, decision: Consideration['decision'], runId?: string): Consideration => ({
    automation,
    decision,
    ...(runId ? { runId } : {}),
  });
  const remembered: Explanation = {
    eventId: '01',
    workspaceId: 'w',
    type: 'known',
    at: '',
    considered: [
      entry('a', 'started', 'failed'),
      entry('b', 'duplicate', 'cancelled'),
      entry('c', 'duplicate', 'waiting'),
      entry('d', 'started', 'unknown'),
      entry('e', 'started', 'waiting'),
      entry('f', 'refused', 'failed'),
    ],
  };
  const store = {
    findMany: async (_: string, ids: string[]) =>
      ids.map((id) =>
        id === 'unknown' ? null : { id, state: id, ...(id === 'failed' ? { error: { error: 'X', message: 'broke' } } : {}) },
      ),
  } as never as RunStore;

  const { considered } = await withOutcomes(remembered, store);

  expect(considered.map(({ decision, reason }) => [decision, reason])).toEqual([
    ['failed', 'broke'],
    ['cancelled', undefined],
    ['duplicate', undefined],
    ['started', undefined],
    ['started', 'the run is waiting'],
    ['refused', undefined],
  ]);
});

it('of a workspace that is gone or suspended an event is explained by that', async () => {
  expect(await explainPast(event('known'), null, store({}))).toMatchObject({
    eventId: '01',
    reason: 'workspace missing or suspended',
    considered: [],
  });
});

it('disabled automations are named, those of instances by their prefix', () => {
  expect(disabledListeners(root, 'mail.asked')).toMatchObject([{ automation: 'mail.send', decision: 'disabled' }]);
  expect(disabledListeners(root, 'asked')).toEqual([]);
});

it('the end of a workspace is the end of its instances', () => {
  expect(startsOf(workspace, event('workspaces.deleted')).map(({ trigger }) => trigger.value)).toEqual([
    'mail.workspaces.apps.uninstalled',
  ]);
});
