import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fault } from '../../../mixins/shared/errors.ts';
import { historyOf } from '../../../services/workspaces/store/history.ts';
import { ADA, newRow, type TestStore, testStore } from '../../support/workspace-store.ts';

const HELLO = { name: 'Hello', do: [{ emit: { event: 'hello' } }] };

describe('the store of workspaces', () => {
  let t: TestStore;
  beforeEach(async () => {
    t = await testStore();
    await t.store.create(newRow('w1'), ADA, (draft) => {
      draft.putIndex({ id: 'w1', name: 'One', slug: 'w1' });
      draft.event('workspaces.created', { workspace: { id: 'w1' } });
    });
  });
  afterEach(() => t.close());

  const automation = (slug: string) => join(t.dataDir, 'models/workspaces/w1/versions/current/automations', `${slug}.yml`);
  const put = (slug: string, value: object = HELLO) =>
    t.store.change('w1', ADA, (draft) => {
      draft.put('automations', slug, value as never);
      draft.event('workspaces.automations.updated', { slug });
    });

  it('keeps a workspace as readable files and counts its revisions', async () => {
    const { revision } = await put('v1/hello');

    expect(revision).toBe(2);
    expect(readFileSync(automation('v1/hello'), 'utf8')).toBe('name: Hello\ndo:\n  - emit:\n      event: hello\n');
    t = await t.reopen();
    const { snapshot, row } = await t.store.current('w1');
    expect(row.revision).toBe(2);
    expect(snapshot.automations).toEqual({ 'v1/hello': HELLO });
    expect(snapshot.meta.automations['v1/hello']).toMatchObject({ createdBy: 'u_ada', revision: 2, checksum: expect.any(String) });
  });

  it('sends events with the revision, once, after the change', async () => {
    await put('a');
    await t.store.change('w1', ADA, (draft) => void draft.put('automations', 'a', HELLO));

    expect(t.sent.map(({ type, payload }) => [type, payload.revision])).toEqual([
      ['workspaces.created', 1],
      ['workspaces.automations.updated', 2],
    ]);
    expect(t.sent[1]?.source).toMatchObject({ workspaceId: 'w1', userId: 'u_ada', correlationId: 'c1' });
  });

  it('writes nothing when the change throws', async () => {
    const work = t.store.change('w1', ADA, (draft) => {
      draft.put('automations', 'a', HELLO);
      throw fault('InvalidSlugError');
    });

    await expect(work).rejects.toMatchObject({ type: 'InvalidSlugError' });
    expect((await t.store.current('w1')).snapshot.automations).toEqual({});
    expect(existsSync(automation('a'))).toBe(false);
  });

  it('loses no change of fifty editors at once', async () => {
    await Promise.all(Array.from({ length: 50 }, (_, n) => put(`auto-${n}`)));

    const { snapshot, row } = await t.store.current('w1');
    expect(Object.keys(snapshot.automations)).toHaveLength(50);
    expect(row.revision).toBe(51);
  });

  it('keeps what the last hundred changes replaced, and no more', async () => {
    for (let n = 0; n < 105; n++) await put('a', { ...HELLO, n });
    const kept: string[] = [];
    for await (const { key } of t.store.files.list('workspaces/w1/history')) kept.push(key);

    expect(kept).toHaveLength(100);
    const [newest] = await historyOf(t.store.files, 'w1', 1, () => true);
    expect(newest).toMatchObject({ by: 'u_ada', changes: [{ type: 'automations', slug: 'a', change: 'updated' }] });
    expect((await t.store.current('w1')).row.revision).toBe(newest?.revision);
  });

  it('lets two processes edit one workspace, losing nothing', async () => {
    const other = await testStore({ owner: 'other' }, t.dataDir);

    await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        (n % 2 ? t : other).store.change('w1', ADA, (draft) => void draft.put('automations', `auto-${n}`, HELLO)),
      ),
    );

    expect(Object.keys((await other.store.current('w1')).snapshot.automations)).toHaveLength(20);
    expect(Object.keys((await t.store.current('w1')).snapshot.automations)).toHaveLength(20);
    await other.store.idle();
  });

  it('finishes a committed change whose process died before its files', async () => {
    let dies = true;
    const dying = await t.reopen({
      send: async () => {
        if (dies) throw new Error('killed');
      },
    });
    t = dying;
    await put('a');
    expect((await t.store.row('w1')).journal).toBeDefined();

    dies = false;
    t = await t.reopen();
    expect(await t.store.recover()).toBe(1);

    expect((await t.store.row('w1')).journal).toBeUndefined();
    expect(t.sent.map(({ type }) => type)).toEqual(['workspaces.automations.updated']);
    expect((await t.store.current('w1')).snapshot.automations).toEqual({ a: HELLO });
  });

  it('keeps comments and order of what an edit does not touch', async () => {
    await put('a', { name: 'Hello', do: [{ emit: { event: 'one' } }, { emit: { event: 'two' } }] });
    const written =
      '# what it does\nname: Hello # said aloud\ndo:\n  # first\n  - emit: { event: one }\n  - emit:\n      event: two # second\n';
    writeFileSync(automation('a'), written);
    t = await t.reopen();

    await put('a', { name: 'Hello', do: [{ emit: { event: 'one' } }, { emit: { event: 'changed' } }], output: 'x' });

    const text = readFileSync(automation('a'), 'utf8');
    expect(text).toContain('# what it does\nname: Hello # said aloud');
    expect(text).toContain('  # first\n  - emit: { event: one }');
    expect(text).toContain('event: changed # second');
    expect(text).toContain('output: x');
  });

  it('removes a workspace with all it holds', async () => {
    await put('a');

    await t.store.remove('w1', ADA, (draft) => draft.event('workspaces.deleted', { workspaceId: 'w1', workspaceSlug: 'w1' }));

    await expect(t.store.current('w1')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
    expect(existsSync(join(t.dataDir, 'models/workspaces/w1'))).toBe(false);
    expect(t.sent.at(-1)?.type).toBe('workspaces.deleted');
  });

  it('opens a tree of an existing data directory as it is', async () => {
    const folder = 'workspaces/old-one/versions/current';
    await t.store.files.write(`${folder}/index.yml`, 'name: Old\nslug: old-slug\nlabels: [a]\n');
    await t.store.files.write(`${folder}/automations/hello.yml`, 'name: Hello\ndo: []\n');
    await t.store.files.write(
      `${folder}/automations/__index__.yml`,
      "hello:\n  name: Hello\n  createdAt: '2024-10-01T00:00:00.000Z'\n  createdBy: u_old\n",
    );
    await t.store.files.write(`${folder}/runtime.yml`, 'name: Old\n');
    await t.store.files.write('workspaces/old-one/versions/v1/index.yml', 'name: Old\n');

    const { row, snapshot } = await t.store.current('old-one');

    expect(row).toMatchObject({ name: 'Old', slug: 'old-slug', labels: ['a'], versions: [{ name: 'v1' }] });
    expect(snapshot.automations).toEqual({ hello: { name: 'Hello', do: [] } });
    expect(snapshot.meta.automations.hello).toMatchObject({ createdBy: 'u_old', createdAt: '2024-10-01T00:00:00.000Z' });
  });

  it('reports a file that cannot be read and keeps the others', async () => {
    await put('a');
    writeFileSync(automation('b'), 'name: [');
    t = await t.reopen();

    const { snapshot } = await t.store.current('w1');

    expect(Object.keys(snapshot.automations)).toEqual(['a']);
    expect(snapshot.errors).toEqual([expect.objectContaining({ file: 'automations/b.yml', error: 'RequestValidationError' })]);
  });
});
