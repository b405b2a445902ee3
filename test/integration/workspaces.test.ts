import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { eventually } from '../support/eventually.ts';
import { type Caller, faultOf, startWorkspaces, type WorkspaceServices } from '../support/workspace-services.ts';

let platform: WorkspaceServices;
let ada: Caller;
let ben: Caller;
let workspaceId: string;
const typesOf = () => platform.events.filter(({ source }) => source.workspaceId === workspaceId).map(({ type }) => type);

beforeAll(async () => {
  platform = await startWorkspaces();
  ada = platform.as('ada');
  ben = platform.as('ben');
});
afterAll(() => platform?.stop());
beforeEach(async () => {
  workspaceId = (await ada.call('workspaces.create', { body: { name: 'One', description: 'First', labels: ['a:b'] } })).id;
});

describe('workspaces', () => {
  it('are created for their owner, listed for him alone, and answer with all that was sent', async () => {
    const workspace = await ada.call('workspaces.get', { workspaceId });

    expect(workspace).toMatchObject({
      id: workspaceId,
      name: 'One',
      slug: expect.stringMatching(/^[a-z]+-[a-z]+-\d+$/),
      automations: {},
      pages: {},
      imports: {},
      createdBy: 'ada',
      revision: 1,
    });
    expect((await ada.call('workspaces.list', { query: { labels: 'a:b', limit: '100' } })).map(({ id }: any) => id)).toContain(workspaceId);
    expect((await ben.call('workspaces.list', { query: { limit: '100' } })).map(({ id }: any) => id)).not.toContain(workspaceId);
    await eventually(() => expect(typesOf()).toEqual(['workspaces.created', 'workspaces.security.updated']));
  });

  it('are reached by slug wherever an id is accepted', async () => {
    const { slug } = await ada.call('workspaces.get', { workspaceId });

    expect((await ada.call('workspaces.get', { workspaceId: `slug:${slug}` })).id).toBe(workspaceId);
    expect((await platform.system.call('workspaces.resolve', { workspaceId: `slug:${slug}` })).id).toBe(workspaceId);
    expect(await faultOf(ada.call('workspaces.get', { workspaceId: 'slug:nobody' }))).toBe('ObjectNotFoundError');
  });

  it('are closed to strangers in every way, and unknown ones are not found', async () => {
    const attempts: [string, object][] = [
      ['workspaces.get', {}],
      ['workspaces.update', { body: { name: 'Mine' } }],
      ['workspaces.remove', {}],
      ['workspaces.getConfig', {}],
      ['workspaces.patchConfig', { body: { value: {} } }],
      ['workspaces.lock', {}],
      ['automations.create', { body: { name: 'A', do: [] } }],
      ['pages.create', { body: {} }],
      ['appInstances.list', {}],
      ['versions.publish', { body: { description: 'x' } }],
      ['versions.duplicate', { versionId: 'current' }],
      ['archives.export', {}],
      ['files.list', {}],
      ['security.get', {}],
      ['security.update', { body: {} }],
      ['security.listApiKeys', {}],
      ['secrets.patch', { body: { a: { value: 1 } } }],
      ['permissions.workspacesList', { subjectId: workspaceId }],
    ];
    for (const [action, params] of attempts) {
      expect([action, await faultOf(ben.call(action, { workspaceId, ...params }))]).toEqual([action, 'ForbiddenError']);
      expect([
        action,
        await faultOf(
          ada.call(action, {
            workspaceId: 'nowhere',
            subjectId: 'nowhere',
            ...params,
            ...('subjectId' in params ? { subjectId: 'nowhere' } : {}),
          }),
        ),
      ]).toEqual([action, 'ObjectNotFoundError']);
    }
    expect(await faultOf(ben.call('workspaces.access', { workspaceId }))).toBe('ForbiddenError');
    expect(await faultOf(ben.call('workspaces.model', { workspaceId }))).toBe('ForbiddenError');
  });

  it('change by top-level keys, with one event for each section and none when nothing changed', async () => {
    await ada.call('workspaces.update', { workspaceId, body: { config: { value: { a: 1 } }, blocks: { B: { name: 'B' } } } });
    await ada.call('workspaces.update', { workspaceId, body: { config: { value: { a: 1 } } } });
    await ada.call('workspaces.update', { workspaceId, body: { description: null, labels: [] } });

    const workspace = await ada.call('workspaces.get', { workspaceId });
    expect(workspace).toMatchObject({ config: { value: { a: 1 } }, blocks: { B: { name: 'B' } }, revision: 3 });
    expect(workspace.description).toBeUndefined();
    await eventually(() =>
      expect(typesOf().slice(2)).toEqual([
        'workspaces.updated',
        'workspaces.configured',
        'workspaces.blocks.updated',
        'workspaces.updated',
      ]),
    );
    const updated = platform.events.findLast(({ type }) => type === 'workspaces.updated');
    expect(updated).toMatchObject({
      payload: { workspaceId, revision: 3, workspace: { id: workspaceId } },
      source: { userId: 'ada', correlationId: 'test-correlation' },
    });
  });

  it('take a free slug and refuse a taken one, changing nothing', async () => {
    const other = await ada.call('workspaces.create', {
      body: { name: 'Other', slug: `taken-${workspaceId.toLowerCase().replaceAll('_', '-')}` },
    });

    const refused = await ada
      .call('workspaces.update', { workspaceId, body: { slug: other.slug, name: 'Renamed' } })
      .catch((error) => error);

    expect(refused).toMatchObject({ type: 'AlreadyUsedError', code: 400, data: { slug: 'AlreadyUsedError' } });
    expect((await ada.call('workspaces.get', { workspaceId })).name).toBe('One');
    expect(await faultOf(ada.call('workspaces.create', { body: { name: 'Third', slug: other.slug } }))).toBe('AlreadyUsedError');
    await ada.call('workspaces.update', { workspaceId, body: { slug: `${other.slug}-2` } });
    await eventually(() =>
      expect(platform.events.at(-1)?.payload).toMatchObject({ oldSlug: expect.any(String), workspace: { slug: `${other.slug}-2` } }),
    );
  });

  it('give a custom domain to one workspace only', async () => {
    const domain = `${workspaceId.toLowerCase().replaceAll('_', 'x').replaceAll('-', 'x')}.example.org`;
    await ada.call('workspaces.update', { workspaceId, body: { customDomains: [domain] } });
    const other = await ben.call('workspaces.create', { body: { name: 'Other' } });

    expect(await faultOf(ben.call('workspaces.update', { workspaceId: other.id, body: { customDomains: [domain] } }))).toBe(
      'AlreadyUsedError',
    );
  });

  it('answer 412 with both versions to an editor whose copy is old', async () => {
    const { headers } = await ada.ask('workspaces.get', { workspaceId });
    await ada.call('workspaces.update', { workspaceId, body: { name: 'Two' } });

    const refused = await ada
      .call('workspaces.update', { workspaceId, body: { name: 'Three' } }, { ifMatch: headers.etag })
      .catch((error) => error);

    expect(refused).toMatchObject({
      type: 'PreconditionFailed',
      code: 412,
      data: { expected: headers.etag, actual: expect.any(String), current: { name: 'Two' } },
    });
    expect((await ada.call('workspaces.get', { workspaceId })).name).toBe('Two');
    await ada.call('workspaces.update', { workspaceId, body: { name: 'Three' } }, { ifMatch: refused.data.actual });
  });

  it('refuse modifications while they are locked, and accept them again', async () => {
    const { writeLock } = await ada.call('workspaces.lock', { workspaceId, body: { reason: 'release' } });

    const refused = await ada.call('automations.create', { workspaceId, body: { name: 'A', do: [] } }).catch((error) => error);
    expect(refused).toMatchObject({ type: 'WorkspaceLocked', code: 423, data: writeLock });
    expect((await ada.call('workspaces.get', { workspaceId })).writeLock).toEqual(writeLock);

    await ada.call('workspaces.unlock', { workspaceId });
    await ada.call('automations.create', { workspaceId, body: { name: 'A', do: [] } });
  });

  it('go with everything they hold', async () => {
    await ada.call('secrets.patch', { workspaceId, body: { a: { value: 'x' } } });
    await ada.call('pages.create', { workspaceId, body: { slug: 'index' } });

    expect(await ada.call('workspaces.remove', { workspaceId })).toEqual({ id: workspaceId });

    expect(await faultOf(ada.call('workspaces.get', { workspaceId }))).toBe('ObjectNotFoundError');
    const { store } = platform.broker.getLocalService('workspaces') as any;
    for (const collection of ['secrets', 'pages', 'files', 'apiKeys'])
      expect(await store.documents.count(collection, { workspaceId })).toBe(0);
    expect(await platform.system.call('workspaces.revisions', { workspaceIds: [workspaceId] })).toEqual({});
    await eventually(() => expect(typesOf().at(-1)).toBe('workspaces.deleted'));
  });

  it('name what is wrong with a request', async () => {
    const cases: [string, object, string][] = [
      ['workspaces.create', { body: {} }, 'RequestValidationError'],
      ['workspaces.create', { body: { name: 'x', nope: 1 } }, 'RequestValidationError'],
      ['workspaces.create', { body: { name: 'x', slug: 'Not A Slug' } }, 'InvalidSlugError'],
      ['workspaces.update', { workspaceId, body: [] }, 'RequestValidationError'],
      ['workspaces.patchConfig', { workspaceId, body: { other: 1 } }, 'RequestValidationError'],
      ['workspaces.get', { workspaceId, query: { version: 'none' } }, 'InvalidVersionError'],
      ['workspaces.list', { query: { limit: 'many' } }, 'BadParametersError'],
      ['workspaces.list', { query: { sort: 'permissions' } }, 'BadParametersError'],
    ];
    for (const [action, params, type] of cases) expect([action, await faultOf(ada.call(action, params))]).toEqual([action, type]);
  });

  it('tell failed requests in their activity, to those who may read it, and never those of strangers', async () => {
    const { headers } = await ada.ask('workspaces.get', { workspaceId });
    await ada.call('workspaces.update', { workspaceId, body: { name: 'Newer' } });
    await faultOf(ben.call('automations.create', { workspaceId, body: { name: 'No do' } }));
    await faultOf(ada.call('automations.get', { workspaceId, slug: 'nothing' }));
    await faultOf(ada.call('workspaces.update', { workspaceId, body: { name: 'Old' } }, { ifMatch: headers.etag }));
    await faultOf(ada.call('automations.create', { workspaceId, body: { name: 'No do' } }));

    const errors = () => platform.events.filter(({ type, source }) => type === 'error' && source.workspaceId === workspaceId);
    await eventually(() => expect(errors()).toHaveLength(2));
    expect(errors()).toMatchObject([
      { payload: { error: 'PreconditionFailed', action: 'workspaces.update' }, source: { userId: 'ada' } },
      { payload: { error: 'RequestValidationError', message: expect.any(String), details: { problems: [{ path: 'do' }] } } },
    ]);
    expect(JSON.stringify(errors()[0])).not.toContain('Newer');
  });

  it('are found by text taken literally, never as a pattern', async () => {
    expect(await ada.call('workspaces.list', { query: { search: '.*' } })).toEqual([]);
    expect((await ada.call('workspaces.list', { query: { search: 'firs', ids: workspaceId } })).map(({ id }: any) => id)).toEqual([
      workspaceId,
    ]);
    expect((await ada.ask('workspaces.list', { query: { ids: workspaceId } })).headers['x-total-count']).toBe('1');
    expect(await ada.call('workspaces.labels', {})).toContain('a:b');
  });
});

