/** unsafejson */
import { defineFunction } from '../function.ts';
import { harmless } from './json.ts';

const MAX_TRIES = 50;

/** End of the bracketed value that starts at `start`, texts respected, or -1. */
function closing(text: string, start: number): number {
  let depth = 0;
  let inText = false;
  for (let at = start; at < text.length; at++) {
    const char = text[at];
    if (inText) {
      if (char === '\\') at++;
      else if (char === '"') inText = false;
    } else if (char === '"') inText = true;
    else if (char === '{' || char === '[') depth++;
    else if ((char === '}' || char === ']') && --depth === 0) return at + 1;
  }
  return -1;
}

export const unsafejson = defineFunction({
  name: 'unsafejson',
  signature: 'unsafejson(text: text): list | object | undefined',
  summary: 'First JSON object or list found inside a text, also within code fences. Never fails: undefined when there is none.',
  examples: [
    [`unsafejson('Here: {"a": [1]} done').a`, [1]],
    ['unsafejson("nothing")', undefined],
  ],
  arity: [1, 1],
  apply([value], env) {
    if (typeof value === 'object') return value ?? undefined;
    if (typeof value !== 'string') return undefined;
    let tries = 0;
    for (let at = value.search(/[{[]/); at >= 0 && tries < MAX_TRIES; tries++) {
      env.charge(1 + Math.floor(value.length / 100));
      const end = closing(value, at);
      if (end > 0) {
        try {
          return JSON.parse(value.slice(at, end), harmless);
        } catch {
          // Not JSON after all: look further.
        }
      }
      const next = value.slice(at + 1).search(/[{[]/);
      at = next < 0 ? -1 : at + 1 + next;
    }
    return undefined;
  },
});
