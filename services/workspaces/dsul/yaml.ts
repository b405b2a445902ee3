/**
 * yaml — how objects are read from and written to YAML files.
 *
 * Reading is safe: no tags that make objects, aliases limited (an alias bomb is refused), duplicate and hostile keys refused, size capped.
 * Writing is stable: keys in the order given, no line folding, no anchors. A change made to an existing file touches only the nodes whose
 * value changed, so comments, key order and quoting of the rest stay as people wrote them; an unchanged value gives back the same text.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Document, isMap, isScalar, isSeq, type Node, parseDocument, stringify, visit, type YAMLMap, type YAMLSeq } from 'yaml';
import { fault } from '../../../mixins/shared/errors.ts';
import { findHostileName, isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';

/** Bytes of one YAML file. */
export const MAX_YAML_BYTES = 5_000_000;
const MAX_ALIASES = 100;
const MAX_DEPTH = 200;
const WRITE = { lineWidth: 0, aliasDuplicateObjects: false } as const;

/**
 * The object a YAML text holds (an empty text is `{}`).
 * @throws RequestValidationError with `data { file, line, column }`
 */
export function readYaml(text: string, file: string): JsonObject {
  return toObject(parseText(text, file), file);
}

/** `value` as a new YAML text. */
export const writeYaml = (value: unknown): string => stringify(value, WRITE);

/** `text` changed so that it reads as `value`: nodes whose value is the same are left as they are. */
export function editYaml(text: string, value: JsonObject, file = 'file'): string {
  let document: Document;
  let before: JsonObject;
  try {
    document = parseText(text, file);
    before = toObject(document, file);
  } catch {
    // The file on disk is not readable any more (edited by hand, say): the new content replaces it.
    return writeYaml(value);
  }
  if (isDeepStrictEqual(before, value)) return text;
  // Aliases share nodes: editing one place would change the other.
  if (!isMap(document.contents) || hasAlias(document)) return writeYaml(value);
  editMap(document, document.contents, before, value);
  const edited = document.toString(WRITE);
  // The law of this function, checked each time: what we write reads as what was asked for.
  return isDeepStrictEqual(toObject(parseText(edited, file), file), value) ? edited : writeYaml(value);
}

function hasAlias(document: Document): boolean {
  let found = false;
  visit(document, {
    Alias() {
      found = true;
      return visit.BREAK;
    },
  });
  return found;
}

function parseText(text: string, file: string): Document {
  if (Buffer.byteLength(text) > MAX_YAML_BYTES)
    throw fault('PayloadTooLarge', {
      message: `${file} is larger than ${MAX_YAML_BYTES} bytes.`,
      data: { file, maxBytes: MAX_YAML_BYTES },
    });
  const document = parseDocument(text, { merge: true, uniqueKeys: true, prettyErrors: true, logLevel: 'silent' });
  const problem = document.errors[0];
  if (problem) {
    const { line, col } = problem.linePos?.[0] ?? { line: 1, col: 1 };
    throw fault('RequestValidationError', {
      message: `${file} is not valid YAML: ${problem.message.split('\n')[0]}`,
      data: { file, line, column: col, code: problem.code },
    });
  }
  return document;
}

function toObject(document: Document, file: string): JsonObject {
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    throw fault('RequestValidationError', { message: `${file} is not valid YAML: ${(cause as Error).message}`, data: { file }, cause });
  }
  if (value === null || value === undefined) return {};
  if (!isPlainObject(value))
    throw fault('RequestValidationError', { message: `${file} must hold a map of keys and values.`, data: { file } });
  assertPlain(value, file);
  return value;
}

/** @throws RequestValidationError for hostile keys or absurd depth */
export function assertPlain(value: unknown, file: string): void {
  if (deeperThan(value, MAX_DEPTH))
    throw fault('RequestValidationError', { message: `${file} is nested deeper than ${MAX_DEPTH} levels.`, data: { file } });
  const hostile = findHostileName(value);
  if (hostile)
    throw fault('RequestValidationError', { message: `${file} uses the reserved key '${hostile}'.`, data: { file, path: hostile } });
}

function deeperThan(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (depth === 0) return true;
  return Object.values(value).some((item) => deeperThan(item, depth - 1));
}

function editMap(document: Document, node: YAMLMap, before: JsonObject, after: JsonObject): void {
  for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) node.delete(key);
  for (const [key, value] of Object.entries(after)) {
    if (Object.hasOwn(before, key) && isDeepStrictEqual(before[key], value)) continue;
    const child = node.get(key, true) as Node | undefined;
    if (!child || !editNode(document, child, before[key], value)) node.set(key, document.createNode(value, WRITE));
  }
}

function editSeq(document: Document, node: YAMLSeq, before: unknown[], after: unknown[]): void {
  // Items equal at the head and at the tail stay; the middle is edited in place as far as it pairs up.
  let head = 0;
  while (head < before.length && head < after.length && isDeepStrictEqual(before[head], after[head])) head++;
  let tail = 0;
  while (tail < before.length - head && tail < after.length - head && isDeepStrictEqual(before.at(-1 - tail), after.at(-1 - tail))) tail++;
  const olds = node.items.slice(head, node.items.length - tail) as Node[];
  const middle = after.slice(head, after.length - tail).map((value, index) => {
    const old = olds[index];
    return old && editNode(document, old, before[head + index], value) ? old : document.createNode(value, WRITE);
  });
  node.items.splice(head, olds.length, ...middle);
}

/** Edits `node` in place; false when it must be replaced. */
function editNode(document: Document, node: Node, before: unknown, after: unknown): boolean {
  if (isDeepStrictEqual(before, after)) return true;
  if (isMap(node) && isPlainObject(before) && isPlainObject(after)) {
    editMap(document, node, before, after);
    return true;
  }
  if (isSeq(node) && Array.isArray(before) && Array.isArray(after)) {
    editSeq(document, node, before, after);
    return true;
  }
  if (isScalar(node) && (after === null || typeof after !== 'object') && typeof before === typeof after) {
    node.value = after;
    // The quoting style of the old text may not suit the new one; the writer chooses again when it must.
    delete node.source;
    return true;
  }
  return false;
}
