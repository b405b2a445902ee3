/**
 * triggers — what starts which automation: one table per workspace or app instance, made once per model revision and never changed, so
 * that the cost of a look-up depends neither on the number of workspaces nor on what was looked up before.
 */

import type { TriggerRow } from './contract.ts';
import type { CompiledAutomation, RunModel } from './interpreter/index.ts';

/** One automation to run, in the model it belongs to. */
export interface Match {
  model: RunModel;
  automation: CompiledAutomation;
  /** What `run.trigger.value` tells: prefixed by the app instance. */
  value: string;
  pathParams?: Record<string, string>;
}

interface Pattern {
  automation: CompiledAutomation;
  written: string;
  segments: string[];
}

interface Table {
  events: Map<string, CompiledAutomation[]>;
  endpoints: Map<string, CompiledAutomation[]>;
  patterns: Pattern[];
}

const tables = new WeakMap<ReadonlyMap<string, CompiledAutomation>, Table>();

function tableOf(model: RunModel): Table {
  const automations = model.workspace.automations;
  const known = tables.get(automations);
  if (known) return known;
  const table: Table = { events: new Map(), endpoints: new Map(), patterns: [] };
  const add = (map: Map<string, CompiledAutomation[]>, key: string, automation: CompiledAutomation) => {
    const list = map.get(key);
    if (!list) map.set(key, [automation]);
    else if (!list.includes(automation)) list.push(automation);
  };
  // By slug, so that the answer of an endpoint shared by several automations does not depend on the order of files.
  for (const automation of [...automations.values()].sort((a, b) => (a.slug < b.slug ? -1 : 1))) {
    if (automation.isDisabled) continue;
    for (const event of automation.triggers.events) add(table.events, event, automation);
    const endpoint = automation.triggers.endpoint;
    if (endpoint === null) continue;
    const segments = endpoint.split('/');
    if (segments.some((segment) => /^[:*]./.test(segment))) table.patterns.push({ automation, written: endpoint, segments });
    else add(table.endpoints, endpoint, automation);
  }
  // Patterns keep the order of definition.
  const order = [...automations.keys()];
  table.patterns.sort((a, b) => order.indexOf(a.automation.slug) - order.indexOf(b.automation.slug));
  tables.set(automations, table);
  return table;
}

export const prefixed = (instance: string, name: string): string => (instance ? `${instance}.${name}` : name);

