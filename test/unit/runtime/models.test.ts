import { describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../../mixins/shared/config.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import { keyRing } from '../../../mixins/shared/keyring.ts';
import type { CompiledWorkspace, WorkspaceSource } from '../../../services/runtime/interpreter/index.ts';
import { createModels, isModelOf, type ModelSources } from '../../../services/runtime/models.ts';
import type { ModelAnswer } from '../../../services/workspaces/contract.ts';
import { eventually } from '../../support/eventually.ts';

const ring = keyRing([{ kid: 'k', key: 'ab'.repeat(32) }]);
const compile = (source: WorkspaceSource): CompiledWorkspace => ({
  source,
  problems: [],
  automations: new Map(
    Object.keys(source.automations).map((slug) => [
      slug,
      {
        slug,
        isPrivate: false,
        isDisabled: false,
        triggers: { events: [], endpoint: slug, schedules: [] },
        secretPaths: [],
        redactPaths: { payload: [], output: [] },
        body: null,
      },
    ]),
  ),
});
const answer = (over: Partial<ModelAnswer> = {}): ModelAnswer => ({
  id: 'w',
  slug: 'shop',
  name: 'Shop',
  revision: 1,
  config: { value: {} },
  automations: { hello: {} },
  imports: {},
  ...over,
});
const event = (type: string, payload: object) =>
  ({ id: 'e', type, payload, source: { correlationId: 'c', serviceTopic: type }, createdAt: '', size: 0 }) as unknown as PrismeEvent;

function open(sources: Partial<ModelSources>) {
  const reads: string[] = [];
  const models = createModels({
    sources: {
      workspace: async (id) => {
        reads.push(id);
        return (sources.workspace ?? (async () => answer()))(id);
      },
      app: sources.app ?? (async () => answer({ id: 'app', slug: 'App', automations: { run: {} } })),
      revisions: sources.revisions ?? (async () => ({})),
      removed: sources.removed ?? (async () => null),
      formerInstance: sources.formerInstance ?? (async () => null),
      appRevisions: sources.appRevisions ?? (async () => ({})),
      resolve: sources.resolve ?? (async () => ({ id: 'w' })),
    },
    compile,
    keys: () => ring,
    config: loadConfig(
      {},
      { open: { WORKSPACE_CONFIG_shop_region: 'eu', APP_CONFIG_App_mode: 'fast', ADDITIONAL_GLOBAL_VARS_brand: 'B' } },
    ),
  });
  return { models, reads };
}

describe('models', () => {
  it('are read once, however many ask at the same time', async () => {
    const { models, reads } = open({});

    const found = await Promise.all([models.get('w'), models.get('w'), models.get('w')]);

    expect(reads).toEqual(['w']);
    expect(new Set(found).size).toBe(1);
    expect(found[0]?.root.computedGlobals).toMatchObject({
      workspaceId: 'w',
      workspaceName: 'Shop',
      brand: 'B',
      endpoints: { hello: expect.stringMatching(/\/workspaces\/w\/webhooks\/hello$/) },
    });
  });

  it('hold configuration, secrets and app instances, nested ones too', async () => {
    const sealed = {
      k: { type: 'string' as const, sealed: ring.seal('top', 'secret/w/k') },
      prismeai_ratelimit_emits: { type: 'number' as const, sealed: ring.seal('5', 'secret/w/prismeai_ratelimit_emits') },
    };
    const { models } = open({
      workspace: async () =>
        answer({
          config: { value: { key: '{{secret.k}}' } },
          secrets: sealed,
          imports: { crm: { appSlug: 'App', config: { token: '{{config.key}}' } } },
        }),
      app: async (slug) =>
        slug === 'App'
          ? answer({
              id: 'a',
              slug: 'App',
              config: { value: { mode: 'slow', base: 'b' } },
              imports: { mail: { appSlug: 'Mail', config: { all: '{{config}}' } } },
            })
          : answer({ id: 'm', slug: 'Mail' }),
    });

    const { root, systemSecrets } = await models.get('w');

    expect(root.config).toEqual({ region: 'eu', key: 'top' });
    expect(root.child('crm')?.config).toEqual({ mode: 'slow', base: 'b', token: 'top' });
    // What automations of the instance see as `$workspace`: the app, and what the instance sets.
    expect(root.child('crm')?.workspace.source.config?.value).toEqual({ mode: 'slow', base: 'b', token: 'top' });
    expect(root.child('crm')?.child('mail')).toMatchObject({
      instance: 'crm.mail',
      parentAppSlugs: ['App'],
      config: { all: { token: 'top' } },
    });
    expect(root.secrets).toEqual({ k: 'top' });
    expect(root.secretTexts).toContain('top');
    // What automations see of it as `$workspace`.
    expect(root.workspace.source).toMatchObject({ slug: 'shop', imports: { crm: {} } });
    expect(root.workspace.source).not.toHaveProperty('secrets');
    expect(systemSecrets).toEqual({ ratelimit_emits: 5 });
  });

  it('report an app that is missing or installs itself, and load the rest', async () => {
    const { models } = open({
      workspace: async () =>
        answer({ imports: { gone: { appSlug: 'Gone' }, loop: { appSlug: 'Loop' }, off: { appSlug: 'App', disabled: true } } }),
      app: async (slug) => {
        if (slug === 'Gone') throw fault('ObjectNotFoundError');
        return answer({ id: 'l', slug: 'Loop', imports: { again: { appSlug: 'Loop' } } });
      },
    });

    const { root, problems } = await models.get('w');

    expect([root.child('gone'), root.child('off')]).toEqual([undefined, undefined]);
    expect(root.child('loop')).toBeDefined();
    expect(problems.map(({ error }) => error).sort()).toEqual(['ObjectNotFoundError', 'RecursiveImport']);
  });

  it('follow a newer revision, and ignore an older notice', async () => {
    let revision = 1;
    const { models, reads } = open({ workspace: async () => answer({ revision, automations: { [`v${revision}`]: {} } }) });
    await models.get('w');
    revision = 2;

    models.follow(event('workspaces.automations.updated', { workspaceId: 'w', revision: 2 }));
    expect((await models.get('w')).revision).toBe(2);
    models.follow(event('workspaces.automations.updated', { workspaceId: 'w', revision: 2 }));
    await models.get('w');

    expect(reads).toHaveLength(2);
  });

  it('are read again until the announced revision is there', async () => {
    let revision = 1;
    const { models } = open({ workspace: async () => answer({ revision }) });
    await models.get('w');

    models.follow(event('workspaces.updated', { workspaceId: 'w', revision: 3 }));
    expect((await models.get('w')).revision).toBe(1);
    revision = 3;

    await eventually(async () => expect((await models.get('w')).revision).toBe(3), { timeoutMs: 1_000 });
  });

  it('outlive a failed read, and end with their workspace', async () => {
    let failure: Error | null = null;
    const { models } = open({
      workspace: async () => {
        if (failure) throw failure;
        return answer();
      },
    });
    const good = await models.get('w');

    failure = new Error('the store is away');
    models.follow(event('workspaces.updated', { workspaceId: 'w', revision: 2 }));
    expect(await models.get('w')).toBe(good);
    failure = fault('ObjectNotFoundError');
    models.follow(event('workspaces.deleted', { workspaceId: 'w' }));

    await expect(models.get('w')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
    expect(await models.find('w')).toBe(good);
  });

  it('that use an app follow its publication', async () => {
    let version = 1;
    const { models } = open({
      workspace: async () => answer({ imports: { crm: { appSlug: 'App' } } }),
      app: async () => answer({ id: 'a', slug: 'App', revision: version, automations: { [`v${version}`]: {} } }),
    });
    await models.get('w');
    version = 2;

    models.follow(event('apps.published', { app: { slug: 'App' } }));

    await eventually(async () =>
      expect([...((await models.get('w')).root.child('crm')?.workspace.automations.keys() ?? [])]).toEqual(['v2']),
    );
  });

  it('notice a lost notice by comparing revisions', async () => {
    let revision = 1;
    const { models } = open({ workspace: async () => answer({ revision }), revisions: async () => ({ w: revision }) });
    await models.get('w');
    revision = 5;

    await models.sync();

    expect((await models.get('w')).revision).toBe(5);
  });

  describe('of a workspace that uses an app', () => {
    const withApp = (over: Partial<ModelSources> = {}) => {
      const state = { revision: 1, failure: null as Error | null, held: Promise.resolve() };
      const { models } = open({
        workspace: async () => answer({ imports: { crm: { appSlug: 'App' } } }),
        app: async () => {
          const { revision, failure, held } = state;
          if (failure) throw failure;
          await held;
          return answer({ id: 'a', slug: 'App', revision, automations: { [`v${revision}`]: {} } });
        },
        ...over,
      });
      const present = async () => [...((await models.get('w')).root.child('crm')?.workspace.automations.keys() ?? [])];
      return { models, state, present };
    };

    it('are read again when it was published while they were read', async () => {
      const { models, state, present } = withApp();
      const held = Promise.withResolvers<void>();
      state.held = held.promise;
      const first = models.get('w');
      await new Promise((done) => setImmediate(done));
      state.revision = 2;
      models.follow(event('apps.published', { app: { slug: 'App' } }));
      state.held = Promise.resolve();
      held.resolve();
      await first;

      await eventually(async () => expect(await present()).toEqual(['v2']));
    });

    it('notice a lost notice of its publication', async () => {
      const { models, state, present } = withApp({ appRevisions: async () => ({ App: state.revision }) });
      expect(await present()).toEqual(['v1']);
      state.revision = 2;

      await models.sync();

      await eventually(async () => expect(await present()).toEqual(['v2']));
    });

    it('stay when it cannot be read for the moment', async () => {
      const { models, state, present } = withApp();
      expect(await present()).toEqual(['v1']);
      Object.assign(state, { revision: 2, failure: fault('ServiceUnavailable') });
      models.follow(event('apps.published', { app: { slug: 'App' } }));
      expect(await present()).toEqual(['v1']);
      state.failure = null;

      await eventually(async () => expect(await present()).toEqual(['v2']), { timeoutMs: 2_000 });
    });
  });

  it('have a name of their own for each publication of their apps, and without apps the name of their revision', async () => {
    let revision = 1;
    const { models } = open({
      workspace: async (id) => answer({ id, imports: id === 'w' ? { crm: { appSlug: 'App' } } : {} }),
      app: async () => answer({ id: 'a', slug: 'App', revision }),
    });
    const before = await models.get('w');
    revision = 2;
    models.follow(event('apps.published', { app: { slug: 'App' } }));
    await eventually(async () => expect(await models.get('w')).not.toBe(before));
    const after = await models.get('w');

    expect(after.revision).toBe(before.revision);
    expect(after.version).not.toBe(before.version);
    expect((await models.restore(before.parts)).version).toBe(before.version);
    expect((await models.get('plain')).version).toBe('1');
    expect(isModelOf(after, { revision: 1, model: before.version })).toBe(false);
    expect(isModelOf(after, { revision: 1, model: after.version })).toBe(true);
    // Journals of former days know the revision only.
    expect(isModelOf(after, { revision: 1 })).toBe(true);
  });

  it('can be made again from their parts', async () => {
    const { models } = open({ workspace: async () => answer({ imports: { crm: { appSlug: 'App' } } }) });
    const { parts } = await models.get('w');

    const restored = await models.restore(JSON.parse(JSON.stringify(parts)));

    expect(restored.revision).toBe(1);
    expect(restored.root.child('crm')?.workspace.automations.has('run')).toBe(true);
  });
});
