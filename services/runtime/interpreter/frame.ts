/**
 * frame — one automation being executed: its variables, the contexts it shares with the rest of the run, and its way to the world.
 * Reading is synchronous: what an instruction may read is loaded before it starts (`ensure`).
 */
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Env, Scope } from '../expressions/index.ts';
import {
  CONTEXT_NAMES,
  type ContextName,
  type ContextOperation,
  type Effect,
  type Frame as FramePlace,
  ORGANISATION,
  type RunIdentity,
  type RunOrganisation,
  type World,
} from './effects.ts';
import type { RunModel } from './index.ts';
import type { Budget } from './limits.ts';
import type { CompiledAutomation } from './model.ts';
import { withoutKnown } from './reserved.ts';
import { isPromise, type MaybeAsync } from './signals.ts';
import { copyFor } from './writes.ts';

/** Bit of each context in a mask. */
export const BIT: Record<ContextName, number> = { global: 1, user: 2, session: 4, socket: 8, run: 16 };
export const ALL_CONTEXTS = 31;

export const maskOf = (roots: Iterable<string>): number => {
  let mask = 0;
  for (const root of roots) mask |= root === '*' ? ALL_CONTEXTS : (BIT[root as ContextName] ?? 0);
  return mask;
};

/** Contexts of one identity, as one branch sees them: shared by an automation and those it calls, replaced when it switches. */
export interface IdentityView {
  identity: RunIdentity;
  /** The same for all branches that act as this identity. */
  data: { user: JsonObject | null; session: JsonObject | null };
  /** Bits of `user` and `session`: what this branch may read without asking. */
  loaded: number;
}

export const viewOf = (identity: RunIdentity): IdentityView => ({ identity, data: { user: null, session: null }, loaded: 0 });

/** What all automations of a run share. */
export interface RunState {
  world: World;
  budget: Budget;
  env: Env;
  shared: { global: JsonObject | null; socket: JsonObject | null; run: JsonObject | null; organisation?: RunOrganisation };
  /** Fields of `run` that are known from the start. */
  known: JsonObject;
  /** `global.*` of a model over the stored document, made again when the document changes. */
  globals: Map<RunModel, { of: JsonObject | null; view: JsonObject }> | undefined;
  /** Branches that run beside others now. */
  beside: number;
}

/**
 * Numbers the effects of one branch, in order. What a branch asks depends on what it has done itself, never on the pace of those beside it: a
 * replay, where what is recorded is answered at once, must ask the same under the same keys.
 */
export interface Branch {
  prefix: string;
  next: number;
  /** Bits of `global`, `socket` and `run`: what this branch may read without asking. The documents are those of the run. */
  loaded: number;
}

export const branchOf = (prefix: string, loaded = 0): Branch => ({ prefix, next: 0, loaded });

/** Effects that only let time pass. */
const PAUSES = new Set<Effect['type']>(['wait', 'sleep', 'throttle']);

/** Effects that are mostly answered at once: whether the loop has turned meanwhile need not be watched. */
const AT_ONCE = new Set<Effect['type']>(['throttle', 'executed', 'error', 'http']);

const LOOP_NAMES = new Set(['item', '$index']);

export type Locals = Record<string, unknown>;

export interface FrameOptions {
  run: RunState;
  model: RunModel;
  automation: CompiledAutomation;
  locals: Locals;
  view: { current: IdentityView };
  branch: Branch;
  depth: number;
  /** `trigger` and others that differ per automation. */
  runFields: JsonObject;
}

