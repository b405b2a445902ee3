import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { sweepTemporaryCopies } from '../../services/workspaces/git/remote.ts';
import { eventually } from '../support/eventually.ts';
import { faultOf, startWorkspaces } from '../support/workspace-services.ts';

const folder = () => mkdtempSync(join(tmpdir(), 'ws-start-'));
const key = (kid: string, active = false) => ({ kid, key: randomBytes(32).toString('hex'), active });

describe('a data directory of the reference product', () => {
  it('is opened as it is: workspaces, pages, versions and apps', async () => {
    const dataDir = folder();
    const files: Record<string, string> = {
      'workspaces/kT4_x9Q/versions/current/index.yml':
        'id: kT4_x9Q\nname: Orchard # ours\nslug: orchard\nlabels: [team:help]\nconfig:\n  value: { a: 1 }\n',
      'workspaces/kT4_x9Q/versions/current/security.yml':
        'authorizations:\n  roles: { editor: {} }\n  rules:\n    - { role: editor, action: read, subject: workspaces }\n',
      'workspaces/kT4_x9Q/versions/current/runtime.yml': 'id: kT4_x9Q\n',
      'workspaces/kT4_x9Q/versions/current/automations/open-ticket.yml': '# Opens one\nname: Open a ticket\ndo: []\n',
      'workspaces/kT4_x9Q/versions/current/automations/__index__.yml':
        "open-ticket: { name: Open a ticket, createdAt: '2024-03-02T09:00:00.000Z', createdBy: u_ana }\n",
      'workspaces/kT4_x9Q/versions/current/pages/docs/setup.yml': 'id: pg1\nname: Setup\nslug: docs/setup\nblocks: []\n',
      'workspaces/kT4_x9Q/versions/current/pages/__index__.yml': '{}\n',
      'workspaces/kT4_x9Q/versions/current/imports/Mail.yml': 'appSlug: Mail Box\nslug: Mail\nconfig: { from: me }\n',
      'workspaces/kT4_x9Q/versions/1.0/index.yml': 'name: Orchard\n',
      'workspaces/twin/versions/current/index.yml': 'name: Twin\nslug: orchard\n',
      'workspaces/twin/status.yml': 'workspaceId: twin\nsuspended: true\nreason: unpaid\n',
      'workspaces/kT4_x9Q/status.yml': 'workspaceId: kT4_x9Q\nsuspended: false\n',
      'workspaces/broken/versions/current/index.yml': 'name: [\n',
      'apps/Mail Box/versions/current/index.yml': 'id: mail\nname: Mail Box\nconfig:\n  schema: { from: { type: string } }\n',
      'apps/Mail Box/versions/current/automations/send.yml': 'name: Send\ndo: []\n',
      'apps/Mail Box/versions/1/index.yml': 'id: mail\nname: Mail Box\n',
      'pages/orchard/docs/setup.yml': 'name: Setup\n',
    };
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dataDir, 'models', path)), { recursive: true });
      writeFileSync(join(dataDir, 'models', path), text);
    }
    const platform = await startWorkspaces({ dataDir });
    try {
      const admin = platform.as('root', { role: 'superadmin' });
      const rows = await admin.call('workspaces.list', { query: {} });
      expect(rows.map(({ id }: any) => id).sort()).toEqual(['kT4_x9Q', 'twin']);
      expect(rows.find(({ id }: any) => id === 'kT4_x9Q')).toMatchObject({ versions: [{ name: '1.0' }], labels: ['team:help'] });
      expect(new Set(rows.map(({ slug }: any) => slug)).size).toBe(2);
      const orchard = await admin.call('workspaces.get', { workspaceId: 'kT4_x9Q' });
      expect(orchard.automations['open-ticket']).toMatchObject({ name: 'Open a ticket', createdBy: 'u_ana' });
      expect(orchard.imports.Mail).toMatchObject({ appSlug: 'Mail Box', automations: [{ slug: 'send' }] });
      expect(orchard.imports.Mail.broken).toBeUndefined();
      expect(await admin.call('apps.get', { appSlug: 'Mail Box' })).toMatchObject({ workspaceId: 'mail', versions: [{ name: '1' }] });
      expect(await admin.call('pages.get', { workspaceId: 'kT4_x9Q', slug: 'docs/setup' })).toMatchObject({ id: 'pg1' });
      expect(orchard.suspension).toBeUndefined();
      const twin = await admin.call('workspaces.get', { workspaceId: 'twin' });
      expect(twin.suspension).toEqual({ reason: 'unpaid', suspendedAt: expect.any(String) });
      const body = { target: { id: 'ada' }, permissions: { role: 'owner' } };
      await admin.call('permissions.workspacesShare', { subjectId: 'kT4_x9Q', body });
      await admin.call('permissions.pagesShare', {
        subjectId: 'pg1',
        body: { target: { public: true }, permissions: { policies: { read: true } } },
      });

      const ada = platform.as('ada');
      await ada.call('automations.update', { workspaceId: 'kT4_x9Q', slug: 'open-ticket', body: { description: 'Now described' } });
      await ada.call('workspaces.update', { workspaceId: 'kT4_x9Q', body: { description: 'Help' } });
      const tree = join(dataDir, 'models/workspaces/kT4_x9Q/versions/current');
      expect(readFileSync(join(tree, 'automations/open-ticket.yml'), 'utf8')).toBe(
        '# Opens one\nname: Open a ticket\ndo: []\ndescription: Now described\n',
      );
      expect(readFileSync(join(tree, 'index.yml'), 'utf8')).toMatch(/^id: kT4_x9Q\nname: Orchard # ours\n/);
      expect((await platform.anonymous.call('pages.getPublic', { workspaceSlug: orchard.slug, slug: 'docs/setup' })).name).toBe('Setup');
    } finally {
      await platform.stop();
    }
  });
});