describe('automations', () => {
  const HELLO = { name: 'Hello', do: [{ emit: { event: 'hello' } }] };

  it('are created, read, replaced, merged, renamed and deleted, slashes included', async () => {
    const created = await ada.call('automations.create', { workspaceId, body: { ...HELLO, slug: 'v1/hello', when: { endpoint: true } } });
    expect(created).toMatchObject({ ...HELLO, slug: 'v1/hello' });
    const [listed] = await ada.call('automations.list', { workspaceId });
    expect(listed).toMatchObject({
      slug: 'v1/hello',
      name: HELLO.name,
      when: { endpoint: true },
      createdBy: 'ada',
      checksum: expect.any(String),
    });
    expect(listed.do).toBeUndefined();

    expect(await ada.call('automations.update', { workspaceId, slug: 'v1/hello', body: { description: 'merged' } })).toMatchObject({
      ...HELLO,
      description: 'merged',
      when: { endpoint: true },
    });
    const replaced = await ada.call('automations.update', { workspaceId, slug: 'v1/hello', body: { ...HELLO, slug: 'v2/hello' } });
    expect(replaced.slug).toBe('v2/hello');
    expect(replaced.when).toBeUndefined();

    expect(await faultOf(ada.call('automations.get', { workspaceId, slug: 'v1/hello' }))).toBe('ObjectNotFoundError');
    expect(await ada.call('automations.get', { workspaceId, slug: 'v2/hello' })).toMatchObject({
      name: 'Hello',
      slug: 'v2/hello',
      createdBy: 'ada',
    });
    expect(await ada.call('automations.remove', { workspaceId, slug: 'v2/hello' })).toEqual({ slug: 'v2/hello' });
    await eventually(() =>
      expect(typesOf().slice(2)).toEqual([
        'workspaces.automations.created',
        'workspaces.automations.updated',
        'workspaces.automations.updated',
        'workspaces.automations.deleted',
      ]),
    );
    const renamed = platform.events.findLast(({ type }) => type === 'workspaces.automations.updated');
    expect(renamed?.payload).toMatchObject({
      slug: 'v2/hello',
      oldSlug: 'v1/hello',
      automation: { slug: 'v2/hello' },
      events: { emit: ['hello'] },
      revision: 4,
    });
  });

  it('name what is wrong, and refuse taken slugs', async () => {
    await ada.call('automations.create', { workspaceId, body: { ...HELLO, slug: 'a' } });
    await ada.call('automations.create', { workspaceId, body: { ...HELLO, slug: 'b' } });
    const cases: [string, object, string][] = [
      ['automations.create', { body: { ...HELLO, slug: 'a' } }, 'AlreadyUsedError'],
      ['automations.update', { slug: 'b', body: { slug: 'a' } }, 'AlreadyUsedError'],
      ['automations.create', { body: { ...HELLO, slug: '../x' } }, 'InvalidSlugError'],
      ['automations.create', { body: { name: 'No do' } }, 'RequestValidationError'],
      ['automations.create', { body: { ...HELLO, when: { schedules: ['x'] } } }, 'InvalidScheduleError'],
      ['automations.update', { slug: 'b', body: { do: 'x' } }, 'RequestValidationError'],
      ['automations.update', { slug: 'ghost', body: HELLO }, 'ObjectNotFoundError'],
      ['automations.remove', { slug: 'ghost' }, 'ObjectNotFoundError'],
      ['automations.get', { slug: '__proto__' }, 'ObjectNotFoundError'],
    ];
    for (const [action, params, type] of cases)
      expect([action, params, await faultOf(ada.call(action, { workspaceId, ...params }))]).toEqual([action, params, type]);
  });

  it('let two editors of different automations never collide, and tell two of the same one', async () => {
    for (const slug of ['a', 'b']) await ada.call('automations.create', { workspaceId, body: { ...HELLO, slug } });
    const [a, b] = await Promise.all(['a', 'b'].map((slug) => ada.ask('automations.get', { workspaceId, slug })));

    await ada.call('automations.update', { workspaceId, slug: 'a', body: { ...HELLO, output: 1 } }, { ifMatch: a?.headers.etag });
    await ada.call('automations.update', { workspaceId, slug: 'b', body: { ...HELLO, output: 2 } }, { ifMatch: b?.headers.etag });

    const late = await ada
      .call('automations.update', { workspaceId, slug: 'a', body: { ...HELLO, output: 3 } }, { ifMatch: a?.headers.etag })
      .catch((error) => error);
    expect(late).toMatchObject({ type: 'PreconditionFailed', data: { current: { output: 1 } } });
    expect(await faultOf(ada.call('automations.remove', { workspaceId, slug: 'a' }, { ifMatch: a?.headers.etag }))).toBe(
      'PreconditionFailed',
    );
  });

  it('are found again after they were overwritten, renamed or deleted', async () => {
    await ada.call('automations.create', { workspaceId, body: { slug: 'a', name: 'A', do: [], output: 'first' } });
    await ada.call('automations.update', { workspaceId, slug: 'a', body: { output: 'second' } });
    await ada.call('automations.update', { workspaceId, slug: 'a', body: { slug: 'b' } });
    await ada.call('automations.remove', { workspaceId, slug: 'b' });
    await ada.call('workspaces.update', { workspaceId, body: { description: 'Later' } });

    const history = await ada.call('versions.history', { workspaceId, query: { type: 'automations' } });
    expect(history.map(({ revision, by, changes }: any) => [revision, by, changes])).toEqual([
      [5, 'ada', [{ type: 'automations', slug: 'b', change: 'deleted' }]],
      [
        4,
        'ada',
        [
          { type: 'automations', slug: 'a', change: 'deleted' },
          { type: 'automations', slug: 'b', change: 'created' },
        ],
      ],
      [3, 'ada', [{ type: 'automations', slug: 'a', change: 'updated' }]],
      [2, 'ada', [{ type: 'automations', slug: 'a', change: 'created' }]],
    ]);
    const former = async (revision: string) => (await ada.call('versions.historyAt', { workspaceId, revision })).changes[0].before;
    expect(await former('3')).toMatchObject({ name: 'A', output: 'first' });
    expect(await former('5')).toMatchObject({ slug: 'b', output: 'second' });
    expect(await former('6')).toMatchObject({ description: 'First' });
    expect(await ada.call('versions.history', { workspaceId, query: { slug: 'b', limit: '1' } })).toHaveLength(1);
    for (const revision of ['1', '99', 'x', '../../x'])
      expect(await faultOf(ada.call('versions.historyAt', { workspaceId, revision }))).toBe('ObjectNotFoundError');
    expect(await faultOf(ben.call('versions.history', { workspaceId }))).toBe('ForbiddenError');
    expect(await faultOf(ben.call('versions.historyAt', { workspaceId, revision: '3' }))).toBe('ForbiddenError');
  });

  it('survive fifty editors at once', async () => {
    await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        ada.call('automations.create', { workspaceId, body: { ...HELLO, name: `Same name`, output: n } }),
      ),
    );

    const { automations, revision } = await ada.call('workspaces.get', { workspaceId });
    expect(Object.keys(automations)).toHaveLength(50);
    expect(revision).toBe(51);
  });

  it('reach the runtime as one model at one revision', async () => {
    await ada.call('automations.create', { workspaceId, body: { ...HELLO, slug: 'hello' } });
    await ada.call('secrets.patch', { workspaceId, body: { token: { value: 't0p' } } });

    const model = await platform.system.call('workspaces.model', { workspaceId });

    expect(model).toMatchObject({
      id: workspaceId,
      name: 'One',
      revision: 3,
      automations: { hello: HELLO },
      config: {},
      secrets: { token: { type: 'string', sealed: expect.stringMatching(/^v1\./) } },
    });
    expect(JSON.stringify(model)).not.toContain('t0p');
    expect(await platform.system.call('workspaces.revisions', { workspaceIds: [workspaceId, 'other'] })).toEqual({ [workspaceId]: 3 });
  });
});