export class Frame implements Scope {
  readonly run: RunState;
  readonly model: RunModel;
  readonly automation: CompiledAutomation;
  readonly locals: Locals;
  /** Who this branch acts as: a switch of identity concerns what follows it here, and nothing that runs beside it. */
  readonly view: { current: IdentityView };
  readonly branch: Branch;
  readonly depth: number;
  readonly runFields: JsonObject;
  /** `item` and `$index` of a loop that runs beside others: the other variables are shared, these are not. */
  private loopNames: Locals | null = null;
  /** `$error` as the branch of `all` has caught it last. */
  private caught: { error?: unknown } | null = null;
  /** Runs beside others over the same variables: a loop that begins here needs names of its own. */
  private isBeside = false;
  /** `config` as this automation has changed it. */
  private ownConfig: { value: JsonObject | null };
  private throttled: { ms: number };
  /** The payload as the executed event shows it; shares values with the variables until they are changed in place. */
  private given: { payload: JsonObject | null };

  constructor(options: FrameOptions, from?: Frame) {
    this.run = options.run;
    this.model = options.model;
    this.automation = options.automation;
    this.locals = options.locals;
    this.view = options.view;
    this.branch = options.branch;
    this.depth = options.depth;
    this.runFields = options.runFields;
    this.ownConfig = from?.ownConfig ?? { value: null };
    this.throttled = from?.throttled ?? { ms: 0 };
    this.given = from?.given ?? { payload: null };
  }

  /** The same automation in a branch of its own. Shares the variables, unless it gets names of its own; who it acts as is its own. */
  fork(branch: Branch, locals: Locals = this.locals): Frame {
    this.run.beside++;
    return this.derived(branch, locals, { current: { ...this.view.current } });
  }

  private derived(branch: Branch, locals: Locals, view: { current: IdentityView }): Frame {
    const { run, model, automation, depth, runFields } = this;
    const forked = new Frame({ run, model, automation, locals, view, branch, depth, runFields }, this);
    if (locals === this.locals) {
      forked.loopNames = this.loopNames;
      forked.caught = { ...this.caught };
      forked.isBeside = true;
    }
    return forked;
  }

  /** Where a loop that begins here runs: in a frame of its own when others run beside it. */
  forLoop(): Frame {
    if (!this.isBeside) return this;
    // Not beside anything: what it switches goes on after it.
    const forked = this.derived(this.branch, this.locals, this.view);
    forked.isBeside = false;
    forked.caught = this.caught;
    forked.loopNames = {};
    for (const name of LOOP_NAMES) {
      const value = this.get(name);
      if (value !== undefined) forked.loopNames[name] = value;
    }
    return forked;
  }

  /**
   * After all of `forks` have ended. Branches that share the variables hand over their switch of identity too, the last one in the order of the
   * program: which of them was the slowest decides nothing. Where the names were their own, so was the identity.
   */
  join(forks: Frame[]): void {
    this.run.beside -= forks.length;
    const before = this.view.current;
    // What one of them has forgotten, and not asked again, is asked again here.
    for (const { branch, view } of forks) {
      this.branch.loaded &= branch.loaded;
      before.loaded &= view.current.loaded;
    }
    const switched = forks.filter((fork) => fork.view.current.identity !== before.identity);
    if (switched.length === 0) return;
    // Several of them may have written for the same person.
    before.loaded = 0;
    const heir = switched.findLast(({ locals }) => locals === this.locals);
    if (heir) this.view.current = viewOf(heir.view.current.identity);
  }

  /** Sets `$error`, a variable like any other; a branch goes on seeing its own. */
  catch(error: unknown): void {
    this.locals['$error'] = error;
    if (this.caught) this.caught.error = error;
  }

  /** What holds the variable `root`. */
  holderOf(root: string): Locals {
    return this.loopNames && LOOP_NAMES.has(root) ? this.loopNames : this.locals;
  }

  /** Keys `<here>.0`, `<here>.1`, … for branches that run side by side. */
  forkPoint(): (index: number) => Branch {
    const point = `${this.branch.prefix}${this.branch.next++}`;
    return (index) => branchOf(`${point}.${index}.`, this.branch.loaded);
  }

  get throttledMs(): number {
    return this.throttled.ms;
  }

