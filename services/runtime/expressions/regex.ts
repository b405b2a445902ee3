/**
 * regex — patterns of users run on RE2: linear in the text, whatever the pattern. Look-around and back-references do not exist there and
 * are refused when the pattern is compiled. @see https://github.com/google/re2/wiki/Syntax
 */
import { RE2JS } from 're2js';
import { ExpressionError } from './errors.ts';

export interface Pattern {
  test(text: string): boolean;
}

const MAX_PATTERN = 2_000;
const MAX_CACHED = 500;
const cache = new Map<string, Pattern>();

const FLAGS: Record<string, number> = { i: RE2JS.CASE_INSENSITIVE, m: RE2JS.MULTILINE, s: RE2JS.DOTALL, g: 0, u: 0, y: 0 };

/** Characters that decide nothing in a pattern without operators: it can be searched as text. */
const isPlainText = (source: string) => !/[\\^$.|?*+()[\]{}]/.test(source);

function compile(source: string, flags: string): Pattern {
  if (source.length > MAX_PATTERN)
    throw new ExpressionError('LimitExceededError', `A pattern may have ${MAX_PATTERN} characters.`, '', { start: 0, end: 0 });
  if (!flags.includes('i') && isPlainText(source)) return { test: (text) => text.includes(source) };
  let bits = 0;
  for (const flag of flags) bits |= FLAGS[flag] ?? 0;
  try {
    const compiled = RE2JS.compile(source, bits);
    return { test: (text) => compiled.matcher(text).find() };
  } catch (error) {
    throw new ExpressionError(
      'InvalidExpressionSyntax',
      `Invalid pattern '${source}': ${(error as Error).message}. Look-around and back-references are not available.`,
      source,
      { start: 0, end: source.length },
    );
  }
}

/** Pattern from `/source/flags` or a plain source. @throws ExpressionError */
export function regexFrom(text: string, flags?: string): Pattern {
  const key = flags === undefined ? text : `${flags}\u0000${text}`;
  const known = cache.get(key);
  if (known) return known;
  const delimited = flags === undefined ? /^\/(.*)\/([a-z]*)$/s.exec(text) : null;
  const made = delimited ? compile(delimited[1] as string, delimited[2] as string) : compile(text, flags ?? '');
  if (cache.size >= MAX_CACHED) cache.delete(cache.keys().next().value as string);
  cache.set(key, made);
  return made;
}
