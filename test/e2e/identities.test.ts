/** For whom runs act, over REST: who another workspace brings, how deep runs call each other, and what an address that was proven opens. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, client, expectOk } from '../support/client.ts';
import { confirmedUser } from '../support/confirmed-user.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, startPlatform } from '../support/platform.ts';

let platform: Platform;
let mails: string;
let mallory: Client;
let victim: Client;

beforeAll(async () => {
  mails = mkdtempSync(join(tmpdir(), 'prisme-mails-'));
  platform = await startPlatform({ mode: 'embedded', env: { ACCOUNT_VALIDATION_METHOD: 'email', SMTP_URL: `file:${mails}` } });
  mallory = await confirmedUser(platform.url, mails, 'mallory@example.org');
  victim = await confirmedUser(platform.url, mails, 'victim@example.org');
}, 120_000);
afterAll(async () => {
  await platform?.stop();
  rmSync(mails, { recursive: true, force: true });
}, 60_000);

async function workspaceOf(owner: Client, automations: Record<string, object>, name = 'Identities'): Promise<string> {
  const { id } = await expectOk(owner.post('/workspaces', { name }));
  for (const [slug, automation] of Object.entries(automations)) await automate(owner, id, slug, automation);
  return id;
}
const automate = (owner: Client, id: string, slug: string, automation: object) =>
  expectOk(owner.post(`/workspaces/${id}/automations`, { slug, name: slug, do: [], when: { endpoint: true }, ...automation }));
const hook = (who: Client, id: string, slug: string, body: object = {}, headers: Record<string, string> = {}) =>
  who.post(`/workspaces/${id}/webhooks/${slug}`, body, headers);
/** An instruction that calls the platform. */
const call = (path: string, output: string, more: object = {}) => ({
  fetch: { url: `{{global.apiUrl}}/workspaces/${path}`, outputMode: 'detailed_response', output, ...more },
});
const post = (body: object, headers: object = {}) => ({ method: 'POST', body, headers });
const events = (...types: string[]) => post({ events: types.map((type) => ({ type, payload: {} })) });
/** A count that grows by itself, once it has stood still for a while. */
async function settled(count: () => Promise<number>): Promise<number> {
  let last = -1;
  for (let calm = 0; calm < 4; ) {
    await new Promise((done) => setTimeout(done, 300));
    const now = await count();
    calm = now === last && now > 0 ? calm + 1 : 0;
    last = now;
  }
  return last;
}
const typesOf = async (owner: Client, id: string) =>
  (await expectOk(owner.get(`/workspaces/${id}/events?limit=200`))).result.events.map(({ type }: { type: string }) => type);

