/** processed-events — which events an automation or a page listens to and emits: what clients show and complete. Computed at each write. */
import { isPlainObject, type JsonObject, readPath } from '../../../mixins/shared/json.ts';

export interface ProcessedEvents {
  emit: string[];
  listen: string[];
  autocomplete: { event: string; autocomplete: unknown }[];
}

const texts = (value: unknown): string[] => (Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []);

/** Walks the instructions of an automation; `config` is the workspace's `config.value`, for `autocomplete`. */
export function automationEvents(automation: JsonObject, config: unknown): ProcessedEvents {
  const emit = new Set<string>();
  const autocomplete: ProcessedEvents['autocomplete'] = [];
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) {
      for (const item of node) visit(item);
      return;
    }
    if (!isPlainObject(node)) return;
    const emitted = Object.hasOwn(node, 'emit') ? node.emit : undefined;
    if (isPlainObject(emitted) && typeof emitted.event === 'string') {
      if (emitted.private !== true) {
        const names = completed(emitted.event, emitted.autocomplete, config);
        for (const name of names) emit.add(name);
        if (isPlainObject(emitted.autocomplete)) autocomplete.push({ event: emitted.event, autocomplete: emitted.autocomplete });
      }
      return;
    }
    for (const value of Object.values(node)) visit(value);
  };
  visit(automation.do);
  const when = isPlainObject(automation.when) ? automation.when : {};
  return { emit: [...emit], listen: texts(when.events), autocomplete };
}

/** Names an emit can take: each `{{variable}}` of `autocomplete` replaced by the values at its path in the configuration. */
function completed(event: string, autocomplete: unknown, config: unknown): string[] {
  let names = [event];
  if (!isPlainObject(autocomplete)) return names;
  for (const [variable, source] of Object.entries(autocomplete)) {
    if (!isPlainObject(source) || typeof source.path !== 'string') continue;
    const template = typeof source.template === 'string' ? source.template : '${value}';
    const values = valuesAt(config, source.path).map((value) => template.replaceAll('${value}', value));
    if (values.length === 0) continue;
    names = names.flatMap((name) =>
      name.includes(`{{${variable}}}`) ? values.map((value) => name.replaceAll(`{{${variable}}}`, value)) : [name],
    );
  }
  return names.slice(0, 1000);
}

/** The part of JSONPath in use: `$.a.b[*].c`, `a.b`, `a.*`. Texts and numbers found there. */
function valuesAt(root: unknown, path: string): string[] {
  const segments = path
    .replace(/^\$\.?/, '')
    .replace(/\[(\*|\d+)\]/g, '.$1')
    .split('.')
    .filter(Boolean);
  let found: unknown[] = [root];
  for (const segment of segments)
    found = found.flatMap((value) => {
      if (segment === '*') return value && typeof value === 'object' ? Object.values(value) : [];
      const next = readPath(value, [Array.isArray(value) ? Number(segment) : segment]);
      return next === undefined ? [] : [next];
    });
  return found
    .flat()
    .filter((value) => typeof value === 'string' || typeof value === 'number')
    .map(String);
}

/** Of a page: top-level blocks' `updateOn` and `onInit`. */
export function pageEvents(page: JsonObject): { emit: string[]; listen: string[] } {
  const emit = new Set<string>();
  const listen = new Set<string>();
  for (const block of Array.isArray(page.blocks) ? page.blocks : []) {
    const config = isPlainObject(block) ? { ...(isPlainObject(block.config) ? block.config : {}), ...block } : {};
    const onInit = isPlainObject(config.onInit) ? config.onInit.event : config.onInit;
    if (typeof config.updateOn === 'string') listen.add(config.updateOn);
    if (typeof onInit === 'string') emit.add(onInit);
  }
  return { emit: [...emit], listen: [...listen] };
}
