/**
 * models — compiled workspaces in memory: loaded when first asked, followed by revision, evicted by size.
 *
 * A model is made of one answer of `workspaces.model` and one of `apps.model` per installed app, and never changes: a new revision is a new
 * model, and runs finish on the one they started with. A failed read never replaces a good model.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { SECOND } from '../../mixins/shared/clock.ts';
import type { Config } from '../../mixins/shared/config.ts';
import { isFault } from '../../mixins/shared/errors.ts';
import { isNative, type PrismeEvent } from '../../mixins/shared/event.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import type { KeyRing } from '../../mixins/shared/keyring.ts';
import { lru } from '../../mixins/shared/lru.ts';
import type { ModelAnswer } from '../workspaces/contract.ts';
import { environmentValues, resolveConfig, secretTextsOf, textsOfSecret } from './config-resolution.ts';
import type { CompiledWorkspace, RunModel, WorkspaceSource } from './interpreter/index.ts';
import { endpointsOf, prefixed } from './triggers.ts';

export interface LoadedModel extends RunModel {
  children: Map<string, LoadedModel>;
  child(slug: string): LoadedModel | undefined;
}

/** What a journal tells of the model its run began with. */
export interface ModelName {
  revision: number;
  /** See LoadedWorkspace.version. */
  model?: string;
}

/** The answers a model was made of: enough to make it again on another node. */
export interface ModelParts {
  workspace: ModelAnswer;
  /** By `appSlug@version`. */
  apps: Record<string, ModelAnswer>;
}

export interface LoadedWorkspace {
  id: string;
  slug: string;
  name: string;
  revision: number;
  /** Names all it was made of: the revision, and those of its apps, which are published on their own. */
  version: string;
  root: LoadedModel;
  parts: ModelParts;
  /** Reserved secrets `prismeai_…`, without the prefix: rate limits and the like. */
  systemSecrets: JsonObject;
  /** What could not be loaded or resolved: told once, as `error` events. */
  problems: { error: string; message: string }[];
}

/** Where models come from. */
export interface ModelSources {
  /** @throws ObjectNotFoundError · SuspendedWorkspaceError */
  workspace(id: string): Promise<ModelAnswer>;
  app(slug: string, version?: string): Promise<ModelAnswer>;
  /** The last model of a workspace that was just removed. */
  removed(id: string): Promise<ModelAnswer | null>;
  /** What was uninstalled from it by that revision. */
  formerInstance(id: string, slug: string, revision: number): Promise<JsonObject | null>;
  revisions(ids: string[]): Promise<Record<string, number>>;
  /** Of the apps that there are. */
  appRevisions(slugs: string[]): Promise<Record<string, number>>;
  /** @throws ObjectNotFoundError */
  resolve(slug: string): Promise<{ id: string }>;
}

export interface ModelsOptions {
  sources: ModelSources;
  compile: (source: WorkspaceSource) => CompiledWorkspace;
  keys: () => KeyRing;
  config: Config;
  /** Told once per loaded revision that has problems. */
  onProblems?: (workspace: LoadedWorkspace) => void;
  /** Told after a revision was loaded. */
  onLoaded?: (workspace: LoadedWorkspace) => void;
  /** Characters of sources kept compiled. */
  maxChars?: number;
}

interface Entry {
  loaded: LoadedWorkspace;
  isStale: boolean;
  /** Revision that an event has announced. */
  wanted: number;
  /** A failed reload is not tried again before. */
  retryAt: number;
}

const SLUG_TTL_MS = 30 * SECOND;
/** Deleted workspaces answer a little longer: the triggers of their own deletion must still run. */
const DELETED_TTL_MS = 10 * SECOND;
const RETRY_MS = 500;