describe('46: a workspace that calls another one in the name of its visitor', () => {
  const OWN = '{{global.workspaceId}}';
  /** What a run finds out about what it may do. */
  const PROBE = {
    do: [
      call(`${OWN}/security`, 'security'),
      call(`${OWN}/webhooks/admin`, 'nested', post({})),
      call(`${OWN}/webhooks/who`, 'who', post({})),
      { auth: { output: 'mine' } },
      { run: { module: 'secrets', function: 'get', parameters: { name: 'kept' }, output: 'kept' } },
      { run: { module: 'secrets', function: 'set', parameters: { name: 'kept', scope: 'user', value: 'x' }, output: 'ownSecret' } },
      { try: { do: [{ admin: { output: 'called' } }], catch: [{ set: { name: 'called', value: '{{$error.error}}' } }] } },
    ],
    output: {
      user: '{{user.id}}',
      role: '{{user.role}}',
      security: '{{security.status}}',
      nested: '{{nested.status}}',
      who: '{{who.body.user}}',
      secret: '{{kept.error}}',
      ownSecret: '{{ownSecret.error}}',
      called: '{{called}}',
      jwt: '{{mine.jwt}}',
    },
  };
  let theirs: string;
  let own: string;
  const guarded = { authorizations: { action: 'admin' } };

  beforeAll(async () => {
    theirs = await workspaceOf(victim, {
      admin: { ...guarded, when: { endpoint: true, events: ['do-admin'] }, do: [{ emit: { event: 'admin.ran' } }], output: { ran: true } },
      hears: { ...guarded, when: { events: ['runtime.interactions.triggered'] }, do: [{ emit: { event: 'admin.heard' } }] },
      hooked: { ...guarded, when: { events: ['runtime.webhooks.triggered'] }, do: [{ emit: { event: 'admin.hooked' } }] },
      probe: PROBE,
      who: { output: { user: '{{user.id}}', role: '{{user.role}}' } },
      keep: { do: [{ run: { module: 'secrets', function: 'set', parameters: { name: 'kept', value: 'x' } } }], output: 1 },
      relays: { do: [{ emit: { event: 'do-admin' } }], output: 1 },
      marks: { when: { events: ['mark'] }, do: [{ emit: { event: 'marked' } }] },
      itself: {
        do: [
          { auth: { workspace: true, output: 'pass' } },
          call(`${OWN}/config`, 'config', {
            method: 'PATCH',
            body: { value: { a: 1 } },
            headers: { authorization: 'Bearer {{pass.jwt}}' },
          }),
        ],
        output: '{{config.status}}',
      },
    });
    await expectOk(hook(victim, theirs, 'keep'));
    own = await workspaceOf(mallory, {
      trap: {
        do: [
          call(`${theirs}/webhooks/admin`, 'admin', post({})),
          call(`${theirs}/webhooks/admin`, 'repeated', post({}, { 'idempotency-key': 'guessed' })),
          call(`${theirs}/webhooks/probe`, 'probe', post({})),
          call(`${theirs}/webhooks/relays`, 'relays', post({})),
          call(`${theirs}/webhooks/itself`, 'itself', post({})),
          call(`${theirs}/events`, 'events', events('do-admin')),
          call(`${theirs}/test/admin`, 'test', post({ payload: {} })),
          call(`${theirs}/topics/team/members?userIds=${victim.user?.id}`, 'left', { method: 'DELETE' }),
        ],
        output: {
          admin: '{{admin.status}}',
          repeated: '{{repeated.status}}',
          probe: '{{probe.body}}',
          relays: '{{relays.status}}',
          itself: '{{itself.body}}',
          events: '{{events.status}}',
          test: '{{test.status}}',
          left: '{{left.status}}',
        },
      },
    });
  });

  it('has nothing of his rights there: in the run, in what it calls, emits, keeps and asks with its token', async () => {
    const ran = async () => (await typesOf(victim, theirs)).filter((type: string) => type.startsWith('admin.')).length;
    // His own answer, under a key another workspace may guess.
    expect((await hook(victim, theirs, 'admin', {}, { 'idempotency-key': 'guessed' })).status).toBe(200);
    await expectOk(victim.post(`/workspaces/${theirs}/topics/team/members`, { userIds: [victim.user?.id] }));
    await eventually(async () => expect(await ran()).toBeGreaterThanOrEqual(3));
    const before = await settled(ran);

    const answer = await expectOk(hook(victim, own, 'trap'));

    const { jwt, ...probe } = answer.probe;
    expect({ ...answer, probe }).toEqual({
      admin: 403,
      repeated: 403,
      // Who visits is known, also to what is called next; no more than that.
      probe: {
        user: victim.user?.id,
        security: 403,
        nested: 403,
        who: victim.user?.id,
        secret: 'not_found',
        ownSecret: 'user_required',
        called: 'ForbiddenError',
      },
      relays: 200,
      // A workspace acts in its own name whoever calls it.
      itself: 200,
      // The workspace lets everybody tell events: it is told, and the automation it starts is refused.
      events: 200,
      test: 403,
      left: 403,
    });
    const run = client(platform.url, jwt);
    for (const path of ['', '/security', '/events', '/security/secrets'])
      expect([path, (await run.get(`/workspaces/${theirs}${path}`)).body?.result?.events?.length ?? 'refused']).toEqual([
        path,
        path === '/events' ? 0 : 'refused',
      ]);
    expect((await hook(run, theirs, 'admin')).status).toBe(403);
    const heard: string[] = [];
    const socket = await run.events(theirs, undefined, { hear: (type) => void heard.push(type) });
    try {
      const sent = await new Promise<any>((done) => socket.emit('event', { type: 'do-admin', payload: {} }, done));
      expect(sent.ok).toBe(true);
      await expectOk(mallory.post(`/workspaces/${theirs}/events`, { events: [{ type: 'mark', payload: {} }] }));
      await eventually(async () => expect(await typesOf(victim, theirs)).toContain('marked'));
      expect(heard).toEqual([]);
    } finally {
      socket.close();
    }
    expect(await settled(ran)).toBe(before);
  });

  it("starts there what is open to everybody, with nobody's rights", async () => {
    const open = await workspaceOf(victim, {
      admin: { ...guarded, when: { events: ['do-admin'] }, do: [{ emit: { event: 'admin.ran' } }] },
      open: {
        when: { events: ['do-admin'] },
        do: [{ emit: { event: 'open.ran', payload: { user: '{{user.id}}', role: '{{user.role}}' } } }],
      },
    });
    await automate(mallory, own, 'tells', { do: [call(`${open}/events`, 'told', events('do-admin'))], output: { s: '{{told.status}}' } });

    expect(await expectOk(hook(victim, own, 'tells'))).toEqual({ s: 200 });

    await eventually(async () => expect(await typesOf(victim, open)).toContain('open.ran'));
    const found = (await expectOk(victim.get(`/workspaces/${open}/events?limit=200`))).result.events;
    expect(found.find(({ type }: any) => type === 'open.ran').payload).toEqual({ user: victim.user?.id });
    expect(found.find(({ type }: any) => type === 'do-admin').source).toMatchObject({ isPosed: true });
    expect(found.map(({ type }: any) => type)).not.toContain('admin.ran');
  });

  it('while within his workspace everything goes on as him', async () => {
    const answer = await expectOk(hook(victim, theirs, 'probe'));
    expect(answer).toMatchObject({ user: victim.user?.id, role: 'owner', security: 200, nested: 200, called: { ran: true } });
    expect((await client(platform.url, answer.jwt).get(`/workspaces/${theirs}/security`)).status).toBe(200);
    const tells = await workspaceOf(victim, {
      admin: { ...guarded, when: { events: ['do-admin'] }, do: [{ emit: { event: 'admin.ran' } }] },
      tells: { do: [call(`${OWN}/events`, 'told', events('do-admin'))], output: { s: '{{told.status}}' } },
    });
    expect(await expectOk(hook(victim, tells, 'tells'))).toEqual({ s: 200 });
    await eventually(async () => expect(await typesOf(victim, tells)).toContain('admin.ran'));
  });

  it('may do what a key of the other workspace allows', async () => {
    const rules = [{ action: ['read'], subject: 'events' }];
    const { apiKey } = await expectOk(victim.post(`/workspaces/${theirs}/security/apikeys`, { name: 'reader', rules }));
    await automate(mallory, own, 'keyed', {
      do: [call(`${theirs}/events`, 'read', { headers: { 'x-prismeai-api-key': apiKey } })],
      output: { n: '{{read.body.result.events.length}}' },
    });
    expect((await expectOk(hook(mallory, own, 'keyed'))).n).toBeGreaterThan(0);
  });
});

