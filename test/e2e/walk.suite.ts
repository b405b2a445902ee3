/** The main walk of the product, told once and run on every way to deploy it. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { unzipSync } from 'fflate';
import { type Client, client, expectOk, newUser, signIn } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { ADMIN, type Platform, type PlatformOptions, startPlatform } from '../support/platform.ts';

const GREET = {
  slug: 'greet',
  name: 'Greet',
  when: { endpoint: true },
  do: [
    { set: { name: 'session.greetings[]', value: '{{body.name}}' } },
    { emit: { event: 'visitor.greeted', payload: { name: '{{body.name}}', rank: '{% {{body.rank}} + 1 %}' }, output: 'sent' } },
  ],
  output: { message: 'Hello {{body.name}}', event: '{{sent.id}}' },
};

const COUNT = {
  slug: 'count-visitor',
  name: 'Count visitor',
  when: { events: ['visitor.greeted'] },
  do: [
    { set: { name: 'global.visits', value: '{% {{global.visits}} + 1 %}' } },
    { set: { name: 'global.runs.{{payload.name}}[]', value: '{{id}}' } },
    { emit: { event: 'visitor.counted', payload: { name: '{{payload.name}}', depth: '{{run.depth}}' } } },
  ],
};

const REPORT = {
  slug: 'report',
  name: 'Report',
  when: { endpoint: 'v1/report/:kind' },
  do: [],
  output: { visits: '{{global.visits}}', runs: '{{global.runs}}', kind: '{{pathParams.kind}}' },
};

const INIT = { slug: 'init', name: 'Init', when: { endpoint: true }, do: [{ set: { name: 'global.visits', value: 0 } }], output: '' };

export function walkSuite(title: string, options: PlatformOptions): void {
  describe(title, () => {
    let platform: Platform;
    let owner: Client;
    let workspaceId: string;

    beforeAll(async () => {
      platform = await startPlatform(options);
      owner = await newUser(platform.url, 'owner');
      const workspace = await expectOk(owner.post('/workspaces', { name: 'Visitors' }));
      workspaceId = workspace.id;
      for (const automation of [GREET, COUNT, REPORT, INIT])
        await expectOk(owner.post(`/workspaces/${workspaceId}/automations`, automation));
      await eventually(async () => (await owner.post(`/workspaces/${workspaceId}/webhooks/init`, {})).status === 200);
    }, 120_000);

    afterAll(() => platform?.stop(), 60_000);

    /** The same person at every gateway in turn. */
    const anyGateway = (n: number): Client =>
      Object.assign(client(platform.gateways[n % platform.gateways.length] as string, owner.token), {});

    it('signs people up and in, and tells them who they are', async () => {
      const me = await owner.get('/me');

      expect(me.status).toBe(200);
      expect(me.body).toMatchObject({ id: owner.user?.id, email: owner.user?.email, sessionId: owner.user?.sessionId });
      expect(me.body.password).toBeUndefined();
      expect(me.headers.get('x-correlation-id')).toMatch(/^[\w.-]{8,}$/);
    });

    it('gives visitors an anonymous session', async () => {
      const visitor = await client(platform.url).post('/login/anonymous', {});

      expect(visitor.status).toBe(200);
      expect(visitor.body).toMatchObject({ token: expect.any(String), sessionId: expect.any(String) });
      expect((await client(platform.url, visitor.body.token).get('/me')).body.id).toBe(visitor.body.id);
    });

    it('creates, uses and deletes an access token', async () => {
      const token = await expectOk(
        owner.post('/user/accessTokens', { name: 'ci', expiresAt: new Date(Date.now() + 3_600_000).toISOString() }),
      );
      expect(token.token).toMatch(/^at:/);

      expect((await client(platform.url, token.token).get('/me')).body.id).toBe(owner.user?.id);

      await expectOk(owner.delete(`/user/accessTokens/${encodeURIComponent(token.token)}`));
      expect((await client(platform.url, token.token).get('/me')).status).toBe(401);
    });

    it('runs a webhook that emits, triggers another automation, and shows the event live and in the history', async () => {
      const socket = await owner.events(workspaceId, { payloadQuery: [{ type: ['visitor.greeted', 'visitor.counted'] }] });
      const live: { type: string; id: string; payload: any; source: any }[] = [];
      socket.onAny((_type, event) => live.push(event));
      try {
        const answer = await owner.post(`/workspaces/${workspaceId}/webhooks/greet`, { name: 'Ada', rank: 41 });

        expect(answer.status).toBe(200);
        expect(answer.body).toEqual({ message: 'Hello Ada', event: expect.any(String) });
        await eventually(() => live.some(({ type }) => type === 'visitor.greeted') && live.some(({ type }) => type === 'visitor.counted'));
        const greeted = live.find(({ type }) => type === 'visitor.greeted');
        expect(greeted).toMatchObject({ id: answer.body.event, payload: { name: 'Ada', rank: 42 } });
        expect(greeted?.source).toMatchObject({
          workspaceId,
          automationSlug: 'greet',
          correlationId: answer.headers.get('x-correlation-id'),
        });
        expect(live.find(({ type }) => type === 'visitor.counted')).toMatchObject({ payload: { name: 'Ada', depth: 2 } });

        await eventually(async () => {
          const found = await expectOk(owner.get(`/workspaces/${workspaceId}/events?types=visitor.greeted&limit=10`));
          expect(found.result.events.map(({ id }: { id: string }) => id)).toContain(answer.body.event);
        });
        await eventually(async () => {
          const search = await expectOk(
            owner.post(`/workspaces/${workspaceId}/search`, {
              query: { term: { 'source.correlationId': greeted?.source.correlationId } },
              limit: 50,
            }),
          );
          const types = search.documents.map(({ type }: { type: string }) => type);
          expect(types).toEqual(
            expect.arrayContaining([
              'visitor.greeted',
              'visitor.counted',
              'runtime.automations.executed',
              'runtime.interactions.triggered',
            ]),
          );
          expect(search.size).toBe(search.documents.length);
        });
      } finally {
        socket.close();
      }
    });

    it('hands each event to one automation run, once, and loses no concurrent write', async () => {
      const before = (await expectOk(owner.get(`/workspaces/${workspaceId}/webhooks/v1/report/short`))).visits;
      const names = Array.from({ length: 40 }, (_, n) => `guest${n}`);

      await Promise.all(
        names.map((name, n) => expectOk(anyGateway(n).post(`/workspaces/${workspaceId}/webhooks/greet`, { name, rank: n }))),
      );

      await eventually(
        async () => {
          const report = await expectOk(anyGateway(1).get(`/workspaces/${workspaceId}/webhooks/v1/report/short`));
          expect(report.kind).toBe('short');
          expect(report.visits).toBe(before + 40);
          for (const name of names) expect(report.runs[name]).toHaveLength(1);
        },
        { timeoutMs: 20_000, everyMs: 200 },
      );
    });

    it('accepts events over REST and over the socket, and triggers automations with them', async () => {
      const socket = await owner.events(workspaceId, { payloadQuery: [{ type: 'visitor.counted' }] });
      const counted: string[] = [];
      socket.on('visitor.counted', (event) => counted.push(event.payload.name));
      try {
        const [sent] = await expectOk(
          owner.post(`/workspaces/${workspaceId}/events`, { events: [{ type: 'visitor.greeted', payload: { name: 'rest' } }] }),
        );
        expect(sent).toMatchObject({ type: 'visitor.greeted', payload: { name: 'rest' }, source: { userId: owner.user?.id, workspaceId } });
        socket.emit('event', { type: 'visitor.greeted', payload: { name: 'socket' } });

        await eventually(() => expect(counted).toEqual(expect.arrayContaining(['rest', 'socket'])));
      } finally {
        socket.close();
      }
    });

    it('follows an edit of an automation at once', async () => {
      await expectOk(
        owner.post(`/workspaces/${workspaceId}/automations`, {
          slug: 'v1/answer',
          name: 'Answer',
          when: { endpoint: true },
          do: [],
          output: { is: 1 },
        }),
      );
      await eventually(async () => expect((await owner.get(`/workspaces/${workspaceId}/webhooks/v1/answer`)).body).toEqual({ is: 1 }));

      await expectOk(
        owner.patch(`/workspaces/${workspaceId}/automations/v1/answer`, {
          name: 'Answer',
          when: { endpoint: true },
          do: [],
          output: { is: 2 },
        }),
      );

      await eventually(async () => expect((await owner.get(`/workspaces/${workspaceId}/webhooks/v1/answer`)).body).toEqual({ is: 2 }), {
        timeoutMs: 3_000,
      });
      await expectOk(owner.delete(`/workspaces/${workspaceId}/automations/v1/answer`));
      await eventually(async () => expect((await owner.get(`/workspaces/${workspaceId}/webhooks/v1/answer`)).status).toBe(404), {
        timeoutMs: 3_000,
      });
    });

    it('waits for an event and goes on with it', async () => {
      await expectOk(
        owner.post(`/workspaces/${workspaceId}/automations`, {
          slug: 'ask',
          name: 'Ask',
          when: { endpoint: true },
          do: [
            { emit: { event: 'question.asked', payload: { n: '{{body.n}}' } } },
            { wait: { oneOf: [{ event: 'question.answered', filters: { 'payload.n': '{{body.n}}' } }], timeout: 15, output: 'answer' } },
          ],
          output: { answer: '{{answer.payload.text}}' },
        }),
      );
      await expectOk(
        owner.post(`/workspaces/${workspaceId}/automations`, {
          slug: 'reply',
          name: 'Reply',
          when: { events: ['question.asked'] },
          do: [
            { wait: { timeout: 0.2 } },
            { emit: { event: 'question.answered', payload: { n: '{{payload.n}}', text: 'answer {{payload.n}}' } } },
          ],
        }),
      );

      await eventually(async () => expect((await owner.get(`/workspaces/${workspaceId}`)).body.automations.reply).toBeDefined());
      const answers = await Promise.all(
        [1, 2, 3].map((n) => expectOk(anyGateway(n).post(`/workspaces/${workspaceId}/webhooks/ask`, { n }))),
      );

      expect(answers).toEqual([1, 2, 3].map((n) => ({ answer: `answer ${n}` })));
    });

    it('carries an event of the largest size to a socket, an automation, a wait and the history', async () => {
      const LARGEST = 100_000;
      for (const automation of [
        {
          slug: 'see-huge',
          name: 'See',
          when: { events: ['huge.sent'] },
          do: [{ set: { name: 'global.huge', value: '{{payload.text.length}}' } }],
        },
        { slug: 'huge-seen', name: 'Seen', when: { endpoint: true }, do: [], output: { length: '{{global.huge}}' } },
        {
          slug: 'wait-huge',
          name: 'Wait',
          when: { endpoint: true },
          do: [{ wait: { oneOf: [{ event: 'huge.sent' }], timeout: 30, output: 'found' } }],
          output: { size: '{{found.size}}' },
        },
      ])
        await expectOk(owner.post(`/workspaces/${workspaceId}/automations`, automation));
      await eventually(async () => expect((await owner.get(`/workspaces/${workspaceId}/webhooks/huge-seen`)).status).toBe(200));
      const socket = await owner.events(workspaceId, { payloadQuery: [{ type: 'huge.sent' }] });
      const live: number[] = [];
      socket.on('huge.sent', (event) => live.push(event.size));
      const send = async (type: string, length: number) =>
        (await expectOk(owner.post(`/workspaces/${workspaceId}/events`, { events: [{ type, payload: { text: 'x'.repeat(length) } }] })))[0];
      const { size } = await send('huge.size', 1);
      const length = LARGEST - size + 1;
      let isAnswered = false;
      const waiting = expectOk(owner.post(`/workspaces/${workspaceId}/webhooks/wait-huge`, {})).finally(() => {
        isAnswered = true;
      });
      try {
        await eventually(
          async () => {
            expect((await send('huge.sent', length)).size).toBe(LARGEST);
            return isAnswered;
          },
          { timeoutMs: 20_000, everyMs: 200 },
        );

        expect(await waiting).toEqual({ size: LARGEST });
        await eventually(() => expect(live).toContain(LARGEST));
        await eventually(async () => expect((await owner.get(`/workspaces/${workspaceId}/webhooks/huge-seen`)).body).toEqual({ length }));
        await eventually(async () => {
          const { body } = await owner.get(`/workspaces/${workspaceId}/events?types=huge.sent`);
          expect(body.result.events[0].size).toBe(LARGEST);
        });
        const tooLarge = await owner.post(`/workspaces/${workspaceId}/events`, {
          events: [{ type: 'huge.sent', payload: { text: 'x'.repeat(length + 1) } }],
        });
        expect(tooLarge.body).toMatchObject({ error: 'BrokerError', details: { reason: 'EventTooLarge', maxSize: LARGEST } });
      } finally {
        socket.close();
      }
    });

    it('exports the workspace and its history whole, through any gateway', async () => {
      for (const n of [0, 1]) {
        const at = `${platform.gateways[n % platform.gateways.length]}/workspaces/${workspaceId}`;
        const get = (path: string, init: RequestInit = {}) =>
          fetch(`${at}${path}`, { ...init, headers: { authorization: `Bearer ${owner.token}` } });
        const zip = await get('/versions/current/export', { method: 'POST' });
        const archive = Buffer.from(await zip.arrayBuffer());
        expect([zip.status, archive.length]).toEqual([200, Number(zip.headers.get('content-length'))]);
        expect(Object.keys(unzipSync(archive)).some((name) => name.endsWith('automations/greet.yml'))).toBe(true);

        const history = await get('/events/export?types=visitor.greeted');
        const lines = (await history.text()).trim().split('\n');
        expect(history.status).toBe(200);
        expect(lines.map((line) => JSON.parse(line).type)).toEqual(lines.map(() => 'visitor.greeted'));
      }
    });

    it('runs nothing of a suspended workspace, on any node, until it is let go', async () => {
      const admin = await signIn(platform.url, ADMIN);
      const { id } = await expectOk(owner.post('/workspaces', { name: 'Trouble' }));
      const heard = {
        slug: 'heard',
        name: 'Heard',
        when: { events: ['trouble.heard'] },
        do: [{ set: { name: 'global.heard', value: true } }],
      };
      const ask = { slug: 'ask', name: 'Ask', when: { endpoint: true }, do: [], output: { heard: '{{global.heard}}' } };
      for (const automation of [heard, ask]) await expectOk(owner.post(`/workspaces/${id}/automations`, automation));
      const call = (n = 0) => anyGateway(n).post(`/workspaces/${id}/webhooks/ask`, {});
      await eventually(async () => expect((await call()).status).toBe(200));
      const at = `/workspaces/${id}/suspension`;

      expect(await owner.request('PUT', at, { suspended: false })).toMatchObject({ status: 403, body: { error: 'ForbiddenError' } });
      expect((await admin.request('PUT', at, { suspended: 'yes' })).status).toBe(400);
      const suspension = { reason: 'sends spam', suspendedAt: expect.any(String), suspendedBy: admin.user?.id };
      expect(await expectOk(admin.request('PUT', at, { suspended: true, reason: 'sends spam' }))).toEqual({ suspended: true, suspension });
      await eventually(async () => {
        for (const n of [0, 1])
          expect(await call(n)).toMatchObject({
            status: 423,
            body: { error: 'SuspendedWorkspaceError', details: { reason: 'sends spam' } },
          });
      });
      await expectOk(owner.post(`/workspaces/${id}/events`, { events: [{ type: 'trouble.heard', payload: {} }] }));
      const found = async (type: string) => (await expectOk(owner.get(`/workspaces/${id}/events?types=${type}`))).result.events;
      await eventually(async () => expect(await found('trouble.heard')).toHaveLength(1));
      expect((await expectOk(owner.get(`/workspaces/${id}`))).suspension).toEqual(suspension);

      expect(await expectOk(admin.request('PUT', at, { suspended: false }))).toEqual({ suspended: false });
      await eventually(async () => {
        for (const n of [0, 1]) expect(await call(n)).toMatchObject({ status: 200, body: {} });
      });
      expect((await call()).body.heard).toBeUndefined();
      expect((await expectOk(owner.get(`/workspaces/${id}`))).suspension).toBeUndefined();
      await eventually(async () => expect(await found('workspaces.suspended')).toHaveLength(2));
      expect((await found('workspaces.suspended')).map(({ payload }: any) => [payload.suspended, payload.reason])).toEqual([
        [false, ''],
        [true, 'sends spam'],
      ]);
      await expectOk(owner.post(`/workspaces/${id}/events`, { events: [{ type: 'trouble.heard', payload: {} }] }));
      await eventually(async () => expect((await call()).body.heard).toBe(true));
    });

    it('keeps a stranger out of the workspace, its automations, its history and its live events', async () => {
      const stranger = await newUser(platform.url, 'stranger');
      const socket = await stranger.events(workspaceId, {});
      const seen: string[] = [];
      socket.onAny((type) => seen.push(type));
      try {
        expect((await stranger.get(`/workspaces/${workspaceId}`)).status).toBe(403);
        expect((await stranger.patch(`/workspaces/${workspaceId}`, { name: 'Mine now' })).status).toBe(403);
        expect((await stranger.delete(`/workspaces/${workspaceId}/automations/greet`)).status).toBe(403);
        expect((await stranger.post(`/workspaces/${workspaceId}/test/greet`, { payload: {} })).status).toBe(403);
        const history = await expectOk(stranger.get(`/workspaces/${workspaceId}/events`));
        expect(history.result.events).toEqual([]);
        const search = await stranger.post(`/workspaces/${workspaceId}/search`, { query: { match_all: {} } });
        expect(search.status === 403 || search.body.size === 0).toBe(true);

        await expectOk(owner.post(`/workspaces/${workspaceId}/webhooks/greet`, { name: 'Private' }));
        await eventually(async () => {
          const found = await expectOk(owner.get(`/workspaces/${workspaceId}/events?types=visitor.counted&payload.name=Private`));
          return found.result.events.length === 1;
        });
        expect(seen).toEqual([]);
        expect((await owner.get(`/workspaces/${workspaceId}`)).body.name).toBe('Visitors');
      } finally {
        socket.close();
      }
    });

    describe('refuses rubbish with one error shape and goes on', () => {
      const cases: [name: string, status: number, request: (c: Client) => Promise<any>][] = [
        ['JSON that does not parse', 400, (c) => c.request('POST', '/workspaces', '{"name": ', { 'content-type': 'application/json' })],
        ['an unknown route', 404, (c) => c.get('/nowhere')],
        ['an unknown workspace', 404, (c) => c.get('/workspaces/zzzzzzz')],
        ['a webhook of an unknown workspace', 404, (c) => c.post('/workspaces/zzzzzzz/webhooks/x', {})],
        ['an unknown endpoint', 404, (c) => c.post(`/workspaces/${workspaceId}/webhooks/nothing-here`, {})],
        ['an automation without do', 400, (c) => c.post(`/workspaces/${workspaceId}/automations`, { slug: 'bad', name: 'Bad' })],
        [
          'an automation whose do is not a list',
          400,
          (c) => c.post(`/workspaces/${workspaceId}/automations`, { slug: 'bad', name: 'Bad', do: 'set' }),
        ],
        [
          'a body over the limit',
          413,
          (c) => c.post(`/workspaces/${workspaceId}/events`, { events: [{ type: 'x', payload: { text: 'x'.repeat(2_000_000) } }] }),
        ],
        [
          'an event over the limit',
          400,
          (c) => c.post(`/workspaces/${workspaceId}/events`, { events: [{ type: 'x', payload: { text: 'x'.repeat(200_000) } }] }),
        ],
        ['an event with a bad name', 400, (c) => c.post(`/workspaces/${workspaceId}/events`, { events: [{ type: 'a/b', payload: {} }] })],
        [
          'a forged native event',
          403,
          (c) =>
            c.post(`/workspaces/${workspaceId}/events`, {
              events: [{ type: 'workspaces.deleted', payload: {}, source: { serviceTopic: 'workspaces.deleted' } }],
            }),
        ],
        [
          'an archive that is no zip',
          400,
          (c) => c.upload(`/workspaces/${workspaceId}/import`, 'archive', 'workspace.zip', new Uint8Array([1, 2, 3])),
        ],
        ['no token', 401, (c) => client(c.url).get('/workspaces')],
        ['a broken token', 401, (c) => client(c.url, 'abc.def.ghi').get('/workspaces')],
        ['a wrong password', 401, (c) => client(c.url).post('/login', { email: owner.user?.email, password: 'wrong-password' })],
      ];

      for (const [name, status, request] of cases) {
        it(`${name} → ${status}`, async () => {
          const answer = await request(owner);

          expect({ status: answer.status, body: answer.body }).toMatchObject({
            status,
            body: { error: expect.any(String), message: expect.any(String) },
          });
          expect(answer.headers.get('x-correlation-id')).toBeTruthy();
          expect(JSON.stringify(answer.body)).not.toMatch(/node_modules|\.ts:\d|at async/);
          expect((await owner.get('/me')).status).toBe(200);
        });
      }

      it('leaves nothing half-written', async () => {
        const workspace = await expectOk(owner.get(`/workspaces/${workspaceId}`));

        expect(Object.keys(workspace.automations)).not.toContain('bad');
      });
    });
  });
}
