/** text — splitting, searching and patching of texts. Patterns come from users: they run on a linear-time engine (RE2 syntax). */
import type { RE2JS } from 're2js';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { re2js } from '../../../mixins/shared/packages.ts';
import { MAX_MATCH_WORK, MAX_PATTERN, toKey, toNumber } from '../expressions/index.ts';
import type { Module } from './index.ts';
import { applyPatch, unifiedDiff } from './text-diff.ts';
import { MAX_OUTPUT_CHARS, splitText } from './text-split.ts';

const MAX_MATCHES = 10_000;
const tooMuch = (message: string) => fault('LimitExceededError', { message: `text: ${message}` });
const bad = (message: string) => fault('InvalidInstructionError', { message: `text: ${message}` });

function contentOf(parameters: JsonObject): string {
  if (typeof parameters.content !== 'string') throw bad('content must be a text.');
  return parameters.content;
}

/** @throws InvalidInstructionError for a pattern that is none · LimitExceededError when it is too much work on this content */
function patternOf({ pattern, fixed, ignoreCase }: JsonObject, content: string): RE2JS {
  if (typeof pattern !== 'string' || pattern === '') throw bad('pattern must be a text.');
  const source = fixed === true ? re2js().RE2JS.quote(pattern) : pattern;
  if (source.length > MAX_PATTERN) throw tooMuch(`a pattern may have ${MAX_PATTERN} characters.`);
  let compiled: RE2JS;
  try {
    compiled = re2js().RE2JS.compile(source, ignoreCase === true ? re2js().RE2JS.CASE_INSENSITIVE : 0);
  } catch (cause) {
    throw fault('InvalidInstructionError', {
      message: `text: '${pattern.slice(0, 100)}' is not a pattern: ${(cause as Error).message}`,
      cause,
    });
  }
  const possible = Math.floor(MAX_MATCH_WORK / Math.max(1, compiled.programSize()));
  if (content.length > possible) throw tooMuch(`this pattern can be tried on ${possible} characters, not on ${content.length}.`);
  return compiled;
}

const count = (value: unknown, fallback: number): number => {
  const found = toNumber(value ?? fallback);
  return Number.isInteger(found) && found >= 0 ? found : fallback;
};

function search(parameters: JsonObject): JsonObject {
  const content = contentOf(parameters);
  const lines = content.split('\n');
  const pattern = patternOf(parameters, content);
  const before = count(parameters.before ?? parameters.context, 0);
  const after = count(parameters.after ?? parameters.context, 0);
  const max = Math.min(count(parameters.maxCount, MAX_MATCHES), MAX_MATCHES);
  const matches: JsonObject[] = [];
  for (const [index, line] of lines.entries()) {
    if (matches.length >= max) break;
    const matcher = pattern.matcher(line);
    if (parameters.onlyMatching === true && parameters.invert !== true) {
      while (matches.length < max && matcher.find()) matches.push({ line: index + 1, text: matcher.group() ?? '' });
      continue;
    }
    if (matcher.find() === (parameters.invert === true)) continue;
    const context = before || after ? { context: lines.slice(Math.max(0, index - before), index + after + 1) } : {};
    matches.push({ line: index + 1, text: line, ...context });
  }
  return { matches, count: matches.length };
}

/** `$1`, `$<name>`, `$&`, `$$` of a replacement. */
function expand(replacement: string, groups: (name: string | number) => string): string {
  return replacement.replace(/\$(?:\$|&|(\d{1,2})|<([^>]+)>)/g, (whole, number?: string, name?: string) => {
    if (whole === '$$') return '$';
    if (whole === '$&') return groups(0);
    return groups(number === undefined ? (name as string) : Number(number));
  });
}

function substitute(parameters: JsonObject): JsonObject {
  const content = contentOf(parameters);
  const pattern = patternOf(parameters, content);
  const replacement = toKey(parameters.replacement ?? '');
  const range = parameters.lineRange;
  const lines = content.split('\n');
  const [from, to] = Array.isArray(range) ? [count(range[0], 1) || 1, count(range[1], lines.length)] : [1, lines.length];
  let replaced = 0;
  const replaceIn = (text: string): string => {
    const matcher = pattern.matcher(text);
    let result = '';
    let at = 0;
    while ((parameters.all !== false || replaced === 0) && matcher.find()) {
      const groups = (name: string | number): string => {
        try {
          return (typeof name === 'number' && name > matcher.groupCount() ? '' : matcher.group(name as never)) ?? '';
        } catch {
          return '';
        }
      };
      result += text.slice(at, matcher.start()) + (parameters.fixed === true ? replacement : expand(replacement, groups));
      at = matcher.end();
      replaced++;
      if (result.length > MAX_OUTPUT_CHARS) throw tooMuch(`the result would have more than ${MAX_OUTPUT_CHARS} characters.`);
    }
    return result + text.slice(at);
  };
  const middle = replaceIn(lines.slice(from - 1, to).join('\n'));
  return { content: [...lines.slice(0, from - 1), middle, ...lines.slice(to)].join('\n'), count: replaced };
}

const MIME: Record<string, string> = {
  css: 'text/css',
  csv: 'text/csv',
  doc: 'application/msword',
  docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  gif: 'image/gif',
  html: 'text/html',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  js: 'text/javascript',
  json: 'application/json',
  md: 'text/markdown',
  mp3: 'audio/mpeg',
  mp4: 'video/mp4',
  pdf: 'application/pdf',
  png: 'image/png',
  pptx: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
  svg: 'image/svg+xml',
  txt: 'text/plain',
  webp: 'image/webp',
  xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  xml: 'application/xml',
  yaml: 'application/yaml',
  yml: 'application/yaml',
  zip: 'application/zip',
};

/** Parts of an address; the last segment `id.filename.ext` names a stored file. */
export function parseUrl(text: string): JsonObject {
  let url: URL | null = null;
  try {
    url = new URL(text);
  } catch {
    // A path alone has parts too.
  }
  const path = url?.pathname ?? text.replace(/[?#].*$/s, '');
  const last = decodeSafely(path.split('/').pop() ?? '');
  const parts = last.split('.');
  const ext = parts.length > 1 ? (parts.at(-1) as string).toLowerCase() : '';
  const isStored = parts.length >= 3;
  const query: JsonObject = {};
  for (const [key, value] of url?.searchParams ?? new URLSearchParams(text.split('?')[1] ?? '')) query[key] = value;
  return {
    domain: url?.hostname ?? '',
    path,
    id: isStored ? (parts[0] as string) : '',
    filename: isStored ? parts.slice(1).join('.') : last,
    ext,
    workspaceId: /\/(?:files|workspaces)\/([^/]+)\//.exec(path)?.[1] ?? '',
    mimetype: Object.hasOwn(MIME, ext) ? (MIME[ext] as string) : '',
    query,
  };
}

function decodeSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const text: Module = {
  parseUrl: ({ parameters }) => parseUrl(toKey(parameters.url ?? '')),
  splitText: ({ parameters }) => splitText(parameters),
  search: ({ parameters }) => search(parameters),
  substitute: ({ parameters }) => substitute(parameters),
  diff: ({ parameters }) => unifiedDiff(parameters),
  applyPatch: ({ parameters }) => applyPatch(parameters),
};