/** Automations of the tree under `model` that listen to an event. `instanceOfSource`: the app instance the event tells about, if any. */
export function eventMatches(model: RunModel, type: string, instanceOfSource?: string): Match[] {
  const found: Match[] = (tableOf(model).events.get(type) ?? []).map((automation) => ({
    model,
    automation,
    value: prefixed(model.instance, type),
  }));
  const dot = type.indexOf('.');
  const child = dot > 0 ? model.child(type.slice(0, dot)) : undefined;
  if (child) return found.concat(eventMatches(child, type.slice(dot + 1), instanceOfSource));
  if (instanceOfSource && model.instance === '' && !instanceOfSource.includes('.')) {
    const concerned = model.child(instanceOfSource);
    if (concerned) found.push(...eventMatches(concerned, type));
  }
  return found;
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

function matchPattern({ segments }: Pattern, path: string[]): Record<string, string> | null {
  const params: Record<string, string> = {};
  for (let i = 0; i < segments.length; i++) {
    const wanted = segments[i] as string;
    if (/^\*./.test(wanted)) {
      // A rest takes all that the segments after it do not need.
      const after = segments.length - i - 1;
      const taken = path.slice(i, path.length - after);
      if (taken.length === 0) return null;
      const tail = matchPattern({ segments: segments.slice(i + 1) } as Pattern, path.slice(path.length - after));
      return tail && { ...params, [wanted.slice(1)]: taken.map(decode).join('/'), ...tail };
    }
    const given = path[i];
    if (given === undefined || given === '') return null;
    if (/^:./.test(wanted)) params[wanted.slice(1)] = decode(given);
    else if (wanted !== given && wanted !== decode(given)) return null;
  }
  return path.length === segments.length ? params : null;
}

/** The app instance that a path begins with (`Instance.` or `Instance%2E`), and the rest of the path. */
function intoInstance(model: RunModel, endpoint: string): [child: RunModel, rest: string] | null {
  const dot = /\.|%2e/i.exec(endpoint);
  const child = dot?.index ? model.child(decode(endpoint.slice(0, dot.index))) : undefined;
  if (!dot || !child) return null;
  const rest = endpoint.slice(dot.index + dot[0].length);
  // Whoever encodes a dot encodes the slashes too, and patterns are matched by slashes.
  return [child, dot[0] === '.' ? rest : decode(rest)];
}

function exactMatches(model: RunModel, endpoint: string): Match[] {
  const { endpoints } = tableOf(model);
  const exact = endpoints.get(endpoint) ?? endpoints.get(decode(endpoint));
  if (exact)
    return exact.map((automation) => ({ model, automation, value: prefixed(model.instance, automation.triggers.endpoint as string) }));
  const inside = intoInstance(model, endpoint);
  return inside ? exactMatches(...inside) : [];
}

function patternMatches(model: RunModel, endpoint: string): Match[] {
  const path = endpoint.split('/');
  for (const pattern of tableOf(model).patterns) {
    const pathParams = matchPattern(pattern, path);
    if (pathParams) return [{ model, automation: pattern.automation, value: prefixed(model.instance, pattern.written), pathParams }];
  }
  const inside = intoInstance(model, endpoint);
  return inside ? patternMatches(...inside) : [];
}

/**
 * Automations answering the webhook path `endpoint` (percent-encoded or not): exact names first, those of app instances too, so that a new pattern of
 * the workspace takes no endpoint that worked; then patterns in order of definition, those of the workspace before those of its instances.
 */
export function endpointMatches(model: RunModel, endpoint: string): Match[] {
  const exact = exactMatches(model, endpoint);
  return exact.length > 0 ? exact : patternMatches(model, endpoint);
}

/** Automation named by its full slug (`Instance.slug`, any depth of instances for runs the platform starts itself). */
export function automationAt(model: RunModel, fullSlug: string): Match | null {
  const own = model.workspace.automations.get(fullSlug);
  if (own && !own.isDisabled) return { model, automation: own, value: prefixed(model.instance, own.slug) };
  for (let dot = fullSlug.indexOf('.'); dot > 0; dot = fullSlug.indexOf('.', dot + 1)) {
    const child = model.child(fullSlug.slice(0, dot));
    if (child) return automationAt(child, fullSlug.slice(dot + 1));
  }
  return null;
}

export interface ScheduleMatch extends Match {
  cron: string;
  timezone?: string;
}

/** Scheduled automations of the workspace and of its app instances (`children`: slugs of the instances of a model). */
export function scheduleMatches(model: RunModel, childrenOf: (model: RunModel) => string[]): ScheduleMatch[] {
  const found: ScheduleMatch[] = [];
  for (const automation of model.workspace.automations.values()) {
    if (automation.isDisabled || (model.instance !== '' && automation.isPrivate)) continue;
    for (const { cron, timezone } of automation.triggers.schedules)
      found.push({ model, automation, value: prefixed(model.instance, automation.slug), cron, ...(timezone ? { timezone } : {}) });
  }
  for (const slug of childrenOf(model)) {
    const child = model.child(slug);
    if (child) found.push(...scheduleMatches(child, childrenOf));
  }
  return found;
}

/** Every trigger of the workspace and its instances, for people. */
export function triggerRows(model: RunModel, childrenOf: (model: RunModel) => string[]): TriggerRow[] {
  const rows: TriggerRow[] = [];
  for (const automation of model.workspace.automations.values()) {
    if (automation.isDisabled) continue;
    const slug = prefixed(model.instance, automation.slug);
    for (const event of automation.triggers.events) rows.push({ kind: 'event', value: prefixed(model.instance, event), automation: slug });
    if (automation.triggers.endpoint !== null)
      rows.push({ kind: 'endpoint', value: prefixed(model.instance, automation.triggers.endpoint), automation: slug });
    for (const { cron } of automation.triggers.schedules) rows.push({ kind: 'schedule', value: cron, automation: slug });
  }
  for (const slug of childrenOf(model)) {
    const child = model.child(slug);
    if (child) rows.push(...triggerRows(child, childrenOf));
  }
  return rows;
}

/** Addresses of a model's endpoints by name: `global.endpoints`. */
export function endpointsOf(model: Pick<RunModel, 'workspace' | 'instance'>, apiUrl: string, workspaceId: string): Record<string, string> {
  const addresses: Record<string, string> = {};
  for (const automation of model.workspace.automations.values()) {
    const endpoint = automation.triggers.endpoint;
    if (endpoint !== null && !automation.isDisabled)
      addresses[endpoint] = `${apiUrl}/workspaces/${workspaceId}/webhooks/${encodeURIComponent(prefixed(model.instance, endpoint))}`;
  }
  return addresses;
}
