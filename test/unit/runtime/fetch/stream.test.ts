import { describe, expect, it } from '@jest/globals';
import { type Chunk, sseChunks, streamItems } from '../../../../services/runtime/fetch/stream.ts';

async function* bytes(...pieces: (string | Buffer)[]) {
  for (const piece of pieces) yield Buffer.from(piece as string);
}
const all = async <T>(items: AsyncIterable<T>) => {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
};

describe('server-sent events', () => {
  it('are cut by blank lines, wherever the packets end', async () => {
    const text = 'event: delta\ndata: {"text":"Hé"}\nid: 7\nretry: 3000\n: note\n\ndata: plain\n\n';
    const buffer = Buffer.from(text);
    const expected = [{ event: 'delta', data: [{ text: 'Hé' }], id: '7', retry: 3000, comment: ' note'.trim() }, { data: ['plain'] }];

    for (let cut = 0; cut <= buffer.length; cut++)
      expect(await all(sseChunks(bytes(buffer.subarray(0, cut), buffer.subarray(cut))))).toEqual(expected);
  });

  it('may end lines in any of three ways, and end without a blank line', async () => {
    expect(await all(sseChunks(bytes('data: 1\r\n\r\ndata: 2\r', '\rdata: 3')))).toEqual([
      { data: ['1'] },
      { data: ['2'] },
      { data: ['3'] },
    ]);
  });

  it('with several data lines are one JSON value, or several', async () => {
    expect(await all(sseChunks(bytes('data: {"a":\ndata: 1}\n\ndata: {"b":2}\ndata: {"c":3}\n\n')))).toEqual([
      { data: [{ a: 1 }] },
      { data: [{ b: 2 }, { c: 3 }] },
    ]);
  });

  it('that never end are refused', async () => {
    await expect(all(sseChunks(bytes('x'.repeat(5_000_001))))).rejects.toThrow(RangeError);
  });
});

describe('items of a stream', () => {
  const chunks = async function* (): AsyncGenerator<Chunk> {
    for (const text of ['a', 'b', 'c']) yield { data: [{ delta: { text } }] };
  };

  it('are numbered and carry what was concatenated so far', async () => {
    const items = await all(streamItems(chunks(), { concatenate: { path: 'delta.text' }, payload: { id: 1 } }, Date.now));

    expect(items.map(({ index, concatenated }) => [index, concatenated?.value])).toEqual([
      [0, 'a'],
      [1, 'ab'],
      [2, 'abc'],
    ]);
    expect(items[0]?.additionalPayload).toEqual({ id: 1 });
  });

  it('are concatenated by a path with indexes, however they are written', async () => {
    const deltas = async function* (): AsyncGenerator<Chunk> {
      for (const text of ['a', 'b']) yield { data: [{ choices: [{ delta: { text } }] }] };
    };

    for (const path of ['choices[0].delta.text', 'choices.0.delta.text', 'choices[0]["delta"].text']) {
      const items = await all(streamItems(deltas(), { concatenate: { path } }, Date.now));

      expect(items.at(-1)?.concatenated?.value).toBe('ab');
    }
  });

  it('are held back by the throttle, and none is lost', async () => {
    const items = await all(streamItems(chunks(), { concatenate: { path: 'delta.text', throttle: 1000 } }, () => 0));

    expect(items.map(({ concatenated }) => concatenated?.value)).toEqual(['a', 'abc']);
    expect(items[1]?.chunk.data).toHaveLength(2);
  });
});