  get place(): FramePlace {
    const { appSlug, instance } = this.model;
    return {
      automationSlug: this.automation.slug,
      instance,
      ...(appSlug ? { appSlug } : {}),
      depth: this.depth,
      identity: this.view.current.identity,
    };
  }

  /** A promise only when the world has to be waited for. */
  perform(effect: Effect): MaybeAsync<unknown> {
    const key = `${this.branch.prefix}${this.branch.next++}`;
    const { budget, world } = this.run;
    const isPause = PAUSES.has(effect.type);
    if (!AT_ONCE.has(effect.type)) budget.asking();
    if (isPause) budget.beginWait();
    let asked: unknown;
    try {
      asked = world.perform({ key, effect, frame: this.place });
      if (isPromise(asked)) return this.answered(effect, asked);
    } finally {
      if (isPause && !isPromise(asked)) budget.endWait();
    }
    // The last word of a run that has used up its time.
    if (effect.type !== 'executed') budget.rested();
    return asked;
  }

  private async answered(effect: Effect, asked: Promise<unknown>): Promise<unknown> {
    const { budget } = this.run;
    budget.asking();
    let result: unknown;
    try {
      result = await asked;
    } finally {
      if (PAUSES.has(effect.type)) budget.endWait();
    }
    if (effect.type !== 'executed') budget.rested();
    return result;
  }

  keepAsGiven(payload: JsonObject): void {
    this.given.payload = payload;
  }

  /** Before the variable `root` is changed in place: the payload that is reported keeps its own copy. */
  protect(root: string): void {
    const { payload } = this.given;
    if (payload && Object.hasOwn(payload, root) && payload[root] === this.locals[root] && typeof payload[root] === 'object')
      payload[root] = copyFor(this, payload[root]);
  }

  /** Takes tokens of the workspace's bucket, sleeping when there are none. */
  throttle(bucket: 'automations' | 'emits' | 'fetchs' | 'repeats', tokens = 1): MaybeAsync<void> {
    const slept = this.perform({ type: 'throttle', bucket, tokens });
    if (isPromise(slept)) return slept.then((ms) => this.countThrottled(ms));
    this.countThrottled(slept);
  }

  private countThrottled(sleptMs: unknown): void {
    if (typeof sleptMs === 'number') this.throttled.ms += sleptMs;
  }

  // Contexts

  private loadedMask(): number {
    return this.branch.loaded | this.view.current.loaded;
  }

  /** Whether every context of `mask` can be read now. */
  has(mask: number): boolean {
    return (mask & ~this.loadedMask()) === 0;
  }

  /** Loads what is missing of `mask`, in one go. */
  async ensure(mask: number): Promise<void> {
    const missing = mask & ~this.loadedMask();
    if (missing === 0) return;
    const names = CONTEXT_NAMES.filter((name) => missing & BIT[name]);
    const { current } = this.view;
    const documents = (await this.perform({ type: 'context.read', contexts: names })) as Record<string, JsonObject | undefined>;
    const organisation = documents?.[ORGANISATION] as RunOrganisation | undefined;
    if (organisation) this.run.shared.organisation = organisation;
    for (const name of names) this.keep(name, documents?.[name] ?? {}, current);
  }

  private keep(name: ContextName, document: JsonObject, view: IdentityView): void {
    const own = withoutKnown(name, document);
    if (name === 'user' || name === 'session') {
      view.data[name] = own;
      view.loaded |= BIT[name];
    } else {
      this.run.shared[name] = own;
      this.branch.loaded |= BIT[name];
    }
  }

  /** After a pause: what other runs wrote meanwhile is read again when it is needed. */
  forgetContexts(): void {
    const { shared, beside } = this.run;
    const { current } = this.view;
    this.branch.loaded = 0;
    current.loaded = 0;
    // Branches beside this one go on with what they have.
    if (beside > 0) return;
    shared.global = null;
    shared.socket = null;
    shared.run = null;
    current.data.user = null;
    current.data.session = null;
  }

