/** patch — applies a checked patch to a record in memory; every driver writes what this returns. */
import { isPlainObject, type JsonObject } from '../../shared/json.ts';
import type { Patch, Stored } from './contract.ts';

/** `record`, changed in place, with the next revision. What stands in the way of a path and is no object is replaced by one. */
export function patched<T extends Stored>(record: T, { set = {}, unset = [] }: Patch): T {
  const next = record as unknown as JsonObject;
  for (const [path, value] of Object.entries(set)) {
    const { parent, last } = reachParent(next, path.split('.'), true) as { parent: JsonObject; last: string };
    parent[last] = value;
  }
  for (const path of unset) {
    const found = reachParent(next, path.split('.'), false);
    // As in MongoDB an element of an array becomes null, so that the others keep their places.
    if (found && Array.isArray(found.parent)) {
      if (Object.hasOwn(found.parent, found.last)) found.parent[Number(found.last)] = null;
    } else if (found) delete found.parent[found.last];
  }
  next._rev = record._rev + 1;
  return record;
}

function reachParent(root: JsonObject, path: string[], makes: boolean): { parent: JsonObject; last: string } | null {
  let parent = root;
  for (let i = 0; i < path.length - 1; i++) {
    const segment = path[i] as string;
    const below = Object.hasOwn(parent, segment) ? parent[segment] : undefined;
    if (!isPlainObject(below) && !isElementOf(below, path[i + 1] as string)) {
      if (!makes) return null;
      parent[segment] = {};
    }
    parent = parent[segment] as JsonObject;
  }
  return { parent, last: path.at(-1) as string };
}

/** Arrays are entered only at the place of an existing element, or the one after the last. */
const isElementOf = (value: unknown, segment: string): boolean =>
  Array.isArray(value) && /^\d{1,9}$/.test(segment) && Number(segment) <= value.length;
