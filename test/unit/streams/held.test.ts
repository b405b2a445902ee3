/** Streams kept for readers on other nodes: in pieces, in order, each until the next one is asked for. */
import { randomBytes } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { fault } from '../../../mixins/shared/errors.ts';
import { openHeld } from '../../../mixins/streams/held.ts';
import { pulled } from '../../../mixins/streams/pulled.ts';
import { eventually } from '../../support/eventually.ts';

const GONE = { type: 'ObjectNotFoundError' };
const MINUTE = 60_000;
const bytesOf = async (stream: Readable) => Buffer.concat(await stream.toArray());

describe('a stream kept for another node', () => {
  it.each([
    ['nothing', []],
    ['small chunks', Array.from({ length: 3_000 }, () => randomBytes(700))],
    ['one large chunk', [randomBytes(3_000_001)]],
    ['text', ['é'.repeat(400_000), 'end']],
    ['exactly a piece', [randomBytes(512 * 1024)]],
  ])('comes whole: %s', async (_name, chunks: (Buffer | string)[]) => {
    const held = openHeld(MINUTE);
    const ref = held.keep(Readable.from(chunks, { objectMode: false }), 'n');
    const largest: number[] = [];
    const next = async (index: number) => {
      const piece = await held.next(ref, index);
      largest.push(Buffer.from(piece, 'base64').length);
      return piece;
    };
    const got = await bytesOf(pulled({ next, end: () => held.end(ref), retryAfterMs: [] }));
    expect(got.equals(Buffer.concat(chunks.map((chunk) => Buffer.from(chunk as string))))).toBe(true);
    expect(Math.max(...largest)).toBeLessThanOrEqual(512 * 1024);
    expect(held.count).toBe(0);
  });

  it('gives the same piece again when its answer was lost, and no other one', async () => {
    const held = openHeld(MINUTE);
    const content = randomBytes(1_400_000);
    const ref = held.keep(Readable.from([content]), 'n');
    let calls = 0;
    const next = async (index: number) => {
      const piece = await held.next(ref, index);
      if (++calls % 2) throw new Error('RequestTimeoutError');
      return piece;
    };
    expect((await bytesOf(pulled({ next, end: () => {}, retryAfterMs: [1] }))).equals(content)).toBe(true);
    await expect(held.next(ref, 1)).rejects.toMatchObject(GONE);
    await expect(held.next(ref, 9)).rejects.toMatchObject(GONE);
    await expect(held.next('f'.repeat(32), 0)).rejects.toMatchObject(GONE);
  });

  it('is read no further than its reader wants', async () => {
    const held = openHeld(MINUTE);
    let made = 0;
    const source = Readable.from(
      (function* () {
        for (;;) {
          made += 64 * 1024;
          yield Buffer.alloc(64 * 1024);
        }
      })(),
      { objectMode: false },
    );
    const ref = held.keep(source, 'n');
    const reader = pulled({ next: (index) => held.next(ref, index), end: () => held.end(ref), retryAfterMs: [] });
    for (let i = 0; i < 5; i++) {
      if (reader.read(1_000) === null) await new Promise((resolve) => reader.once('readable', resolve));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(made).toBeLessThan(3_000_000);
    reader.destroy();
    await eventually(() => expect([held.count, source.destroyed]).toEqual([0, true]));
  });

  it('fails its reader when it fails', async () => {
    const held = openHeld(MINUTE);
    const source = new PassThrough();
    const ref = held.keep(source, 'n');
    source.write('half');
    setTimeout(() => source.destroy(fault('ObjectNotFoundError', { message: 'removed' })), 5);
    await expect(bytesOf(pulled({ next: (index) => held.next(ref, index), end: () => {}, retryAfterMs: [] }))).rejects.toMatchObject({
      message: 'removed',
    });
    const broken = new PassThrough();
    broken.on('error', () => {});
    const other = held.keep(broken, 'n');
    broken.destroy(new Error('EIO'));
    await new Promise(setImmediate);
    await expect(held.next(other, 0)).rejects.toThrow('EIO');
  });

  it('is given up when its reader asks for nothing for long, or for a while after its node is gone', async () => {
    const held = openHeld(MINUTE, 60);
    const [silent, asking, others] = [new PassThrough(), new PassThrough(), new PassThrough()];
    held.keep(silent, 'gone');
    const back = held.keep(asking, 'gone');
    held.keep(others, 'other');
    held.lost('gone');
    asking.end('x');
    expect(await held.next(back, 0)).toBe(Buffer.from('x').toString('base64'));
    await eventually(() => expect([silent.destroyed, others.destroyed, held.count]).toEqual([true, false, 2]));
    held.endAll();
    expect([others.destroyed, held.count]).toEqual([true, 0]);

    const idle = openHeld(30);
    idle.keep(new PassThrough(), 'n');
    await eventually(() => expect(idle.count).toBe(0));
  });
});