  async write(name: ContextName, operations: ContextOperation[]): Promise<void> {
    const { current } = this.view;
    const document = (await this.perform({ type: 'context.write', context: name, operations })) as JsonObject | null | undefined;
    this.keep(name, document ?? {}, current);
  }

  async switchIdentity(field: 'user.id' | 'session.id', value: string): Promise<void> {
    const { identity } = this.view.current;
    if ((field === 'user.id' ? identity.userId : identity.sessionId) === value) return;
    const next = (await this.perform({ type: 'identity.switch', field, value })) as RunIdentity;
    this.view.current = viewOf(next);
  }

  // Variables

  get config(): JsonObject {
    return this.ownConfig.value ?? this.model.config;
  }

  changeConfig(value: JsonObject): void {
    this.ownConfig.value = value;
  }

  get(name: string): unknown {
    switch (name) {
      case 'global':
        return this.globalView();
      case 'session':
        return this.sessionView();
      case 'user':
        return this.userView();
      case 'run':
        return this.runView();
      case 'socket':
        return this.run.shared.socket ?? {};
      case 'config':
        return this.config;
      case 'secret':
        return this.model.secrets;
      case '$workspace':
        return this.model.workspace.source;
      case '$error':
        return this.caught && 'error' in this.caught ? this.caught.error : this.locals['$error'];
      default: {
        const holder = this.loopNames ? this.holderOf(name) : this.locals;
        return Object.hasOwn(holder, name) ? holder[name] : undefined;
      }
    }
  }

  private globalView(): JsonObject {
    const stored = this.run.shared.global;
    this.run.globals ??= new Map();
    const known = this.run.globals.get(this.model);
    if (known && known.of === stored) return known.view;
    const view = { ...stored, ...this.model.computedGlobals };
    this.run.globals.set(this.model, { of: stored, view });
    return view;
  }

  private sessionView(): JsonObject {
    const { identity, data } = this.view.current;
    const { session } = data;
    const view: JsonObject = identity.sessionId === undefined ? { ...session } : { ...session, id: identity.sessionId };
    const org = this.organisationOf(identity)?.org;
    if (org !== undefined) view.org = org;
    return view;
  }

  /** Of who started the run, while it acts as him. */
  private organisationOf({ userId }: RunIdentity): RunOrganisation | undefined {
    const { organisation } = this.run.shared;
    return organisation?.userId === userId ? organisation : undefined;
  }

  private userView(): JsonObject {
    const { identity, data } = this.view.current;
    const { user } = data;
    const { userId, email, authData, role, platformRole } = identity;
    const view: JsonObject = { ...user };
    if (userId !== undefined) view.id = userId;
    if (email !== undefined) view.email = email;
    if (authData !== undefined) view.authData = authData;
    if (platformRole !== undefined) view.platformRole = platformRole;
    if (role !== undefined) view.role = role;
    const organisation = this.organisationOf(identity);
    if (organisation) view.orgSlugs = organisation.orgSlugs;
    return view;
  }

  private runView(): JsonObject {
    const { known, shared, world } = this.run;
    return {
      ...shared.run,
      ...known,
      ...this.runFields,
      ...(shared.organisation ? { permissions: shared.organisation.permissions, scopes: shared.organisation.scopes } : {}),
      depth: this.depth,
      date: new Date(world.now()).toISOString(),
      automationSlug: this.automation.slug,
    };
  }
}

/** Names that are not local variables. */
const RESERVED = new Set(['global', 'user', 'session', 'socket', 'run', 'config', 'secret', '$workspace']);
export const isReserved = (name: string): boolean => RESERVED.has(name);

export const noVariable = (name: unknown): never => {
  throw fault('InvalidInstructionError', { message: `A variable name is expected, not ${name === null ? 'null' : typeof name}.` });
};
