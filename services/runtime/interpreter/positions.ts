/** positions — instruction path → line and column in the YAML text it came from. */
import { isMap, isNode, isScalar, LineCounter, type Node, parseDocument, type Scalar } from 'yaml';

const cache = new Map<string, { document: ReturnType<typeof parseDocument>; lines: LineCounter }>();

/** `.do[2].repeat["a.b"]`: keys as they stand in places of problems. */
export const pathOf = (keys: readonly (string | number)[]): string =>
  keys.map((key) => (typeof key === 'number' ? `[${key}]` : /^[^.[\]"]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`)).join('');

/** Splits `.do[2].repeat["a.b"]` into keys. Keys of conditions are written as `conditions["<expression>"]`. */
function keysOf(path: string): (string | number)[] {
  const keys: (string | number)[] = [];
  for (let at = 0; at < path.length; ) {
    if (path[at] === '[') {
      const quoted = path[at + 1] === '"' ? /^"(?:[^"\\]|\\.)*"/.exec(path.slice(at + 1))?.[0] : undefined;
      const end = quoted === undefined ? path.indexOf(']', at) : at + 1 + quoted.length;
      if (end < 0) return keys;
      keys.push(quoted === undefined ? Number(path.slice(at + 1, end)) : (JSON.parse(quoted) as string));
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

/** Where character `offset` of a text stands in its source: exact for what is written on one line and for literal blocks. */
function offsetIn(text: string, node: Scalar, offset: number): number {
  const [start, end] = node.range as [number, number, number];
  const value = String(node.value);
  const source = text.slice(start, end);
  if (node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED') {
    const before = value.slice(0, offset).split('\n');
    const line = source.split('\n')[before.length];
    if (node.type !== 'BLOCK_LITERAL' || line === undefined) return start;
    const lineStart = source.split('\n').slice(0, before.length).join('\n').length + 1;
    return start + lineStart + (line.length - line.trimStart().length) + (before.at(-1) as string).length;
  }
  const at = source.indexOf(value);
  return at < 0 ? start : start + at + offset;
}

/** The key of a pair when that is meant, and when its path ends in conditions["…"]: the expression is there, its value is a block. */
function nodeAt(document: ReturnType<typeof parseDocument>, keys: (string | number)[], isKey: boolean): Node | undefined {
  if (isKey || keys.at(-2) === 'conditions') {
    const map = document.getIn(keys.slice(0, -1), true);
    const pair = isMap(map) ? map.items.find(({ key }) => isScalar(key) && key.value === keys.at(-1)) : undefined;
    if (isNode(pair?.key)) return pair.key;
  }
  const node = document.getIn(keys, true);
  return isNode(node) ? node : undefined;
}

/**
 * 1-based; the nearest enclosing node when the exact one is not in the text. Empty when the text does not parse.
 * @param offset of the fault in the text that stands at `path`
 * @param isKey the last key of the path is at fault, not what it holds
 */
export function positionIn(
  text: string,
  path: string,
  { offset, isKey = false }: { offset?: number | undefined; isKey?: boolean } = {},
): { line?: number; column?: number } {
  let parsed = cache.get(text);
  if (!parsed) {
    const lines = new LineCounter();
    parsed = { document: parseDocument(text, { lineCounter: lines }), lines };
    if (cache.size > 200) cache.clear();
    cache.set(text, parsed);
  }
  try {
    const keys = keysOf(path);
    for (let isExact = true; ; keys.pop(), isExact = false) {
      const node = nodeAt(parsed.document, keys, isKey && isExact);
      if (node?.range) {
        const at = isExact && offset !== undefined && isScalar(node) ? offsetIn(text, node, offset) : node.range[0];
        const { line, col } = parsed.lines.linePos(at);
        return { line, column: col };
      }
      if (keys.length === 0) return {};
    }
  } catch {
    return {};
  }
}
