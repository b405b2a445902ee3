/**
 * router — the routing table as a tree of path segments: a request costs as many steps as its path has segments, however many routes there are.
 * At each segment a fixed word wins over a parameter, a parameter over a wildcard; a dead end goes back to the next best.
 */
import { fault } from '../../mixins/shared/errors.ts';
import { lru } from '../../mixins/shared/lru.ts';
import type { Route } from './routes/route.ts';

export interface Match {
  route: Route;
  params: Readonly<Record<string, string>>;
}

interface Leaf {
  route: Route;
  /** Names of parameters in the order of the path; the wildcard last. */
  names: string[];
  wildcard: boolean;
}

interface Node {
  words: Map<string, Node>;
  param?: Node;
  /** Routes that end here, by method. */
  ends: Map<string, Leaf>;
  /** Routes whose wildcard begins here, by method. */
  rest: Map<string, Leaf>;
}

/** What the document says of `ANY`. Not HEAD: who only looks (previews of links) must not run an automation. */
const ANY: ReadonlySet<string> = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']);
const REMEMBERED = 1_000;
const MAX_REMEMBERED_CHARS = 200;

const newNode = (): Node => ({ words: new Map(), ends: new Map(), rest: new Map() });

export interface Router {
  /** `null`: no such path; `{ allow }`: the path exists, for other methods. */
  match(method: string, path: string): Match | { allow: string[] } | null;
  routes: Route[];
}

/** @throws ConfigurationError for two routes of one method and path, or a path that is not understood */
export function compileRoutes(routes: Route[]): Router {
  const root = newNode();

  for (const route of routes) {
    const names: string[] = [];
    let node = root;
    let wildcard = false;
    for (const segment of route.path.split('/').filter(Boolean)) {
      if (wildcard) throw misfit(route, 'nothing may follow a wildcard');
      if (segment.startsWith('*')) {
        wildcard = true;
        names.push(segment.slice(1));
        continue;
      }
      if (segment.startsWith(':')) {
        names.push(segment.slice(1));
        node.param ??= newNode();
        node = node.param;
        continue;
      }
      if (!/^[\w.~-]+$/.test(segment)) throw misfit(route, `'${segment}' is not a word, a :parameter or a *wildcard`);
      let next = node.words.get(segment);
      if (!next) {
        next = newNode();
        node.words.set(segment, next);
      }
      node = next;
    }
    const table = wildcard ? node.rest : node.ends;
    if (table.has(route.method)) throw misfit(route, 'another route has the same method and path');
    table.set(route.method, { route, names, wildcard });
  }

  /** Where paths lead: the same few webhooks are called again and again. */
  const remembered = lru<string, Match>({ max: REMEMBERED });

  return {
    routes,
    match(method, path) {
      const key = `${method} ${path}`;
      const known = remembered.get(key);
      if (known) return known;
      const segments = path.split('/').slice(1);
      if (segments.at(-1) === '') segments.pop();
      const allow: string[] = [];
      const values: string[] = [];
      const found = walk(root, segments, 0, method, values, allow);
      if (!found) return allow.length > 0 ? { allow: [...new Set(allow)].sort() } : null;
      const { leaf, at } = found;
      const params: Record<string, string> = {};
      for (let index = 0; index < leaf.names.length; index++) {
        const name = leaf.names[index] as string;
        const isRest = leaf.wildcard && index === leaf.names.length - 1;
        const raw = isRest ? segments.slice(at).join('/') : (values[index] as string);
        // Endpoints of webhooks are matched by the runtime, segment by segment: it must see which slashes were encoded.
        params[name] = isRest && leaf.route.raw ? raw : decoded(raw);
      }
      const match = { route: leaf.route, params: Object.freeze(params) };
      if (key.length <= MAX_REMEMBERED_CHARS) remembered.set(key, match);
      return match;
    },
  };
}

function pick(table: Map<string, Leaf>, method: string, allow: string[]): Leaf | undefined {
  const leaf = table.get(method) ?? (ANY.has(method) ? table.get('ANY') : undefined) ?? (method === 'HEAD' ? table.get('GET') : undefined);
  if (!leaf) for (const key of table.keys()) allow.push(...(key === 'ANY' ? ANY : [key]));
  return leaf;
}

function walk(
  node: Node,
  segments: string[],
  at: number,
  method: string,
  values: string[],
  allow: string[],
): { leaf: Leaf; at: number } | undefined {
  if (at === segments.length) {
    const leaf = pick(node.ends, method, allow);
    return leaf && { leaf, at };
  }
  const segment = segments[at] as string;
  const word = node.words.get(segment);
  if (word) {
    const found = walk(word, segments, at + 1, method, values, allow);
    if (found) return found;
  }
  if (node.param && segment !== '') {
    values.push(segment);
    const found = walk(node.param, segments, at + 1, method, values, allow);
    if (found) return found;
    values.pop();
  }
  const leaf = node.rest.size > 0 ? pick(node.rest, method, allow) : undefined;
  return leaf && { leaf, at };
}

function decoded(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw fault('BadParametersError', { message: 'The path is not valid percent-encoded text.' });
  }
}

const misfit = ({ method, path }: Route, problem: string) =>
  fault('ConfigurationError', { message: `The route ${method} ${path}: ${problem}.`, data: { method, path } });
