import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../support/eventually.ts';
import { GIT_PASSWORD, GIT_USER, gitAvailable, startGit, type TestGit } from '../support/git-server.ts';
import { type Caller, faultOf, startWorkspaces, type WorkspaceServices } from '../support/workspace-services.ts';

if (!gitAvailable()) {
  describe('git', () => {
    it.skip('needs git', () => {});
  });
} else {
  let server: TestGit;
  let platform: WorkspaceServices;
  let ada: Caller;
  let ben: Caller;
  let count = 0;

  beforeAll(async () => {
    server = await startGit();
    platform = await startWorkspaces({
      env: {
        FETCH_ALLOWED_PRIVATE_HOSTS: server.host,
        WORKSPACES_STORAGE_GIT_PLATFORM_local_URL: server.create('platform').path,
        WORKSPACES_STORAGE_GIT_PLATFORM_many_URL: `file://${server.create('many').path}`,
        WORKSPACES_GROUP_core_LABELS: 'group:core, group:base',
        WORKSPACES_STORAGE_GIT_PLATFORM_local_NAME: 'Local',
        WORKSPACES_STORAGE_GIT_PLATFORM_local_DIRPATH: 'workspaces',
        WORKSPACES_STORAGE_GIT_PLATFORM_local_AUTH_PASSWORD: 'not-to-be-shown',
      },
    });
    ada = platform.as('ada');
    ben = platform.as('ben');
  });
  afterAll(async () => {
    await platform?.stop();
    await server?.stop();
  });

  const repository = (url: string, more: object = {}, config: object = {}) => ({
    main: {
      name: 'Main',
      type: 'git',
      config: { url, branch: 'main', auth: { user: GIT_USER, password: '{{secret.gitToken}}' }, ...config },
      ...more,
    },
  });

  /** A workspace of `caller` joined to a repository. */
  async function joined(caller: Caller, url: string, more: object = {}, config: object = {}): Promise<string> {
    const { id } = await caller.call('workspaces.create', { body: { name: `Git ${++count}`, slug: `git-${count}` } });
    await caller.call('secrets.patch', { workspaceId: id, body: { gitToken: { value: GIT_PASSWORD } } });
    await caller.call('workspaces.update', { workspaceId: id, body: { repositories: repository(url, more, config) } });
    return id;
  }
  const push = (caller: Caller, workspaceId: string, name?: string) =>
    caller.call('versions.publish', { workspaceId, body: { description: 'Shipped', name, repository: { id: 'main' } } });
  const pull = (caller: Caller, workspaceId: string, versionId = 'latest', body: object = {}) =>
    caller.call('versions.pull', { workspaceId, versionId, body: { repository: { id: 'main' }, ...body } });
  const write = (caller: Caller, workspaceId: string, slug: string, output: unknown) =>
    caller
      .call('automations.update', { workspaceId, slug, body: { output } })
      .catch(() => caller.call('automations.create', { workspaceId, body: { slug, name: slug, do: [], output } }));
  const automation = (caller: Caller, workspaceId: string, slug: string) => caller.call('automations.get', { workspaceId, slug });

  describe('a push', () => {
    it('fills an empty repository, tags it, and tells what changed without any secret', async () => {
      const { url } = server.create('empty');
      const workspaceId = await joined(ada, url);
      await write(ada, workspaceId, 'sub/hello', 1);

      const version = await push(ada, workspaceId, 'v1');

      expect(version).toMatchObject({ name: 'v1', repository: { id: 'main' }, createdBy: 'ada' });
      expect(server.file('empty', 'automations/sub/hello.yml')).toContain('output: 1');
      expect(server.git('empty', 'tag')).toBe('v1');
      expect(server.git('empty', 'log', '-1', '--format=%an|%s', 'main')).toBe('ada Test|Shipped | Author : ada Test');
      expect(server.git('empty', 'fsck', '--strict')).toBe('');
      const index = server.file('empty', 'index.yml') ?? '';
      expect(index).toContain(`slug: git-${count}`);
      expect(index).not.toMatch(/repositories|password|^id:/m);
      expect(await ada.call('versions.list', { workspaceId })).toEqual([version]);
      const elsewhere = await ada.call('versions.diff', { workspaceId, versionId: 'v1' }).catch((error) => error);
      expect(elsewhere).toMatchObject({ type: 'InvalidVersionError', data: { repository: 'main' } });
      const [row] = await ada.call('workspaces.list', { query: { ids: workspaceId } });
      expect(row).toMatchObject({ dirty: false, lastPush: { version: 'v1', repositoryId: 'main', createdBy: 'ada' } });
      expect(row.synced).toBeUndefined();
      await eventually(() =>
        expect(
          platform.events.find(({ type, payload }) => type === 'workspaces.versions.published' && (payload as any).changes),
        ).toMatchObject({
          payload: { changes: { created: expect.arrayContaining(['automations/sub/hello.yml']), summary: { changes: 4 } } },
        }),
      );
      const steps = () =>
        platform.events.filter(({ type }) => type === 'workspaces.versions.progress').map(({ payload }) => (payload as any).step);
      // The last of them is sent after the version was told of.
      await eventually(() => expect(steps()).toEqual(expect.arrayContaining(['checkout', 'write', 'push', 'push:tag', 'push:done'])));
      expect(JSON.stringify(platform.events)).not.toContain(GIT_PASSWORD);
      await write(ada, workspaceId, 'sub/hello', 2);
      expect((await ada.call('workspaces.list', { query: { ids: workspaceId } }))[0].dirty).toBe(true);
    });

    it('keeps what others keep in the repository, below its folder and elsewhere', async () => {
      const { url } = server.create('shared', { 'README.md': 'ours', 'apps/one/notes.txt': 'keep', 'apps/two/index.yml': 'name: Two\n' });
      const workspaceId = await joined(ada, url, {}, { dirpath: 'apps/one' });
      await write(ada, workspaceId, 'hello', 1);
      await push(ada, workspaceId, 'v1');
      server.commit('shared', { 'README.md': 'changed', 'apps/two/index.yml': 'name: Second\n' });
      await write(ada, workspaceId, 'hello', 2);

      await push(ada, workspaceId, 'v2');

      expect(server.file('shared', 'README.md')).toBe('changed');
      expect(server.file('shared', 'apps/two/index.yml')).toBe('name: Second\n');
      expect(server.file('shared', 'apps/one/notes.txt')).toBe('keep');
      expect(server.file('shared', 'apps/one/automations/hello.yml')).toContain('output: 2');
      expect(server.file('shared', 'apps/one/automations/hello.yml', 'v1')).toContain('output: 1');
    });

    it('is refused while the branch has changes of the workspace that were not pulled, and when the tag is taken', async () => {
      const { url } = server.create('ahead');
      const workspaceId = await joined(ada, url);
      await write(ada, workspaceId, 'hello', 1);
      await push(ada, workspaceId, 'v1');
      server.commit('ahead', { 'automations/other.yml': 'name: Other\ndo: []\n' });
      await write(ada, workspaceId, 'hello', 2);
      const head = server.git('ahead', 'rev-parse', 'main');

      const refused = await push(ada, workspaceId, 'v2').catch((error) => error);

      expect(refused).toMatchObject({ type: 'PrismeError', code: 400, message: expect.stringContaining('not up-to-date') });
      expect(server.git('ahead', 'rev-parse', 'main')).toBe(head);
      expect((await ada.call('workspaces.get', { workspaceId })).writeLock).toBeUndefined();
      expect((await ada.call('versions.list', { workspaceId })).map(({ name }: any) => name)).toEqual(['v1']);
      await pull(ada, workspaceId);
      server.git('ahead', 'tag', 'v2', 'main');
      expect(await faultOf(push(ada, workspaceId, 'v2'))).toBe('AlreadyUsedError');
      await push(ada, workspaceId, 'v3');
      expect(server.file('ahead', 'automations/hello.yml')).toContain('output: 2');
      expect(server.file('ahead', 'automations/other.yml')).toBe('name: Other\ndo: []\n');
    });

    it('to a write-only repository replaces its own files, never those of another workspace', async () => {
      const { url } = server.create('writeonly', { 'index.yml': 'name: By hand\n', 'notes.txt': 'keep' });
      const workspaceId = await joined(ada, url, { mode: 'write-only' });
      await write(ada, workspaceId, 'hello', 1);

      await push(ada, workspaceId, 'v1');
      server.commit('writeonly', { 'automations/hello.yml': 'name: hello\ndo: []\noutput: by hand\n' });
      await write(ada, workspaceId, 'more', 1);
      await push(ada, workspaceId, 'v2');

      expect(server.file('writeonly', 'automations/hello.yml')).toContain('output: 1');
      expect(server.file('writeonly', 'notes.txt')).toBe('keep');
      expect(await faultOf(pull(ada, workspaceId))).toBe('ForbiddenError');
      const other = await joined(ben, url, { mode: 'write-only' });
      expect(await faultOf(push(ben, other, 'v3'))).toBe('ForbiddenError');
    });

    it('needs the right to update, a repository that exists, and one that may be written', async () => {
      const { url } = server.create('rights', { 'index.yml': 'name: Rights\n' });
      const workspaceId = await joined(ada, url, { mode: 'read-only' });

      expect(await faultOf(push(ben, workspaceId, 'v1'))).toBe('ForbiddenError');
      expect(await faultOf(push(ada, workspaceId, 'v1'))).toBe('ForbiddenError');
      const publish = { workspaceId, body: { description: 'x', repository: { id: 'nope' } } };
      expect(await faultOf(ada.call('versions.publish', publish))).toBe('ObjectNotFoundError');
    });
  });

  describe('a pull', () => {
    it('brings a repository in as people wrote it, deletes nothing the first time, and keeps what it overwrites', async () => {
      const text = '# Says hello\nname: Hello # to all\ndo:\n  - set: { name: a, value: 1 }\n';
      const { url } = server.create('first', {
        'index.yml': 'name: From git\nslug: from-git\ndescription: Kept in git\n',
        'automations/hello.yml': text,
        'automations/both.yml': 'name: Both\ndo: []\noutput: theirs\n',
        'pages/docs/intro.yml': '# A page\nname: Intro\nid: page-1\nblocks: []\n',
        'pages/app/src/App.tsx': 'export {}',
        'README.md': 'not ours',
      });
      const workspaceId = await joined(ada, url);
      await write(ada, workspaceId, 'both', 'ours');
      await write(ada, workspaceId, 'local', 'ours');

      const result = await pull(ada, workspaceId);

      expect(result).toMatchObject({
        errors: [],
        workspace: { name: 'From git', description: 'Kept in git', slug: `git-${count}` },
      });
      expect(result.deleted).toBeUndefined();
      expect(Object.keys(result.workspace.automations).sort()).toEqual(['both', 'hello', 'local']);
      expect((await automation(ada, workspaceId, 'both')).output).toBe('theirs');
      const [kept] = await ada.call('versions.list', { workspaceId });
      expect(kept.name).toBe('before-pull-1');
      const { changes } = await ada.call('versions.diff', { workspaceId, versionId: kept.name });
      expect(changes.find(({ slug }: any) => slug === 'both').places).toContainEqual({
        path: 'output',
        change: 'changed',
        before: 'ours',
        after: 'theirs',
      });

      await write(ada, workspaceId, 'hello', 'more');
      const intro = await ada.call('pages.get', { workspaceId, slug: 'docs/intro' });
      await ada.call('pages.update', { workspaceId, slug: 'docs/intro', body: { ...intro, name: 'Introduction' } });
      await push(ada, workspaceId, 'v1');
      expect(server.file('first', 'automations/hello.yml')).toBe(`${text}output: more\n`);
      expect(server.file('first', 'pages/docs/intro.yml')).toMatch(/^# A page\nname: Introduction\nid: page-1\nblocks: \[\]\n/);
      expect(server.file('first', 'pages/app/src/App.tsx')).toBe('export {}');
      expect(server.file('first', 'index.yml')).toBe('name: From git\nslug: from-git\ndescription: Kept in git\n');
    });

    it('joins the work of two installations, deletes what the other deleted and says so', async () => {
      const { url } = server.create('two');
      const dev = await joined(ada, url);
      for (const slug of ['a', 'b', 'gone']) await write(ada, dev, slug, 1);
      await push(ada, dev, 'v1');
      const prod = await joined(ben, url);
      await pull(ben, prod);
      expect(Object.keys((await ben.call('workspaces.get', { workspaceId: prod })).automations).sort()).toEqual(['a', 'b', 'gone']);

      await write(ada, dev, 'a', 'dev');
      await ada.call('automations.remove', { workspaceId: dev, slug: 'gone' });
      await push(ada, dev, 'v2');
      await write(ben, prod, 'b', 'prod');
      const result = await pull(ben, prod);
      await push(ben, prod, 'v3');
      await pull(ada, dev);

      expect(result.deleted).toEqual(['automations/gone.yml']);
      for (const [caller, id] of [
        [ada, dev],
        [ben, prod],
      ] as const) {
        const { automations, slug } = await caller.call('workspaces.get', { workspaceId: id });
        expect(Object.keys(automations).sort()).toEqual(['a', 'b']);
        expect((await automation(caller, id, 'a')).output).toBe('dev');
        expect((await automation(caller, id, 'b')).output).toBe('prod');
        expect(slug).not.toBe('from-git');
      }
      expect(await ada.call('workspaces.list', { query: { ids: dev } })).toMatchObject([
        { dirty: false, lastPull: { repositoryId: 'main' } },
      ]);
      // Nothing differs any more: pulling again changes nothing.
      const { revision } = await ada.call('workspaces.get', { workspaceId: dev });
      expect((await pull(ada, dev)).deleted).toEqual([]);
      expect((await ada.call('versions.list', { workspaceId: dev })).map(({ name }: any) => name)).toEqual(['v2', 'v1']);
      expect((await ada.call('workspaces.get', { workspaceId: dev })).revision).toBeGreaterThan(revision);
    });

    it('merges two edits of one file by their places, and asks a person when both changed the same', async () => {
      const { url } = server.create('conflict', {
        'index.yml': 'name: Conflict\n',
        'automations/a.yml': '# Of the team\nname: A\ndo:\n  - set: { name: x, value: 1 }\n  - set: { name: y, value: 2 }\n  - break: {}\n',
      });
      const workspaceId = await joined(ada, url);
      await pull(ada, workspaceId);
      const own = `prismeai/git-${count}/main`;
      const a = await automation(ada, workspaceId, 'a');
      const edit = (index: number, value: unknown) =>
        ada.call('automations.update', {
          workspaceId,
          slug: 'a',
          body: { do: a.do.map((step: any, at: number) => (at === index ? { set: { ...step.set, value } } : step)) },
        });
      await edit(0, 'mine');
      const theirs = (x: unknown, y: unknown) =>
        `# Of the team\nname: A\ndo:\n  - set: { name: x, value: ${x} }\n  - set: { name: y, value: ${y} }\n  - break: {}\n`;
      server.commit('conflict', { 'automations/a.yml': theirs(1, 'theirs') });

      await pull(ada, workspaceId);
      const merged = await automation(ada, workspaceId, 'a');
      expect(merged.do.slice(0, 2).map((step: any) => step.set.value)).toEqual(['mine', 'theirs']);
      await push(ada, workspaceId, 'v1');
      expect(server.file('conflict', 'automations/a.yml')).toBe(theirs('mine', 'theirs'));

      await edit(1, 'mine too');
      server.commit('conflict', { 'automations/a.yml': theirs('mine', 'theirs again') });
      const refused = await pull(ada, workspaceId).catch((error) => error);

      expect(refused).toMatchObject({
        type: 'MergeConflictError',
        code: 409,
        data: { conflicts: [{ path: 'automations/a.yml', places: ['do[1].set.value'] }] },
      });
      expect((await ada.call('workspaces.get', { workspaceId })).writeLock).toMatchObject({ reason: 'merge_conflict' });
      expect(await faultOf(edit(1, 'later'))).toBe('WorkspaceLocked');
      expect(await faultOf(push(ada, workspaceId, 'v2'))).toBe('WorkspaceLocked');
      expect(await faultOf(pull(ada, workspaceId))).toBe('MergeConflictError');
      expect(server.file('conflict', 'automations/a.yml', own)).toContain('mine too');

      // A person merges in a clone, deciding for one side, as any git user would.
      const resolved = server.resolve('conflict', own, 'main', { 'automations/a.yml': theirs('mine', 'decided') });
      expect(resolved).toMatch(/^[0-9a-f]{40}$/);
      await pull(ada, workspaceId);

      expect((await automation(ada, workspaceId, 'a')).do[1].set.value).toBe('decided');
      expect((await ada.call('workspaces.get', { workspaceId })).writeLock).toBeUndefined();
      await push(ada, workspaceId, 'v2');
      expect(server.file('conflict', 'automations/a.yml')).toBe(theirs('mine', 'decided'));
    });

    it('makes one of two installations that work at random, whatever their order and conflicts', async () => {
      const seed = Math.floor(Math.random() * 100_000);
      let state = seed;
      const below = (n: number) => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
        return (state >> 8) % n;
      };
      const { url } = server.create('random');
      const sides: [Caller, string][] = [
        [ada, await joined(ada, url)],
        [ben, await joined(ben, url)],
      ];
      let count = 0;
      const edit = async ([caller, id]: [Caller, string]) => {
        const slug = `a${below(4)}`;
        const known = await automation(caller, id, slug).catch(() => null);
        const steps = Array.from({ length: 4 }, (_, at) => ({ set: { name: `v${at}`, value: 0 } }));
        if (!known) await caller.call('automations.create', { workspaceId: id, body: { slug, name: slug, do: steps } });
        else if (below(5) === 0) await caller.call('automations.remove', { workspaceId: id, slug });
        else {
          const at = below(known.do.length);
          const changed = known.do.map((step: any, index: number) => (index === at ? { set: { ...step.set, value: ++count } } : step));
          await caller.call('automations.update', { workspaceId: id, slug, body: { do: changed } });
        }
      };
      const meet = async ([caller, id]: [Caller, string]) => {
        const outcome = await faultOf(pull(caller, id));
        if (outcome === 'MergeConflictError') {
          await caller.call('workspaces.unlock', { workspaceId: id });
          await pull(caller, id, 'latest', { discardLocalChanges: true });
        } else expect({ seed, outcome }).toEqual({ seed, outcome: 'none' });
      };
      const offer = async ([caller, id]: [Caller, string]) => {
        const outcome = await push(caller, id, `r${++count}`).then(
          () => 'done',
          (error) => error.message,
        );
        if (outcome !== 'done') expect({ seed, outcome }).toEqual({ seed, outcome: expect.stringContaining('not up-to-date') });
      };
      await edit(sides[0] as [Caller, string]);
      await offer(sides[0] as [Caller, string]);
      for (let step = 0; step < 12; step++) await [edit, edit, meet, offer][below(4)]?.(sides[below(2)] as [Caller, string]);
      for (let round = 0; round < 2; round++)
        for (const side of sides) {
          await meet(side);
          await offer(side);
        }
      await meet(sides[0] as [Caller, string]);

      const [mine, theirs] = await Promise.all(
        sides.map(async ([, id]) => (await platform.system.call('workspaces.model', { workspaceId: id })).automations),
      );
      expect({ seed, automations: mine }).toEqual({ seed, automations: theirs });
      expect(server.git('random', 'fsck', '--strict')).toBe('');
    });

    it('takes a tag or a commit as it was, and discards local changes when asked, keeping them as a version', async () => {
      const { url } = server.create('tags');
      const workspaceId = await joined(ada, url);
      await write(ada, workspaceId, 'hello', 1);
      await push(ada, workspaceId, 'v1');
      await write(ada, workspaceId, 'hello', 2);
      await write(ada, workspaceId, 'added', 2);
      await push(ada, workspaceId, 'v2');
      const second = server.git('tags', 'rev-parse', 'main');

      const back = await ada.call('versions.pull', { workspaceId, versionId: 'v1', body: {} });
      expect(back.deleted).toEqual(['automations/added.yml']);
      expect((await automation(ada, workspaceId, 'hello')).output).toBe(1);
      await pull(ada, workspaceId, second);
      expect((await automation(ada, workspaceId, 'hello')).output).toBe(2);

      await write(ada, workspaceId, 'hello', 'unsaved');
      await pull(ada, workspaceId, 'latest', { discardLocalChanges: true });
      expect((await automation(ada, workspaceId, 'hello')).output).toBe(2);
      const kept = (await ada.call('versions.list', { workspaceId })).find(({ name }: any) => name.startsWith('before-pull'));
      await ada.call('versions.pull', { workspaceId, versionId: kept.name, body: {} });
      expect((await automation(ada, workspaceId, 'hello')).output).toBe('unsaved');

      expect(await faultOf(pull(ada, workspaceId, 'v9'))).toBe('ObjectNotFoundError');
      expect(await faultOf(ada.call('versions.remove', { workspaceId, versionId: 'v1' }))).toBe('none');
      expect(server.git('tags', 'tag')).toBe('v1\nv2');
    });

    it('leaves excluded paths alone, and a read-only repository unchanged', async () => {
      const { url } = server.create('readonly', {
        'index.yml': 'name: Read only\n',
        'security.yml': 'authorizations:\n  roles: { editor: {}, theirs: {} }\n',
        'pages/banner.yml': 'name: Theirs\n',
        'automations/a.yml': 'name: A\ndo: []\noutput: 1\n',
      });
      const workspaceId = await joined(ada, url, {
        mode: 'read-only',
        pull: { exclude: [{ path: 'security' }, { path: 'pages/banner' }] },
      });
      await ada.call('pages.create', { workspaceId, body: { slug: 'banner', name: 'Ours' } });
      const before = await ada.call('security.get', { workspaceId });

      await pull(ada, workspaceId);
      await write(ada, workspaceId, 'mine', 1);
      server.commit('readonly', { 'automations/a.yml': 'name: A\ndo: []\noutput: 2\n' });
      await pull(ada, workspaceId);

      expect(await ada.call('security.get', { workspaceId })).toEqual(before);
      expect((await ada.call('pages.get', { workspaceId, slug: 'banner' })).name).toBe('Ours');
      expect((await automation(ada, workspaceId, 'a')).output).toBe(2);
      expect((await automation(ada, workspaceId, 'mine')).output).toBe(1);
      expect(server.git('readonly', 'branch', '--list')).toBe('* main');
    });

    it('names what is wrong, never with the password, and changes nothing', async () => {
      const { url } = server.create('wrong', { 'index.yml': 'name: Wrong\n' });
      const workspaceId = await joined(ada, url);
      const { revision } = await ada.call('workspaces.get', { workspaceId });
      await ada.call('secrets.patch', { workspaceId, body: { gitToken: { value: 'an-old-password' } } });

      const refused = await pull(ada, workspaceId).catch((error) => error);
      expect(refused).toMatchObject({ type: 'ForbiddenError', message: expect.stringContaining(server.host) });
      expect(JSON.stringify([refused.message, refused.data])).not.toContain('an-old-password');
      await ada.call('secrets.patch', { workspaceId, body: { gitToken: { value: GIT_PASSWORD } } });

      const attempts: [object, string][] = [
        [repository(url.replace('wrong.git', 'nowhere.git')), 'ObjectNotFoundError'],
        [repository(url, {}, { branch: 'other' }), 'ObjectNotFoundError'],
        [repository(url, {}, { dirpath: 'nothing/here' }), 'ObjectNotFoundError'],
        [repository(url, { mode: 'write-only' }), 'ForbiddenError'],
        [repository('http://127.0.0.1:1/x.git'), 'ForbiddenHostError'],
        [repository('https://169.254.169.254/x.git'), 'ForbiddenHostError'],
        [repository('ssh://git@example.org/x.git', {}, { auth: {} }), 'PrismeError'],
        [repository(url, {}, { auth: { user: GIT_USER, password: '{{secret.nope}}' } }), 'MissingFieldError'],
      ];
      for (const [repositories, type] of attempts) {
        await ada.call('workspaces.update', { workspaceId, body: { repositories } });
        expect([repositories, await faultOf(pull(ada, workspaceId))]).toEqual([repositories, type]);
      }
      for (const bad of ['file:///etc', '/etc', 'https://me:secret@example.org/x.git'])
        expect([bad, await faultOf(ada.call('workspaces.update', { workspaceId, body: { repositories: repository(bad) } }))]).toEqual([
          bad,
          'RequestValidationError',
        ]);
      const after = await ada.call('workspaces.get', { workspaceId });
      expect(after.writeLock).toBeUndefined();
      expect(after.automations).toEqual({});
      expect(after.name).toBe(`Git ${count}`);
      expect(after.revision).toBeGreaterThan(revision);
      expect(JSON.stringify(platform.events)).not.toContain('an-old-password');
    });
  });

  describe('credentials typed into a repository', () => {
    it('are sealed, never shown, kept when sent back hidden, and work', async () => {
      const { url } = server.create('typed');
      const { id: workspaceId } = await ada.call('workspaces.create', { body: { name: 'Typed' } });
      const repositories = repository(url, {}, { auth: { user: GIT_USER, password: GIT_PASSWORD } });
      const shown = await ada.call('workspaces.update', { workspaceId, body: { repositories } });
      const again = await ada.call('workspaces.get', { workspaceId });

      expect(shown.repositories.main.config.auth).toEqual({ user: GIT_USER, password: '********' });
      expect(again.repositories).toEqual(shown.repositories);
      await ada.call('workspaces.update', { workspaceId, body: { name: 'Typed again', repositories: again.repositories } });
      const renamed = { main: { ...again.repositories.main, name: 'Renamed' } };
      await ada.call('workspaces.update', { workspaceId, body: { repositories: renamed } });
      await push(ada, workspaceId, 'v1');

      expect(server.git('typed', 'tag')).toBe('v1');
      const model = await platform.system.call('workspaces.model', { workspaceId });
      const copy = await ada.call('versions.duplicate', { workspaceId, versionId: 'current' });
      const diff = await ada.call('versions.diff', { workspaceId, versionId: 'current' });
      const { body } = await ada.ask<AsyncIterable<Buffer>>('archives.export', { workspaceId });
      const parts: Buffer[] = [];
      for await (const part of body) parts.push(part);
      const { unzip } = await import('../../services/workspaces/archive/unzip.ts');
      const exported = [...unzip(Buffer.concat(parts)).values()].map(String).join('\n');
      const stored = await (platform.broker.getLocalService('workspaces') as any).store.current(workspaceId);
      for (const text of [exported, ...[model, copy, diff, platform.events, shown, stored].map((value) => JSON.stringify(value))])
        expect(text).not.toContain(GIT_PASSWORD);
      expect(exported).not.toContain('sealed:');
      expect(
        await faultOf(ada.call('workspaces.update', { workspaceId, body: { repositories: { other: again.repositories.main } } })),
      ).toBe('RequestValidationError');
    });
  });

  describe('a repository of the platform', () => {
    it('is shown without credentials, holds each workspace in a folder of its own, and may be a path of this machine', async () => {
      const one = (await ada.call('workspaces.create', { body: { name: 'One', slug: 'plat-one' } })).id;
      const two = (await ben.call('workspaces.create', { body: { name: 'Two', slug: 'plat-two' } })).id;
      for (const [caller, id] of [
        [ada, one],
        [ben, two],
      ] as const) {
        await write(caller, id, 'hello', caller.id);
        await caller.call('versions.publish', {
          workspaceId: id,
          body: { description: 'x', name: `${caller.id}-1`, repository: { id: 'local' } },
        });
      }
      const { platformRepositories } = await ada.call('workspaces.get', { workspaceId: one });

      expect(platformRepositories.local).toMatchObject({ name: 'Local', type: 'git', mode: 'read-write' });
      expect(JSON.stringify(platformRepositories)).not.toContain('not-to-be-shown');
      expect(server.file('platform', 'workspaces/plat-one/automations/hello.yml')).toContain('output: ada');
      expect(server.file('platform', 'workspaces/plat-two/automations/hello.yml')).toContain('output: ben');
      expect(server.git('platform', 'fsck', '--strict')).toBe('');
      server.commit('platform', { 'workspaces/plat-one/automations/hello.yml': 'name: hello\ndo: []\noutput: by hand\n' });
      await ada.call('versions.pull', { workspaceId: one, versionId: 'latest', body: { repository: { id: 'local' } } });
      expect((await automation(ada, one, 'hello')).output).toBe('by hand');
      expect(
        await faultOf(ben.call('versions.pull', { workspaceId: one, versionId: 'latest', body: { repository: { id: 'local' } } })),
      ).toBe('ForbiddenError');
    });

    it('gives what another workspace pushed to super admins only, whoever takes its slug', async () => {
      server.commit('platform', {
        'workspaces/left/index.yml': 'name: Left behind\n',
        'workspaces/left/.import.yml': 'workspaceId: gone\n',
      });
      const { id } = await ada.call('workspaces.create', { body: { name: 'Left', slug: 'left' } });
      const take = (caller: Caller) =>
        caller.call('versions.pull', { workspaceId: id, versionId: 'latest', body: { repository: { id: 'local' } } });
      const give = { workspaceId: id, body: { description: 'x', name: 'mine', repository: { id: 'local' } } };

      expect(await faultOf(take(ada))).toBe('ForbiddenError');
      expect(await faultOf(ada.call('versions.publish', give))).toBe('PrismeError');
      expect((await ada.call('workspaces.get', { workspaceId: id })).name).toBe('Left');
      expect(server.file('platform', 'workspaces/left/index.yml')).toBe('name: Left behind\n');
      await take(platform.as('root', { role: 'superadmin' }));
      expect((await ada.call('workspaces.get', { workspaceId: id })).name).toBe('Left behind');
      await take(ada);
    });

    it('takes and gives many workspaces at once, for super admins', async () => {
      const admin = platform.as('root', { role: 'superadmin' });
      const repository = { id: 'many' };
      const labelled = (slug: string, label: string, more: object = {}) =>
        ada.call('workspaces.create', {
          body: { name: slug, slug, labels: [label], description: 'x', photo: 'https://x.example/p.png', ...more },
        });
      const [one, two] = [await labelled('bulk-one', 'group:core'), await labelled('bulk-two', 'group:base')];
      await labelled('bulk-other', 'group:other');
      await write(ada, one.id, 'hello', 1);
      await ada.call('apps.publish', { body: { workspaceId: one.id, slug: 'Bulk app' } });
      await ada.call('appInstances.install', { workspaceId: two.id, body: { appSlug: 'Bulk app', slug: 'app' } });
      const send = (body: object) =>
        admin.call('versions.publish', { workspaceId: 'platform', body: { groups: ['core'], repository, ...body } });

      expect(await send({ dryRun: true })).toMatchObject({ candidate: ['bulk-one', 'bulk-two'], pushed: [] });
      expect(server.git('many', 'branch', '--list')).toBe('');
      expect(await send({ name: 'r1' })).toMatchObject({ pushed: ['bulk-one', 'bulk-two'], errors: [], name: 'r1' });
      expect(server.git('many', 'tag')).toBe('bulk-one/r1\nbulk-two/r1');
      expect(server.file('many', 'bulk-other/index.yml')).toBeNull();
      await write(ada, two.id, 'more', 1);
      expect(await send({ name: 'r2' })).toMatchObject({ alreadyPushed: ['bulk-one'], pushed: ['bulk-two'] });
      await ada.call('workspaces.lock', { workspaceId: two.id, body: { reason: 'merge_conflict' } });
      expect(await send({ name: 'r3', force: true })).toMatchObject({ mergeConflict: ['bulk-two'], pushed: ['bulk-one'] });
      await ada.call('workspaces.unlock', { workspaceId: two.id });
      expect((await ada.call('versions.pull', { workspaceId: two.id, versionId: 'r1', body: { repository } })).deleted).toEqual([
        'automations/more.yml',
      ]);

      // Another platform: what depends on an app comes after it, and groups are read from the files.
      await ada.call('apps.remove', { appSlug: 'Bulk app' });
      for (const { id } of [one, two]) await ada.call('workspaces.remove', { workspaceId: id });
      const origin = (slug: string) => server.file('many', `${slug}/.import.yml`);
      server.commit('many', {
        'bulk-one/.import.yml': `${origin('bulk-one')}groups: [core]\n`,
        'bulk-two/.import.yml': `${origin('bulk-two')}groups: [core]\ndependsOn: [app/Bulk app]\n`,
        'a-broken/index.yml': 'name: [\n',
        'a-broken/.import.yml': 'groups: [core]\n',
        'later/index.yml': 'name: Later\n',
        'docs/readme.md': 'not a workspace',
      });
      const take = (body: object = {}) =>
        admin.call('versions.pull', { workspaceId: 'platform', versionId: 'latest', body: { groups: ['core'], repository, ...body } });
      const taken = await take();
      expect(taken).toMatchObject({ publishedApps: ['Bulk app'], skipped: [], updatedWorkspaceIds: [], errors: [{ slug: 'a-broken' }] });
      const rows = await admin.call('workspaces.list', { query: { search: 'bulk-' } });
      expect(rows.map(({ slug }: any) => slug).sort()).toEqual(['bulk-one', 'bulk-other', 'bulk-two']);
      const again = rows.find(({ slug }: any) => slug === 'bulk-two');
      expect((await admin.call('workspaces.get', { workspaceId: again.id })).imports.app.broken).toBeUndefined();
      expect(await take()).toMatchObject({ skipped: ['bulk-one', 'bulk-two'], createdWorkspaceIds: [] });
      expect((await take({ forceReimport: true })).updatedWorkspaceIds).toHaveLength(2);
      expect(await admin.call('workspaces.list', { query: { search: 'a-broken' } })).toEqual([]);

      for (const caller of [ada, platform.anonymous])
        expect(await faultOf(caller.call('versions.publish', { workspaceId: 'platform', body: { groups: ['core'], repository } }))).toBe(
          'ForbiddenError',
        );
      expect(await faultOf(send({ groups: ['nope'] }))).toBe('ObjectNotFoundError');
      expect(await faultOf(take({ repository: { id: 'nope' } }))).toBe('ObjectNotFoundError');
      expect(await faultOf(ada.call('versions.publish', { workspaceId: rows[0].id, body: { description: 'x', repository: 'main' } }))).toBe(
        'RequestValidationError',
      );
      await eventually(() =>
        expect(platform.events.filter(({ type }) => type === 'workspaces.bulkImport.completed').length).toBeGreaterThan(0),
      );
    });
  });
}