describe('automations that cause themselves come to an end', () => {
  const OWN = '{{global.workspaceId}}';
  /** Counts, and goes on far beyond the limit. */
  const counted = (...then: object[]) => [
    { set: { name: 'global.n', value: '{% {{global.n}} + 1 %}' } },
    { conditions: { '{{global.n}} < 60': then } },
  ];
  const LIMIT = 20;
  const asItself = (path: string, body: object) => [
    { auth: { workspace: true, output: 'pass' } },
    call(`${OWN}${path}`, 'r', { method: 'PATCH', headers: { authorization: 'Bearer {{pass.jwt}}' }, body }),
  ];
  const async = { prefer: 'respond-async' };
  const n = '{{global.n}}';

  /** How often it ran, once it rests. Looked up in the history: another call would be one more thing to tell of. */
  const ran = (id: string, slug = 'a'): Promise<number> =>
    settled(async () => {
      const { events: found } = (await expectOk(victim.get(`/workspaces/${id}/events?type=runtime.automations.executed&limit=500`))).result;
      return found.filter(({ payload }: any) => payload.slug === slug).length;
    });

  it.each<[string, Record<string, object>, string]>([
    [
      'told through the API',
      { a: { when: { endpoint: true, events: ['tick'] }, do: counted(call(`${OWN}/events`, 'r', events('tick'))) } },
      'a',
    ],
    [
      'told of calls',
      {
        hello: { output: 1 },
        a: { when: { events: ['runtime.interactions.triggered'] }, do: counted(call(`${OWN}/webhooks/hello`, 'r', post({}))) },
      },
      'hello',
    ],
    [
      'which change the configuration',
      { a: { when: { endpoint: true, events: ['workspaces.configured'] }, do: counted(...asItself('/config', { value: { n } })) } },
      'a',
    ],
    [
      'which change an automation',
      {
        hello: { output: 1 },
        a: {
          when: { endpoint: true, events: ['workspaces.automations.updated'] },
          do: counted(...asItself('/automations/hello', { description: `n${n}` })),
        },
      },
      'a',
    ],
    [
      'which change schedules',
      {
        hello: { output: 1 },
        a: {
          when: { endpoint: true, events: ['runtime.schedules.created'] },
          do: counted(...asItself('/automations/hello', { when: { schedules: [`${n} 3 * * *`] } })),
        },
      },
      'a',
    ],
    [
      'which call themselves as nobody',
      { a: { do: counted(call(`${OWN}/webhooks/a`, 'r', post({}, { ...async, authorization: 'none' }))) } },
      'a',
    ],
    [
      'which call themselves with an old token of their workspace',
      {
        a: {
          do: counted(
            {
              conditions: {
                '!{{global.pass}}': [
                  { auth: { workspace: true, output: 'pass' } },
                  { set: { name: 'global.pass', value: '{{pass.jwt}}' } },
                ],
              },
            },
            call(`${OWN}/webhooks/a`, 'r', post({}, { ...async, authorization: 'Bearer {{global.pass}}' })),
          ),
        },
      },
      'a',
    ],
  ])(
    '%s',
    async (_name, automations, first) => {
      const id = await workspaceOf(victim, {});
      for (const [slug, automation] of Object.entries(automations)) await automate(victim, id, slug, automation);
      await expectOk(hook(victim, id, first));
      const times = await ran(id);
      expect(times).toBeGreaterThanOrEqual(LIMIT / 2);
      expect(times).toBeLessThanOrEqual(LIMIT + 2);
      await eventually(async () => {
        const errors = (await expectOk(victim.get(`/workspaces/${id}/events?limit=200`))).result.events.filter(
          ({ type }: any) => type === 'error',
        );
        expect(errors.map(({ payload }: any) => payload.error)).toContain('TooManyCallError');
      });
    },
    30_000,
  );

  it('of an app that configures itself when it is configured', async () => {
    const app = await workspaceOf(victim, {});
    await automate(victim, app, 'configures', {
      when: { events: ['workspaces.apps.configured', 'workspaces.apps.installed'] },
      do: counted({ set: { name: 'config.n', value: n } }),
    });
    await expectOk(victim.post('/apps', { workspaceId: app, slug: 'configures-itself', description: 'x' }));
    const id = await workspaceOf(victim, {});
    await expectOk(victim.post(`/workspaces/${id}/apps`, { appSlug: 'configures-itself', slug: 'I' }));
    const times = await ran(id, 'configures');
    expect(times).toBeGreaterThanOrEqual(LIMIT);
    expect(times).toBeLessThanOrEqual(LIMIT + 2);
  }, 30_000);

  it('and nobody outside makes a run end early', async () => {
    const id = await workspaceOf(victim, { deep: { output: { depth: '{{run.depth}}' } } });
    for (const header of ['20', 'e30.e30.', victim.token as string])
      expect(await expectOk(hook(victim, id, 'deep', {}, { 'x-prismeai-run': header }))).toEqual({ depth: 1 });
  });
});