describe('a rotation of the master key', () => {
  it('seals every secret and repository password again, after which the former key may go', async () => {
    const dataDir = folder();
    const [a, b] = [key('a', true), key('b', true)];
    const start = (keys: object[]) => startWorkspaces({ dataDir, env: { SECRETS_MASTER_KEYS: JSON.stringify(keys) } });
    const sealedOf = async (platform: Awaited<ReturnType<typeof start>>) =>
      (await (platform.broker.getLocalService('secrets') as any).store.documents.find('secrets', {})).map(
        ({ sealed }: any) => String(sealed).split('.')[1],
      );

    let platform = await start([a]);
    const { id: workspaceId } = await platform.as('ada').call('workspaces.create', { body: { name: 'Keys' } });
    const secrets = Object.fromEntries(Array.from({ length: 25 }, (_, n) => [`s${n}`, { value: `value-${n}` }]));
    await platform.as('ada').call('secrets.patch', { workspaceId, body: secrets });
    const auth = { user: 'me', password: 'typed-password' };
    const repositories = { main: { name: 'Main', config: { url: 'https://git.example.org/x.git', branch: 'main', auth } } };
    await platform.as('ada').call('workspaces.update', { workspaceId, body: { repositories } });
    expect(new Set(await sealedOf(platform))).toEqual(new Set(['a']));
    await platform.stop({ keep: true });

    platform = await start([{ ...a, active: false }, b]);
    await eventually(async () => expect(new Set(await sealedOf(platform))).toEqual(new Set(['b'])));
    const index = () => readFileSync(join(dataDir, 'models/workspaces', workspaceId, 'versions/current/index.yml'), 'utf8');
    await eventually(() => expect(index()).toContain('sealed:v1.b.'));
    await platform.stop({ keep: true });

    platform = await start([b]);
    expect((await platform.as('ada').call('secrets.list', { workspaceId })).s7.value).toBe('value-7');
    await platform.stop({ keep: true });
    const everything = readdirSync(dataDir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
      .join('\n');
    expect(everything).not.toContain('typed-password');
    expect(everything).not.toContain('value-7');

    platform = await start([key('c', true)]);
    expect(await faultOf(platform.as('ada').call('secrets.list', { workspaceId }))).toBe('ConfigurationError');
    await platform.stop({ keep: true });
    rmSync(dataDir, { recursive: true, force: true });
  });
});

describe('copies of repositories that a killed process left behind', () => {
  it('go when they are old', async () => {
    const [old, fresh] = [mkdtempSync(join(tmpdir(), 'prisme-git-')), mkdtempSync(join(tmpdir(), 'prisme-git-'))];
    writeFileSync(join(old, 'HEAD'), 'ref: refs/heads/main');
    const yesterday = new Date(Date.now() - 86_400_000);
    utimesSync(old, yesterday, yesterday);

    await sweepTemporaryCopies();

    expect([existsSync(old), existsSync(fresh)]).toEqual([false, true]);
    rmSync(fresh, { recursive: true });
  });
});

describe('locks that a killed process left behind', () => {
  it('end when the process is back, if it is alone on its stores', async () => {
    const dataDir = folder();
    let platform = await startWorkspaces({ dataDir });
    const { id: workspaceId } = await platform.as('ada').call('workspaces.create', { body: { name: 'Locked' } });
    const lock = (reason: string) =>
      (platform.broker.getLocalService('workspaces') as any).store.change(workspaceId, { source: {} }, (draft: any) =>
        draft.setRow({ writeLock: { lockedAt: draft.now, reason } }),
      );
    await lock('pull_in_progress');
    await platform.stop({ keep: true });

    platform = await startWorkspaces({ dataDir });
    expect(await faultOf(platform.as('ada').call('workspaces.update', { workspaceId, body: { name: 'Free' } }))).toBe('none');
    await lock('manual');
    await platform.stop({ keep: true });
    platform = await startWorkspaces({ dataDir });
    expect(await faultOf(platform.as('ada').call('workspaces.update', { workspaceId, body: { name: 'No' } }))).toBe('WorkspaceLocked');
    await platform.stop();
  });
});
