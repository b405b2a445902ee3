/**
 * stream — event streams of a fetched service, framed as the standard says (blank line between messages, UTF-8 over packet borders), read at
 * the reader's pace: nothing is taken from the network before it is asked for.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { readPath } from '../../../mixins/shared/json.ts';
import type { FetchRequest, LiveStream } from '../interpreter/index.ts';

export interface Chunk {
  data: unknown[];
  event?: string;
  id?: string;
  retry?: number;
  comment?: string;
}

export interface StreamItem {
  index: number;
  chunk: Chunk;
  concatenated?: { value: unknown };
  additionalPayload?: unknown;
}

/** Longest message a stream may send, characters. */
const MAX_MESSAGE_CHARS = 5_000_000;

const parsed = (text: string): unknown => {
  if (!/^[[{]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

function addLine(chunk: Chunk, line: string): void {
  const colon = line.indexOf(':');
  const field = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
  if (field === 'data') chunk.data.push(value);
  else if (field === 'event') chunk.event = value;
  else if (field === 'id') chunk.id = value;
  else if (field === 'retry' && /^\d+$/.test(value)) chunk.retry = Number(value);
  else if (field === '') chunk.comment = value;
}

/** Several data lines are one text by the standard; services that send one JSON value per line are understood too. */
function finish(chunk: Chunk): Chunk {
  const lines = chunk.data as string[];
  const whole = lines.length > 1 ? parsed(lines.join('\n')) : undefined;
  chunk.data = whole !== undefined && typeof whole !== 'string' ? [whole] : lines.map(parsed);
  return chunk;
}

/** Messages of an event stream; a last one without its blank line counts too. @throws RangeError for a message that never ends */
export async function* sseChunks(source: AsyncIterable<Uint8Array>): AsyncGenerator<Chunk> {
  const decoder = new TextDecoder();
  let rest = '';
  let chunk: Chunk = { data: [] };
  let isEmpty = true;
  const lines = function* (text: string, isEnd: boolean): Generator<Chunk> {
    rest += text;
    if (rest.length > MAX_MESSAGE_CHARS) throw new RangeError('A message of the stream is too long.');
    for (;;) {
      const at = rest.search(/\r\n|\n|\r(?!$)/);
      if (at < 0) break;
      const line = rest.slice(0, at);
      rest = rest.slice(at + (rest.startsWith('\r\n', at) ? 2 : 1));
      if (line !== '') {
        addLine(chunk, line);
        isEmpty = false;
      } else if (!isEmpty) {
        yield finish(chunk);
        chunk = { data: [] };
        isEmpty = true;
      }
    }
    if (!isEnd) return;
    const line = rest.replace(/\r$/, '');
    if (line) addLine(chunk, line);
    if (line || !isEmpty) yield finish(chunk);
  };
  for await (const bytes of source) yield* lines(decoder.decode(bytes, { stream: true }), false);
  yield* lines(decoder.decode(), true);
}

/** Any other body asked for as a stream: one chunk per piece of text, one JSON value per line when lines are JSON. */
export async function* textChunks(source: AsyncIterable<Uint8Array>): AsyncGenerator<Chunk> {
  const decoder = new TextDecoder();
  for await (const bytes of source) {
    const text = decoder.decode(bytes, { stream: true });
    if (text) yield { data: [parsed(text)] };
  }
  const last = decoder.decode();
  if (last) yield { data: [parsed(last)] };
}

const join = (before: unknown, value: unknown): unknown => {
  if (Array.isArray(before)) return before.concat(value);
  return before === undefined ? value : `${before}${typeof value === 'object' ? JSON.stringify(value) : value}`;
};

/** Numbers the chunks and concatenates what the instruction asks for. */
export async function* streamItems(
  chunks: AsyncIterable<Chunk>,
  options: FetchRequest['stream'],
  now: () => number,
): AsyncGenerator<StreamItem> {
  const { concatenate, payload } = options ?? {};
  // `choices[0].delta` is `choices.0.delta`, as everywhere in the language.
  const dotted = concatenate?.path?.replace(/\[["']?([^\]"']*)["']?\]/g, '.$1');
  const path = dotted ? dotted.split('.').filter(Boolean) : [];
  let value: unknown;
  let index = 0;
  let waiting: Chunk | null = null;
  let lastAt = Number.NEGATIVE_INFINITY;
  const item = (chunk: Chunk): StreamItem => {
    lastAt = now();
    return {
      index: index++,
      chunk,
      ...(concatenate ? { concatenated: { value } } : {}),
      ...(payload === undefined ? {} : { additionalPayload: payload }),
    };
  };
  for await (const chunk of chunks) {
    if (concatenate)
      for (const data of chunk.data) {
        const part = path.length ? readPath(data, path) : data;
        if (part !== undefined && part !== null) value = join(value, part);
      }
    const merged: Chunk = waiting ? { ...waiting, ...chunk, data: [...waiting.data, ...chunk.data] } : chunk;
    if (concatenate?.throttle && now() - lastAt < concatenate.throttle) {
      waiting = merged;
      continue;
    }
    waiting = null;
    yield item(merged);
  }
  if (waiting) yield item(waiting);
}

/** The stream as a value of the run: read by `repeat`, ended by `cancel` or when the run ends. */
export function liveStream(items: AsyncGenerator<StreamItem>, end: () => void): LiveStream {
  return {
    isLiveStream: true,
    [Symbol.asyncIterator]: () => items,
    async cancel() {
      end();
      await items.return(undefined).catch(() => {});
    },
  };
}
