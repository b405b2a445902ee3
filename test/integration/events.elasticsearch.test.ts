/** The history on Elasticsearch (the stand-in): what workspaces declare of their events reaches the store, and nothing they declare keeps an event out. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { type ElasticStandIn, startElasticStandIn } from '../support/elasticsearch.ts';
import { type EventsNode, startEvents } from '../support/events-node.ts';
import { eventually } from '../support/eventually.ts';

let standIn: ElasticStandIn;
let node: EventsNode;
beforeAll(async () => {
  standIn = await startElasticStandIn();
  node = await startEvents({ datalakeUrl: standIn.url });
});
afterAll(async () => {
  await node.stop();
  await standIn.stop();
});

const emit = (workspaceId: string, payload: object) =>
  node.as({ userId: 'owner' })<PrismeEvent[]>('events.emit', { workspaceId, body: { events: [{ type: 'llm.used', payload }] } });
const find = async (workspaceId: string) =>
  (
    await node.as({ userId: 'owner' })<{ result: { events: (PrismeEvent & { aggPayload?: unknown })[] } }>('events.find', {
      workspaceId,
      query: { types: 'llm.used' },
    })
  ).result.events;

describe('events.mapping of a workspace', () => {
  it('is passed to the store as it is, with the fields of events.types', async () => {
    const properties = { aggPayload: { properties: { tokens: { type: 'long' }, cost: { type: 'scaled_float', scaling_factor: 100 } } } };
    node.sections.set('w1', { types: { 'llm.used': { schema: { tokens: { type: 'number' } } } }, mapping: { properties } });
    const [first] = await emit('w1', { tokens: '7' });

    await eventually(async () => expect(await find('w1')).toMatchObject([{ id: first?.id, aggPayload: { tokens: 7 } }]));
    const [own] = [...standIn.templates.values()].filter(({ _meta: meta }) => meta?.workspaceId === 'w1');
    expect(own?.template.mappings.properties.aggPayload).toMatchObject(properties.aggPayload);
    await emit('w1', { tokens: 8 });
    await eventually(async () => expect(await find('w1')).toHaveLength(2));
    expect(standIn.indices()).toContainEqual(expect.stringContaining('-events-own-'));
  });

  it.each([
    ['that the store refuses', { properties: { aggPayload: { type: 'unheard_of' } } }],
    ['that is no mapping', 'rubbish'],
  ])('%s keeps no event out', async (name, mapping) => {
    const workspaceId = name.includes('refuses') ? 'w2' : 'w3';
    node.sections.set(workspaceId, { mapping });
    const [event] = await emit(workspaceId, { n: 1 });

    await eventually(async () => expect(await find(workspaceId)).toMatchObject([{ id: event?.id }]));
    expect([...standIn.templates.values()].some(({ _meta: meta }) => meta?.workspaceId === workspaceId)).toBe(false);
  });
});