export function createModels({ sources, compile, keys, config, onProblems, onLoaded, maxChars = 64_000_000 }: ModelsOptions) {
  const entries = new LRUCache<string, Entry>({ maxSize: maxChars, sizeCalculation: ({ loaded }) => sizeOf(loaded.parts) });
  const deleted = lru<string, LoadedWorkspace>({ max: 1000, ttl: DELETED_TTL_MS });
  /** What a workspace was a moment ago: an app that was just uninstalled still hears of it. */
  const former = lru<string, LoadedWorkspace>({ max: 200, ttl: DELETED_TTL_MS });
  const apps = new LRUCache<string, { answer: ModelAnswer; compiled: CompiledWorkspace }>({
    maxSize: maxChars,
    sizeCalculation: ({ answer }) => JSON.stringify(answer).length + 1,
  });
  /** Notices about apps heard so far, and for each app which of them was its last: an answer asked for before it may be of the former publication. */
  let notices = 0;
  const noticeOf = lru<string, number>({ max: 10_000 });
  const isOverdue = (slug: string, since: number) => (noticeOf.get(slug) ?? 0) > since;
  const slugs = lru<string, string>({ max: 10_000, ttl: SLUG_TTL_MS });
  const loading = new Map<string, Promise<LoadedWorkspace>>();

  async function loadApp(slug: string, version: string | undefined, parts: ModelParts | undefined) {
    const key = `${slug}@${version ?? 'current'}`;
    const given = parts?.apps[key];
    const known = apps.get(key);
    if (known && (!given || given.revision === known.answer.revision)) return { key, ...known };
    const since = notices;
    const answer = given ?? (await sources.app(slug, version));
    const found = { answer, compiled: compile(sourceOf(answer)) };
    if (!given && !isOverdue(slug, since)) apps.set(key, found);
    return { key, ...found };
  }

  async function build(answer: ModelAnswer, from?: ModelParts): Promise<LoadedWorkspace> {
    const { secrets, system } = openSecrets(answer, keys, config);
    const parts: ModelParts = { workspace: answer, apps: {} };
    const problems: LoadedWorkspace['problems'] = [];
    const loaded = {
      id: answer.id,
      slug: answer.slug,
      name: answer.name,
      revision: answer.revision,
      parts,
      systemSecrets: system,
      problems,
    };
    const globals = workspaceGlobals(answer, config);

    async function model(at: {
      answer: ModelAnswer;
      compiled: CompiledWorkspace;
      instance: string;
      appSlug?: string;
      parents: string[];
      own: JsonObject;
      defaults: JsonObject[];
      parentConfig?: JsonObject;
    }): Promise<LoadedModel> {
      const resolved = resolveConfig({
        defaults: at.defaults,
        own: at.own,
        secrets,
        ...(at.parentConfig ? { parent: at.parentConfig } : {}),
      });
      for (const problem of resolved.problems) problems.push({ error: problem.code, message: prefixed(at.instance, problem.message) });
      const children = new Map<string, LoadedModel>();
      const made: LoadedModel = {
        instance: at.instance,
        ...(at.appSlug ? { appSlug: at.appSlug } : {}),
        parentAppSlugs: at.parents,
        workspace: at.appSlug ? asInstance(at.compiled, resolved.written) : at.compiled,
        config: resolved.value,
        secrets,
        secretTexts: secretTextsOf(at.answer.config?.schema, resolved.value),
        computedGlobals: {},
        children,
        child: (slug) => children.get(slug),
      };
      made.computedGlobals = { ...globals, endpoints: endpointsOf(made, config.apiUrl, answer.id) };
      const path = at.appSlug ? [at.appSlug, ...at.parents] : at.parents;
      for (const [slug, raw] of Object.entries(at.answer.imports ?? {})) {
        const written = raw as { appSlug?: string; appVersion?: string; disabled?: boolean; config?: unknown };
        if (!written?.appSlug || written.disabled) continue;
        const instance = prefixed(at.instance, slug);
        if (path.includes(written.appSlug)) {
          problems.push({ error: 'RecursiveImport', message: `'${instance}' installs ${written.appSlug} inside itself.` });
          continue;
        }
        try {
          const app = await loadApp(written.appSlug, written.appVersion || undefined, from);
          parts.apps[app.key] = app.answer;
          children.set(
            slug,
            await model({
              answer: app.answer,
              compiled: app.compiled,
              instance,
              appSlug: written.appSlug,
              parents: path,
              own: isPlainObject(written.config) ? written.config : {},
              defaults: [environmentValues(config.open, 'APP_CONFIG', written.appSlug), app.answer.config?.value ?? {}],
              parentConfig: resolved.value,
            }),
          );
        } catch (error) {
          // What may be there a moment later is no reason to go on without it.
          if (!isFault(error) || error.retryable) throw error;
          problems.push({ error: error.type, message: `App '${written.appSlug}' of '${instance}' cannot be loaded: ${error.message}` });
        }
      }
      return made;
    }

    const root = await model({
      answer,
      compiled: compile(sourceOf(answer)),
      instance: '',
      parents: [],
      own: answer.config?.value ?? {},
      defaults: [environmentValues(config.open, 'WORKSPACE_CONFIG', answer.slug ?? '')],
    });
    const texts = [...Object.values(secrets).flatMap(textsOfSecret), ...root.secretTexts];
    root.secretTexts = [...new Set(texts)];
    return { ...loaded, version: versionOf(parts), root };
  }

  /** Whether an app of the workspace was published while it was read. An app that could not be read has no name here. */
  const mayBeBehind = ({ parts, problems }: LoadedWorkspace, since: number): boolean =>
    notices > since && (problems.length > 0 || Object.keys(parts.apps).some((key) => isOverdue(appOf(key), since)));

  async function reload(id: string): Promise<LoadedWorkspace> {
    const before = entries.peek(id);
    const since = notices;
    try {
      const answer = await sources.workspace(id);
      const loaded = await build(answer);
      const wanted = entries.peek(id)?.wanted ?? 0;
      // An event may announce a revision that this read has not seen yet: stay stale, the next call reads again.
      const isBehind = answer.revision < wanted || mayBeBehind(loaded, since);
      if (before && before.loaded.revision !== loaded.revision) former.set(id, before.loaded);
      entries.set(id, { loaded, isStale: isBehind, wanted, retryAt: isBehind ? Date.now() + 20 : 0 });
      deleted.delete(id);
      if (answer.slug) slugs.set(answer.slug, id);
      if (loaded.problems.length && loaded.revision !== before?.loaded.revision) onProblems?.(loaded);
      onLoaded?.(loaded);
      return loaded;
    } catch (error) {
      const isGone = isFault(error, 'ObjectNotFoundError') || isFault(error, 'SuspendedWorkspaceError');
      const known = entries.peek(id);
      if (isGone) entries.delete(id);
      if (isGone || !known) throw error;
      known.retryAt = Date.now() + RETRY_MS;
      return known.loaded;
    }
  }

  function forgetApp(slug: string): void {
    noticeOf.set(slug, ++notices);
    for (const key of apps.keys()) if (appOf(key) === slug) apps.delete(key);
  }

  /** Apps that were published without this node hearing of it. */
  async function syncApps(): Promise<void> {
    /** Revisions of each app that models were made of. */
    const used = new Map<string, Set<number>>();
    for (const { loaded } of entries.values())
      for (const [key, { revision }] of Object.entries(loaded.parts.apps)) {
        const revisions = used.get(appOf(key)) ?? new Set();
        used.set(appOf(key), revisions.add(revision));
      }
    if (used.size === 0) return;
    const present = await sources.appRevisions([...used.keys()]);
    for (const [slug, revisions] of used) {
      const revision = present[slug];
      // Not only a higher one: an app may have been removed and published anew.
      if (revision === undefined || [...revisions].every((one) => one === revision)) continue;
      forgetApp(slug);
      for (const [id, { loaded }] of entries.entries()) if (usesApp(loaded, slug)) models.expire(id);
    }
  }

  const models = {
    /** Id of a workspace named by id or `slug:<slug>`. @throws ObjectNotFoundError */
    async idOf(idOrSlug: string): Promise<string> {
      if (!idOrSlug.startsWith('slug:')) return idOrSlug;
      const slug = idOrSlug.slice('slug:'.length);
      const known = slugs.get(slug);
      if (known) return known;
      const { id } = await sources.resolve(idOrSlug);
      slugs.set(slug, id);
      return id;
    },

    /** The present model. @throws ObjectNotFoundError · SuspendedWorkspaceError · what a first read failed with */
    get(id: string): Promise<LoadedWorkspace> | LoadedWorkspace {
      const entry = entries.get(id);
      if (entry && (!entry.isStale || Date.now() < entry.retryAt)) return entry.loaded;
      let load = loading.get(id);
      if (!load) {
        load = reload(id).finally(() => loading.delete(id));
        loading.set(id, load);
      }
      return load;
    },

    /** The model, also of a workspace deleted a moment ago; `null` when there is none. */
    async find(id: string): Promise<LoadedWorkspace | null> {
      const late = deleted.get(id);
      if (late) return late;
      try {
        return await models.get(id);
      } catch (error) {
        if (isFault(error, 'ObjectNotFoundError') || isFault(error, 'SuspendedWorkspaceError')) return null;
        throw error;
      }
    },

    /** Whether an automation may listen to that native event; false only when the present model is known here. */
    mayListen(id: string, type: string): boolean {
      const entry = entries.peek(id);
      return !entry || entry.isStale || deleted.has(id) || heardIn(entry.loaded.root).has(type);
    },

    /** The model in which an app instance still stands that the given revision has uninstalled; `null` when nobody knows any more. */
    async withInstance(id: string, slug: string, revision: number): Promise<LoadedWorkspace | null> {
      const known = [entries.peek(id)?.loaded, former.get(id)].find((loaded) => loaded?.root.child(slug));
      if (known) return known;
      // Most nodes never had it: the workspace as it is, with the instance put back.
      const [present, instance] = await Promise.all([models.find(id), sources.formerInstance(id, slug, revision)]);
      if (!present || !instance) return null;
      const { workspace } = present.parts;
      return build({ ...workspace, imports: { ...workspace.imports, [slug]: instance } });
    },

    /** The last model of a workspace that was just removed; `null` when nobody knows it any more. */
    async removed(id: string): Promise<LoadedWorkspace | null> {
      const answer = await sources.removed(id);
      if (!answer) return null;
      const loaded = await build(answer);
      // For what its last automations emit.
      deleted.set(id, loaded);
      return loaded;
    },

    /** A model made from the parts of a former one (runs that outlive their node and revision). */
    restore: (parts: ModelParts): Promise<LoadedWorkspace> => build(parts.workspace, parts),

    /** Follows a native event of workspaces or apps. */
    follow(event: PrismeEvent): void {
      // Its payload names whose model goes: that is believed of the platform alone, never of an automation that emits something called so.
      if (!isNative(event)) return;
      if (event.type.startsWith('apps.')) {
        const app = event.payload.app as { slug?: string } | undefined;
        const slug = String(event.payload.appSlug ?? event.payload.slug ?? app?.slug ?? '');
        forgetApp(slug);
        for (const [id, entry] of entries.entries()) if (usesApp(entry.loaded, slug) || entry.loaded.problems.length) models.expire(id);
        return;
      }
      const id = String(event.payload.workspaceId ?? event.source.workspaceId ?? '');
      const entry = entries.peek(id);
      if (event.type === 'workspaces.deleted') {
        if (entry) deleted.set(id, entry.loaded);
        entries.delete(id);
        slugs.clear();
        return;
      }
      if (!entry) return;
      const revision = Number(event.payload.revision ?? Number.POSITIVE_INFINITY);
      if (revision <= entry.loaded.revision) return;
      if (Number.isFinite(revision)) entry.wanted = Math.max(entry.wanted, revision);
      if (event.type === 'workspaces.updated') slugs.clear();
      models.expire(id);
    },

    /** Reads it again before the next use, and already now. */
    expire(id: string): void {
      const entry = entries.peek(id);
      if (!entry) return;
      entry.isStale = true;
      entry.retryAt = 0;
      // A load that began before the event may have read the former revision.
      const pending = loading.get(id);
      if (pending) void pending.finally(() => models.get(id)).catch(() => {});
      else void Promise.resolve(models.get(id)).catch(() => {});
    },

    /** Compares what is loaded with the present revisions: repairs what a lost notice would leave behind. */
    async sync(): Promise<void> {
      const ids = [...entries.keys()];
      if (ids.length === 0) return;
      const present = await sources.revisions(ids);
      for (const id of ids) {
        const entry = entries.peek(id);
        const revision = present[id];
        if (entry && revision !== undefined && revision > entry.loaded.revision) {
          entry.wanted = Math.max(entry.wanted, revision);
          models.expire(id);
        }
      }
      await syncApps();
    },

    loadedIds: (): string[] => [...entries.keys()],
  };
  return models;
}

