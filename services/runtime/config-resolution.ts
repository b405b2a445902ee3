/**
 * config-resolution — turns the written configuration of a workspace or app instance into the `config` its automations see.
 *
 * Only `{{config.…}}` and `{{secret.…}}` are replaced; `{% %}` and anything that cannot be resolved stay as written (connectors test for the
 * braces). References are followed to their end in dependency order, so a secret reached in two hops arrives; a cycle stays as written and
 * is reported. Replaced text is never scanned again.
 */
import { isPlainObject, type JsonObject, readPath } from '../../mixins/shared/json.ts';

export interface ConfigProblem {
  code: 'ConfigCycle';
  message: string;
}

export interface ResolvedConfig {
  value: JsonObject;
  /** What this workspace or instance writes itself; of an instance with what it says of its parent. */
  written: JsonObject;
  problems: ConfigProblem[];
}

export interface ConfigSources {
  /** Defaults, weakest first: environment, then the app's own values. */
  defaults: JsonObject[];
  /** The written configuration of this workspace or instance: strongest. */
  own: JsonObject;
  /** `config` of the parent, for the expressions an instance writes in its own configuration. Absent for a root workspace. */
  parent?: JsonObject;
  secrets: JsonObject;
}

const REFERENCE = /\{\{\s*(config|secret)((?:\.[\w$-]+|\[(?:\d+|"[^"]*"|'[^']*')\])*)\s*\}\}/g;
const WHOLE = new RegExp(`^${REFERENCE.source}$`);
const MAX_DEPTH = 60;
const UNRESOLVED = Symbol('unresolved');

/** @param text `.a.b[0]['c d']` */
const segments = (text: string): string[] =>
  Array.from(text.matchAll(/\.([\w$-]+)|\[(\d+)\]|\["([^"]*)"\]|\['([^']*)'\]/g), (m) => (m[1] ?? m[2] ?? m[3] ?? m[4]) as string);

/** Replaces references inside every text of `value`; `lookUp` answers UNRESOLVED to leave one as written. */
function replaceAll(value: unknown, lookUp: (root: string, path: string[]) => unknown, depth = 0): unknown {
  if (typeof value === 'string') {
    if (!value.includes('{{')) return value;
    const whole = WHOLE.exec(value);
    if (whole) {
      const found = lookUp(whole[1] as string, segments(whole[2] ?? ''));
      return found === UNRESOLVED ? value : found;
    }
    return value.replace(REFERENCE, (written, root: string, path: string) => {
      const found = lookUp(root, segments(path));
      if (found === UNRESOLVED) return written;
      if (found === null) return '';
      return typeof found === 'object' ? JSON.stringify(found) : String(found);
    });
  }
  if (depth > MAX_DEPTH || value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map((item) => replaceAll(item, lookUp, depth + 1));
  const copy: JsonObject = {};
  for (const [key, item] of Object.entries(value)) copy[key] = replaceAll(item, lookUp, depth + 1);
  return copy;
}

/** Resolves one level. @see ConfigSources */
export function resolveConfig({ defaults, own, parent, secrets }: ConfigSources): ResolvedConfig {
  const problems: ConfigProblem[] = [];
  const secretAt = (path: string[]) => readPath(secrets, path) ?? UNRESOLVED;

  // What an instance writes speaks of its parent; a root workspace has none and speaks of itself.
  const written = parent
    ? (replaceAll(own, (root, path) => (root === 'config' ? (readPath(parent, path) ?? UNRESOLVED) : secretAt(path))) as JsonObject)
    : own;
  // Values that came through the parent are finished: scanning them again would let data be read as a template.
  const finished = new Set(parent ? Object.keys(own) : []);
  const merged: JsonObject = Object.assign({}, ...defaults, written);

  const done = new Map<string, unknown>();
  const open: string[] = [];
  /** Keys with references that stay as written because of a cycle. */
  const cyclic = new Set<string>();
  const resolveKey = (key: string): unknown => {
    if (done.has(key)) return done.get(key);
    if (finished.has(key)) return merged[key];
    if (open.includes(key)) {
      for (const member of open.slice(open.indexOf(key))) cyclic.add(member);
      problems.push({
        code: 'ConfigCycle',
        message: `config.${[...open.slice(open.indexOf(key)), key].join(' → config.')} refers to itself.`,
      });
      return UNRESOLVED;
    }
    open.push(key);
    const value = replaceAll(merged[key], (root, path) => {
      if (root === 'secret') return secretAt(path);
      const [first, ...rest] = path;
      if (first === undefined || !Object.hasOwn(merged, first)) return UNRESOLVED;
      const base = resolveKey(first);
      if (base === UNRESOLVED) return UNRESOLVED;
      const found = readPath(base, rest) ?? UNRESOLVED;
      // What stays as written there is not to stand here in place of what is written here.
      if (!cyclic.has(first) || typeof found !== 'string' || !/\{\{\s*config\b/.test(found)) return found;
      cyclic.add(key);
      return UNRESOLVED;
    });
    open.pop();
    done.set(key, value);
    return value;
  };
  const value: JsonObject = {};
  for (const key of Object.keys(merged)) value[key] = resolveKey(key);
  return { value, written, problems };
}

/** Variables `<PREFIX>_<slug>_<key>` of the environment: key → text. Spaces of the slug are left out; the key is flat. */
export function environmentValues(open: Record<string, string>, prefix: string, slug: string): JsonObject {
  const start = `${prefix}_${slug.replaceAll(' ', '')}_`;
  const values: JsonObject = {};
  for (const [name, text] of Object.entries(open)) if (name.startsWith(start)) values[name.slice(start.length)] = text;
  return values;
}

/** Texts found at the `secret: true` paths of a configuration schema. */
export function secretTextsOf(schema: unknown, value: unknown, texts: string[] = []): string[] {
  if (!isPlainObject(schema) || !isPlainObject(value)) return texts;
  for (const [key, rule] of Object.entries(schema)) {
    if (!isPlainObject(rule) || !Object.hasOwn(value, key)) continue;
    const here = value[key];
    if (rule.secret === true && typeof here === 'string' && here.trim() !== '') texts.push(here);
    if (rule.properties) secretTextsOf(rule.properties, here, texts);
  }
  return texts;
}

/** In an object shorter texts are rarely what is secret of it (`env: prod`), and would hide ordinary words. */
const MIN_LEAF_CHARS = 6;

/** What must not be seen of a secret: its text, or every text inside it. */
export function textsOfSecret(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return value === undefined || value === null ? [] : [String(value)];
  return Object.values(value).flatMap((item) => textsOfSecret(item).filter((text) => text.length >= MIN_LEAF_CHARS));
}
