/** URLSearchParams */
import { defineFunction } from '../function.ts';
import { isHostile, toKey } from '../values.ts';

function parse(value: unknown): URLSearchParams {
  if (typeof value === 'string') return new URLSearchParams(value);
  const made = new URLSearchParams();
  if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      for (const one of Array.isArray(item) ? item : [item])
        if (one !== undefined && one !== null) made.append(key, typeof one === 'object' ? JSON.stringify(one) : toKey(one));
    }
  }
  return made;
}

export const urlSearchParams = defineFunction({
  name: 'URLSearchParams',
  signature: 'URLSearchParams(value: text | object).asString | .asJSON',
  summary: 'Query string from an object (`asString`), or an object from a query string (`asJSON`, the last value of a name wins).',
  examples: [
    ['URLSearchParams({a: "x y", b: 2}).asString', 'a=x+y&b=2'],
    ['URLSearchParams("a=1&b=2").asJSON.b', '2'],
  ],
  arity: [1, 1],
  apply: ([value]) => parse(value).toString(),
  field([value], name) {
    if (name === 'asString') return parse(value).toString();
    if (name !== 'asJSON' || typeof value !== 'string') return undefined;
    const made: Record<string, string> = {};
    for (const [key, item] of parse(value)) if (!isHostile(key)) made[key] = item;
    return made;
  },
});