export type Models = ReturnType<typeof createModels>;

/** Slug in a key `slug@version` of ModelParts. */
const appOf = (key: string): string => key.slice(0, key.indexOf('@'));
const usesApp = ({ parts }: LoadedWorkspace, slug: string): boolean => Object.keys(parts.apps).some((key) => appOf(key) === slug);

const heard = new WeakMap<LoadedModel, Set<string>>();
/** Events that some automation of the model or of an instance in it listens to. */
function heardIn(model: LoadedModel): Set<string> {
  let types = heard.get(model);
  if (types) return types;
  types = new Set();
  for (const { isDisabled, triggers } of model.workspace.automations.values())
    if (!isDisabled) for (const type of triggers.events) types.add(type);
  for (const child of model.children.values()) for (const type of heardIn(child)) types.add(type);
  heard.set(model, types);
  return types;
}

/** Slugs of the app instances of a model. */
export const childrenOf = (model: RunModel): string[] => [...(model as LoadedModel).children.keys()];

/** What automations see as `$workspace`: the model, without its secrets, whose names are nobody's business either. */
function sourceOf({ secrets: _, ...answer }: ModelAnswer): WorkspaceSource {
  return { ...answer, imports: answer.imports ?? {}, automations: answer.automations ?? {} };
}

/** As short as a revision where there are no apps. */
function versionOf({ workspace, apps }: ModelParts): string {
  const keys = Object.keys(apps).sort();
  if (keys.length === 0) return String(workspace.revision);
  const digest = createHash('sha256').update(JSON.stringify(keys.map((key) => [key, apps[key]?.revision])));
  return `${workspace.revision}-${digest.digest('hex').slice(0, 16)}`;
}