describe('a role for proven addresses', () => {
  const bound = { staff: { auth: { prismeai: { conditions: { 'authData.email': { $regex: '@corp\\.example$' } } } } } };
  const guarded = {
    authorizations: { action: 'staff' },
    when: { endpoint: true, events: ['staff'] },
    do: [{ emit: { event: 'staff.ran', payload: { by: '{{run.trigger.type}}' } } }],
    output: { role: '{{user.role}}' },
  };
  let id: string;
  let bob: Client;
  beforeAll(async () => {
    bob = await confirmedUser(platform.url, mails, 'bob@corp.example');
    id = await workspaceOf(victim, {
      guarded,
      calls: { do: [{ guarded: { output: 'r' } }], output: '{{r}}' },
      relays: { do: [{ emit: { event: 'staff' } }], output: 1 },
      returns: {
        do: [
          { set: { name: 'own', value: '{{session.id}}' } },
          { set: { name: 'session.id', value: 'somebody' } },
          { set: { name: 'session.id', value: '{{own}}' } },
          { guarded: { output: 'r' } },
        ],
        output: '{{r}}',
      },
    });
    const rules = [{ role: 'staff', action: ['execute'], subject: 'automations', conditions: { 'authorizations.action': 'staff' } }];
    await expectOk(
      victim.request('PUT', `/workspaces/${id}/security`, {
        authorizations: { roles: { editor: {}, ...bound }, rules: [...rules, { action: ['create'], subject: 'events' }] },
      }),
    );
  });
  const runs = async () =>
    (await expectOk(victim.get(`/workspaces/${id}/events?type=staff.ran`))).result.events.filter(
      ({ payload }: any) => payload.by === 'event',
    ).length;

  it.each(['guarded', 'calls', 'returns'])('runs what it may by a webhook: %s', async (slug) => {
    expect(await hook(bob, id, slug)).toMatchObject({ status: 200, body: { role: 'staff' } });
    expect((await hook(mallory, id, slug)).status).toBe(403);
  });

  it('runs what it may by events, told by himself or by a run of his', async () => {
    await expectOk(mallory.post(`/workspaces/${id}/events`, { events: [{ type: 'staff', payload: {} }] }));
    await expectOk(bob.post(`/workspaces/${id}/events`, { events: [{ type: 'staff', payload: {} }] }));
    await eventually(async () => expect(await runs()).toBe(1));
    await expectOk(hook(mallory, id, 'relays'));
    await expectOk(hook(bob, id, 'relays'));
    await eventually(async () => expect(await runs()).toBe(2));
    expect(await settled(runs)).toBe(2);
  });
});
