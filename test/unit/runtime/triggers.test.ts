import { describe, expect, it } from '@jest/globals';
import type { CompiledAutomation, RunModel } from '../../../services/runtime/interpreter/index.ts';
import { automationAt, endpointMatches, eventMatches } from '../../../services/runtime/triggers.ts';

const automation = (
  slug: string,
  more: Partial<CompiledAutomation['triggers']> & { isDisabled?: boolean; isPrivate?: boolean } = {},
): CompiledAutomation => ({
  slug,
  isPrivate: more.isPrivate ?? false,
  isDisabled: more.isDisabled ?? false,
  triggers: { events: more.events ?? [], endpoint: more.endpoint ?? null, schedules: [] },
  secretPaths: [],
  redactPaths: { payload: [], output: [] },
  body: null,
});

function model(instance: string, automations: CompiledAutomation[], children: Record<string, RunModel> = {}): RunModel {
  return {
    instance,
    parentAppSlugs: [],
    workspace: {
      source: { id: 'w', revision: 1, automations: {}, imports: {} },
      problems: [],
      automations: new Map(automations.map((item) => [item.slug, item])),
    },
    config: {},
    secrets: {},
    secretTexts: [],
    computedGlobals: {},
    child: (slug) => children[slug],
  };
}

const slugs = (matches: { model: RunModel; automation: CompiledAutomation }[]) =>
  matches.map((match) => `${match.model.instance}/${match.automation.slug}`);

describe('events', () => {
  const mail = model('crm.mail', [automation('send', { events: ['sent'] })]);
  const crm = model('crm', [automation('hear', { events: ['sent', 'workspaces.apps.installed'] })], { mail });
  const root = model('', [automation('a', { events: ['crm.sent'] }), automation('off', { events: ['crm.sent'], isDisabled: true })], {
    crm,
  });

  it('reach the workspace and, with the prefix, its app instances at any depth', () => {
    expect(slugs(eventMatches(root, 'crm.sent'))).toEqual(['/a', 'crm/hear']);
    expect(slugs(eventMatches(root, 'crm.mail.sent'))).toEqual(['crm.mail/send']);
  });

  it('about an instance reach that instance too', () => {
    expect(slugs(eventMatches(root, 'workspaces.apps.installed', 'crm'))).toEqual(['crm/hear']);
    expect(slugs(eventMatches(root, 'workspaces.apps.installed'))).toEqual([]);
  });

  it('find the same automations however often they are looked up', () => {
    for (let n = 0; n < 5; n++) expect(eventMatches(root, 'crm.sent')).toHaveLength(2);
  });
});

describe('endpoints', () => {
  const app = model('pay', [automation('charge', { endpoint: 'charge', isPrivate: true })]);
  const root = model(
    '',
    [
      automation('v1/status', { endpoint: 'v1/status' }),
      automation('item', { endpoint: 'v1/items/:id' }),
      automation('files', { endpoint: 'v1/files/*path' }),
      automation('notes', { endpoint: 'v1/items/:id/notes/*rest' }),
      automation('mine', { endpoint: 'v1/items/mine' }),
      automation('literal', { endpoint: 'a:b' }),
    ],
    { pay: app },
  );
  const first = (endpoint: string) => {
    const [match] = endpointMatches(root, endpoint);
    return match && { slug: match.automation.slug, params: match.pathParams };
  };

  it('are found by several segments, encoded or not', () => {
    expect(first('v1/status')?.slug).toBe('v1/status');
    expect(first('v1%2Fstatus')?.slug).toBe('v1/status');
  });

  it('prefer exact names to patterns', () => {
    expect(first('v1/items/mine')).toEqual({ slug: 'mine', params: undefined });
  });

  it('capture segments and rests, decoded', () => {
    expect(first('v1/items/a%20b')).toEqual({ slug: 'item', params: { id: 'a b' } });
    expect(first('v1/files/x/y%2Fz')).toEqual({ slug: 'files', params: { path: 'x/y/z' } });
    expect(first('v1/items/7/notes/1/2')).toEqual({ slug: 'notes', params: { id: '7', rest: '1/2' } });
  });

  it('need every captured part', () => {
    expect(first('v1/files')).toBeUndefined();
    expect(first('v1/items/')).toBeUndefined();
  });

  it('take a colon inside a segment as it is', () => {
    expect(first('a:b')?.slug).toBe('literal');
  });

  it('of an app instance are not taken by a pattern of the workspace that matches their names too', () => {
    const sub = model('pay.sub', [automation('deep', { endpoint: 'deep' })]);
    const pay = model(
      'pay',
      [
        automation('charge', { endpoint: 'charge' }),
        automation('refund', { endpoint: 'refunds/:id' }),
        automation('all', { endpoint: ':any' }),
      ],
      { sub },
    );
    const any = model('', [automation('any', { endpoint: ':name' }), automation('rest', { endpoint: '*rest' })], { pay });
    const found = (endpoint: string) => slugs(endpointMatches(any, endpoint));

    expect(found('pay.charge')).toEqual(['pay/charge']);
    expect(found('pay%2Echarge')).toEqual(['pay/charge']);
    expect(found('pay%2esub.deep')).toEqual(['pay.sub/deep']);
    expect(found('pay.other')).toEqual(['/any']);
    expect(found('pay.refunds/1')).toEqual(['/rest']);
    expect(found('charge')).toEqual(['/any']);
  });

  it('of an app instance are reached by its patterns too', () => {
    const pay = model('pay', [automation('refund', { endpoint: 'refunds/:id' })]);
    const [match] = endpointMatches(model('', [], { pay }), 'pay.refunds/a.b');

    expect(match).toMatchObject({ value: 'pay.refunds/:id', pathParams: { id: 'a.b' } });
    expect(slugs(endpointMatches(model('', [], { pay }), 'pay%2Erefunds%2F1'))).toEqual(['pay/refund']);
  });

  it('of an app instance are reached by its name, private ones too', () => {
    expect(first('pay.charge')?.slug).toBe('charge');
    expect(first('other.charge')).toBeUndefined();
  });
});

it('a full slug names an automation of an instance', () => {
  const root = model('', [], { pay: model('pay', [automation('charge'), automation('off', { isDisabled: true })]) });

  expect(automationAt(root, 'pay.charge')?.value).toBe('pay.charge');
  expect(automationAt(root, 'pay.off')).toBeNull();
  expect(automationAt(root, 'charge')).toBeNull();
});