/** Whether a run that began with what `head` tells goes on with this model. Journals of former days know the revision only. */
export const isModelOf = ({ revision, version }: Pick<LoadedWorkspace, 'revision' | 'version'>, head: ModelName): boolean =>
  head.model === undefined ? head.revision === revision : head.model === version;

/** `$workspace` of an instance: the app's model, its `config.value` with what the instance sets. All that is compiled is shared with other instances. */
function asInstance(compiled: CompiledWorkspace, own: JsonObject): CompiledWorkspace {
  const { source } = compiled;
  const { value } = source.config ?? {};
  return { ...compiled, source: { ...source, config: { ...source.config, value: { ...(isPlainObject(value) ? value : {}), ...own } } } };
}

const sizeOf = (parts: ModelParts): number => JSON.stringify(parts.workspace).length + 1;

function workspaceGlobals(answer: ModelAnswer, config: Config): JsonObject {
  const studioUrl = config.consoleUrl[0] ?? '';
  const protocol = studioUrl.startsWith('https:') ? 'https://' : 'http://';
  const globals: JsonObject = {};
  for (const [name, value] of Object.entries(config.open))
    if (name.startsWith('ADDITIONAL_GLOBAL_VARS_')) globals[name.slice('ADDITIONAL_GLOBAL_VARS_'.length)] = value;
  return {
    ...globals,
    workspaceId: answer.id,
    workspaceName: answer.name,
    apiUrl: config.apiUrl,
    studioUrl,
    pagesHost: config.pagesHost,
    pagesUrl: `${protocol}${answer.customDomains?.[0] ?? `${answer.slug}${config.pagesHost}`}`,
  };
}

const SYSTEM_PREFIX = 'prismeai_';

/** Secrets in the clear; the environment fills in what is not stored. Reserved ones are kept apart. */
function openSecrets(answer: ModelAnswer, keys: () => KeyRing, config: Config): { secrets: JsonObject; system: JsonObject } {
  const secrets: JsonObject = environmentValues(config.open, 'WORKSPACE_SECRET', answer.slug ?? '');
  const system: JsonObject = {};
  for (const [name, { type, sealed }] of Object.entries(answer.secrets ?? {})) {
    const value = typed(keys().open(sealed, `secret/${answer.id}/${name}`), type);
    if (name.startsWith(SYSTEM_PREFIX)) system[name.slice(SYSTEM_PREFIX.length)] = value;
    else secrets[name] = value;
  }
  return { secrets, system };
}

function typed(text: string, type: string): unknown {
  if (type === 'string') return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
