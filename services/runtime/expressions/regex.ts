/**
 * regex — patterns of users run on RE2: linear in the text, whatever the pattern. Look-around and back-references do not exist there and
 * are refused when the pattern is compiled. Linear still means "steps of the pattern times characters": that product is charged to the
 * run and has a cap, so that no single match holds the process for long. @see https://github.com/google/re2/wiki/Syntax
 */
import { createRequire } from 'node:module';
import type { RE2JS } from 're2js';
import { ExpressionError } from './errors.ts';

const require = createRequire(import.meta.url);
let library: typeof import('re2js') | undefined;
/** Loaded with the first pattern that needs it. */
function re2(): typeof RE2JS {
  library ??= require('re2js') as typeof import('re2js');
  return library.RE2JS;
}

export interface Pattern {
  /** @param charge told what the match costs at most, before it begins @throws ExpressionError LimitExceededError */
  test(text: string, charge?: (steps: number) => void): boolean;
}

/** Characters of a pattern. */
export const MAX_PATTERN = 2_000;
/** Instructions of the compiled pattern times characters of the text: about a second of work in the worst case. */
export const MAX_MATCH_WORK = 20_000_000;
const WORK_PER_STEP = 8;
const MAX_CACHED = 500;
const cache = new Map<string, Pattern>();

const FLAGS: Record<string, () => number> = {
  i: () => re2().CASE_INSENSITIVE,
  m: () => re2().MULTILINE,
  s: () => re2().DOTALL,
  g: () => 0,
  u: () => 0,
  y: () => 0,
};

/** Characters that decide nothing in a pattern without operators: it can be searched as text. */
const isPlainText = (source: string) => !/[\\^$.|?*+()[\]{}]/.test(source);

function compile(source: string, flags: string): Pattern {
  if (source.length > MAX_PATTERN)
    throw new ExpressionError('LimitExceededError', `A pattern may have ${MAX_PATTERN} characters.`, '', { start: 0, end: 0 });
  if (!flags.includes('i') && isPlainText(source)) return { test: (text) => text.includes(source) };
  let bits = 0;
  for (const flag of flags) bits |= FLAGS[flag]?.() ?? 0;
  let compiled: RE2JS;
  try {
    compiled = re2().compile(source, bits);
  } catch (error) {
    throw new ExpressionError(
      'InvalidExpressionSyntax',
      `Invalid pattern '${source}': ${(error as Error).message}. Look-around and back-references are not available.`,
      source,
      { start: 0, end: source.length },
    );
  }
  const size = Math.max(1, compiled.programSize());
  return {
    test(text, charge) {
      const work = size * text.length;
      if (work > MAX_MATCH_WORK)
        throw new ExpressionError(
          'LimitExceededError',
          `This pattern on a text of ${text.length} characters is too much work; ${Math.floor(MAX_MATCH_WORK / size)} characters are possible.`,
          '',
          { start: 0, end: 0 },
        );
      charge?.(1 + Math.floor(work / WORK_PER_STEP));
      return compiled.matcher(text).find();
    },
  };
}

function cached(key: string, make: () => Pattern): Pattern {
  const known = cache.get(key);
  if (known) return known;
  const made = make();
  if (cache.size >= MAX_CACHED) cache.delete(cache.keys().next().value as string);
  cache.set(key, made);
  return made;
}

/** Pattern of a source, taken as it is. @throws ExpressionError */
export const regexFrom = (source: string, flags = ''): Pattern => cached(`${flags}\u0000${source}`, () => compile(source, flags));

/** `/source/flags` in its two parts; any other text is a source without flags. */
export function delimited(text: string): { source: string; flags: string } {
  const found = /^\/(.*)\/([gimsuy]*)$/s.exec(text);
  return found ? { source: found[1] as string, flags: found[2] as string } : { source: text, flags: '' };
}
