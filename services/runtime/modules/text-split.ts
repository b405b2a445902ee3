/** text-split — long texts in pieces of a given size: split at the coarsest separator that helps, pieces merged up to the size, with overlap. */
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { toKey, toNumber } from '../expressions/index.ts';

type Keep = 'start' | 'end' | false;

/** Characters that all pieces may have together: an overlap nearly as large as the pieces repeats the text over and over. */
export const MAX_OUTPUT_CHARS = 20_000_000;

const DEFAULT_SEPARATORS = ['\n\n', '\n', ' ', ''];

/** `[{ content, size }]` of `content` (a text or a list of texts). */
export function splitText(parameters: JsonObject): { content: string; size: number }[] {
  const { content, separators } = parameters;
  const size = toNumber(parameters.chunkSize ?? 1000);
  const overlap = toNumber(parameters.chunkOverlap ?? 0);
  if (!(size >= 1) || !(overlap >= 0) || overlap >= size)
    throw fault('InvalidInstructionError', { message: 'text.splitText: chunkSize must be at least 1 and larger than chunkOverlap.' });
  const texts = Array.isArray(content) ? content.map(toKey) : [toKey(content ?? '')];
  const marks = Array.isArray(separators) && separators.length ? separators.map(toKey) : DEFAULT_SEPARATORS;
  const keep: Keep =
    parameters.keepSeparator === true
      ? 'start'
      : parameters.keepSeparator === 'start' || parameters.keepSeparator === 'end'
        ? parameters.keepSeparator
        : false;
  const options: Options = { size, overlap, keep, made: { chars: 0 } };
  return texts.flatMap((item) => split(item, marks, options)).map((piece) => ({ content: piece, size: piece.length }));
}

interface Options {
  size: number;
  overlap: number;
  keep: Keep;
  made: { chars: number };
}

function pieces(text: string, separator: string, keep: Keep): string[] {
  if (separator === '') return Array.from(text);
  const parts = text.split(separator);
  if (keep === 'start') return parts.map((part, i) => (i > 0 ? separator + part : part)).filter(Boolean);
  if (keep === 'end') return parts.map((part, i) => (i < parts.length - 1 ? part + separator : part)).filter(Boolean);
  return parts.filter(Boolean);
}

function split(text: string, separators: string[], options: Options): string[] {
  const at = separators.findIndex((separator) => separator === '' || text.includes(separator));
  const separator = at < 0 ? '' : (separators[at] as string);
  const rest = at < 0 ? [] : separators.slice(at + 1);
  const glue = options.keep ? '' : separator;
  const result: string[] = [];
  let small: string[] = [];
  const flush = () => {
    if (small.length) result.push(...merge(small, glue, options));
    small = [];
  };
  for (const piece of pieces(text, separator, options.keep)) {
    if (piece.length <= options.size) {
      small.push(piece);
      continue;
    }
    flush();
    result.push(...(rest.length ? split(piece, rest, options) : hardCut(piece, options.size)));
  }
  flush();
  return result;
}

const hardCut = (text: string, size: number): string[] =>
  Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size));

/** Joins neighbours while they fit; the tail of one piece, up to the overlap, begins the next. */
function merge(parts: string[], glue: string, { size, overlap, made }: Options): string[] {
  const result: string[] = [];
  const current: string[] = [];
  let length = 0;
  const push = () => {
    const piece = current.join(glue).trim();
    made.chars += piece.length;
    if (made.chars > MAX_OUTPUT_CHARS)
      throw fault('LimitExceededError', { message: `text.splitText: the pieces would have more than ${MAX_OUTPUT_CHARS} characters.` });
    if (piece) result.push(piece);
  };
  for (const part of parts) {
    const added = part.length + (current.length ? glue.length : 0);
    if (length + added > size && current.length) {
      push();
      while (current.length && (length > overlap || length + part.length + glue.length > size)) {
        length -= (current[0] as string).length + (current.length > 1 ? glue.length : 0);
        current.shift();
      }
    }
    length += part.length + (current.length ? glue.length : 0);
    current.push(part);
  }
  push();
  return result;
}