describe('the compiler on save', () => {
  it('refuses errors, passes warnings on, and is told when nobody could be asked', async () => {
    const found: object[] = [];
    const own = await startWorkspaces({ check: () => ({ problems: found }) });
    try {
      const user = own.as('ada');
      const { id } = await user.call('workspaces.create', { body: { name: 'Checked' } });
      found.push({ severity: 'warning', code: 'unknown-function', message: 'nope() is unknown', place: { path: 'do[0]' } });
      const saved = await user.call('automations.create', { workspaceId: id, body: { name: 'A', slug: 'a', do: [] } });
      expect(saved.warnings).toEqual([expect.objectContaining({ code: 'unknown-function' })]);
      expect((await user.call('automations.get', { workspaceId: id, slug: 'a' })).warnings).toBeUndefined();

      found.push({ severity: 'error', code: 'bad', message: 'cannot run', place: { path: 'do[0].set' } });
      const refused = await user
        .call('automations.update', { workspaceId: id, slug: 'a', body: { name: 'B', do: [] } })
        .catch((error) => error);
      expect(refused).toMatchObject({ type: 'InvalidWorkspaceError', data: { problems: [{ place: { path: 'do[0].set' } }] } });
      expect((await user.call('automations.get', { workspaceId: id, slug: 'a' })).name).toBe('A');
    } finally {
      await own.stop();
    }
    const alone = await ada.call('automations.create', { workspaceId, body: { name: 'A', do: [] } });
    expect(alone.warnings).toEqual([expect.objectContaining({ code: 'not-compiled' })]);
  });
});
