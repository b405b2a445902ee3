/** positions — instruction path → line and column in the YAML text it came from. */
import { isNode, LineCounter, parseDocument } from 'yaml';

const cache = new Map<string, { document: ReturnType<typeof parseDocument>; lines: LineCounter }>();

/** Splits `.do[2].repeat["a.b"]` into keys. Keys of conditions are written as `conditions[<expression>]`. */
function keysOf(path: string): (string | number)[] {
  const keys: (string | number)[] = [];
  let at = 0;
  while (at < path.length) {
    if (path[at] === '[') {
      const end = path[at + 1] === '"' ? path.indexOf('"]', at + 2) + 1 : path.indexOf(']', at);
      const text = path.slice(at + 1, end);
      keys.push(text.startsWith('"') ? (JSON.parse(text) as string) : Number(text));
      at = end + 1;
    } else {
      const start = path[at] === '.' ? at + 1 : at;
      const match = /[.[]/.exec(path.slice(start));
      const end = match ? start + match.index : path.length;
      keys.push(path.slice(start, end));
      at = end;
    }
  }
  return keys;
}

/** 1-based; the nearest enclosing node when the exact one is not in the text. Empty when the text does not parse. */
export function positionIn(text: string, path: string): { line?: number; column?: number } {
  let parsed = cache.get(text);
  if (!parsed) {
    const lines = new LineCounter();
    parsed = { document: parseDocument(text, { lineCounter: lines }), lines };
    if (cache.size > 200) cache.clear();
    cache.set(text, parsed);
  }
  try {
    const keys = keysOf(path);
    for (; ; keys.pop()) {
      const node = parsed.document.getIn(keys, true);
      if (isNode(node) && node.range) {
        const { line, col } = parsed.lines.linePos(node.range[0]);
        return { line, column: col };
      }
      if (keys.length === 0) return {};
    }
  } catch {
    return {};
  }
}
