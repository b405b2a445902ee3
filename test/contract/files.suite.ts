/** files.suite — every sentence of the files contract. `open` gives a fresh view of one shared store, as another process would have. */
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { FilesDriver } from '../../mixins/storage/files/contract.ts';

export interface FilesSuiteOptions {
  /** Files of the listing that must go beyond one page of the store. */
  manyFiles?: number;
  /** Whether two writers that both expect the same etag are told apart by the store itself. */
  isConditionalWriteAtomic?: boolean;
}

const type = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (error) => error.type,
  );

export function filesContract(
  name: string,
  open: (area: string) => Promise<FilesDriver>,
  tearDown: () => Promise<void> = async () => {},
  { manyFiles = 1100, isConditionalWriteAtomic = true }: FilesSuiteOptions = {},
): void {
  describe(`files on ${name}`, () => {
    let files: FilesDriver;
    let other: FilesDriver;
    let elsewhere: FilesDriver;

    beforeAll(async () => {
      files = await open('models');
      other = await open('models');
      elsewhere = await open('uploads');
    });
    afterAll(async () => {
      for (const each of [files, other, elsewhere]) await each?.close();
      await tearDown();
    });
    beforeEach(async () => {
      await files.removeAll('');
      await elsewhere.removeAll('');
    });

    const keys = async (prefix = '', store = other) => {
      const found: string[] = [];
      for await (const { key } of store.list(prefix)) found.push(key);
      return found;
    };
    const text = async (key: string) => (await other.read(key))?.body.toString() ?? null;

    it('answers null for what is absent', async () => {
      await files.write('a/b', 'x');

      for (const key of ['nothing', 'a', 'a/b/c', 'a/c']) {
        expect(await files.read(key)).toBeNull();
        expect(await files.info(key)).toBeNull();
        expect(await files.stream(key)).toBeNull();
        expect(await files.remove(key)).toBe(false);
      }
    });

    it.each([
      ['a text', 'žluťoučký', Buffer.from('žluťoučký')],
      ['nothing', '', Buffer.alloc(0)],
      ['bytes', Buffer.from([0, 255, 10, 13, 128]), Buffer.from([0, 255, 10, 13, 128])],
    ])('returns %s as it was written', async (_, body, expected) => {
      const before = Date.now();

      const written = await files.write('w/index.yml', body);
      const found = await other.read('w/index.yml');

      expect(found?.body.equals(expected)).toBe(true);
      expect(found?.info).toMatchObject({ key: 'w/index.yml', size: expected.length, etag: written.etag });
      expect(found?.info.modifiedAt).toBeGreaterThan(before - 60_000);
      expect(found?.info.modifiedAt).toBeLessThan(Date.now() + 60_000);
      expect(await other.info('w/index.yml')).toMatchObject({ size: expected.length, etag: written.etag });
    });

    it('writes a stream of any length', async () => {
      const chunk = Buffer.alloc(64 * 1024, 7);
      async function* chunks() {
        for (let i = 0; i < 100; i++) yield chunk;
      }

      const written = await files.write('big', Readable.from(chunks()));

      expect(written.size).toBe(100 * chunk.length);
      const found = await other.stream('big');
      expect((await buffer(found!.body)).equals(Buffer.alloc(100 * chunk.length, 7))).toBe(true);
    });

    it('leaves the old content when the stream of the new one breaks', async () => {
      await files.write('a', 'old');
      async function* broken() {
        yield Buffer.from('new');
        throw new Error('gone');
      }

      await expect(files.write('a', Readable.from(broken()))).rejects.toThrow();

      expect(await text('a')).toBe('old');
      expect(await keys()).toEqual(['a']);
    });

    it('shows a reader the old content or the new one, never a part', async () => {
      const bodies = [Buffer.alloc(100_000, 'a'), Buffer.alloc(200_000, 'b')];
      await files.write('a', bodies[0]!);
      let isDone = false;
      const writing = (async () => {
        for (let i = 0; i < 10; i++) await files.write('a', bodies[i % 2]!);
        isDone = true;
      })();

      while (!isDone) {
        const found = await other.read('a');
        expect(bodies.some((body) => found?.body.equals(body))).toBe(true);
        expect(found?.info.size).toBe(found?.body.length);
      }
      await writing;
    });

    it('changes the etag with the content', async () => {
      const first = await files.write('a', 'one');
      const second = await files.write('a', 'two');

      expect(second.etag).not.toBe(first.etag);
      expect((await other.info('a'))?.etag).toBe(second.etag);
      expect(first.etag).not.toMatch(/"/);
    });

    it('keeps the content type of a file, and forgets it with the next content', async () => {
      await files.write('a.bin', 'x', { contentType: 'image/png' });
      expect((await other.info('a.bin'))?.contentType).toBe('image/png');
      expect((await other.read('a.bin'))?.info.contentType).toBe('image/png');

      await files.write('a.bin', 'x', { contentType: 'text/css' });
      const streamed = await other.stream('a.bin');
      streamed?.body.destroy();
      expect(streamed?.info.contentType).toBe('text/css');
    });

    it.each([
      [{ start: 0, end: 3 }, '0123'],
      [{ start: 4 }, '456789'],
      [{ start: 9, end: 9 }, '9'],
      [{ start: 5, end: 500 }, '56789'],
      [{ start: 10 }, ''],
    ])('streams the bytes %j', async (range, expected) => {
      await files.write('digits', '0123456789');

      const found = await other.stream('digits', range);

      expect((await buffer(found!.body)).toString()).toBe(expected);
      expect(found?.info.size).toBe(10);
    });

    describe('conditional writes', () => {
      it('writes only when absent with null', async () => {
        await files.write('a', 'first', { ifMatch: null });

        expect(await type(other.write('a', 'second', { ifMatch: null }))).toBe('VersionConflict');
        expect(await text('a')).toBe('first');
      });

      it('writes only over the etag expected', async () => {
        const { etag } = await files.write('a', 'first');
        await other.write('a', 'second', { ifMatch: etag });

        expect(await type(files.write('a', 'third', { ifMatch: etag }))).toBe('VersionConflict');
        expect(await type(files.write('new', 'x', { ifMatch: etag }))).toBe('VersionConflict');
        expect(await text('a')).toBe('second');
        expect(await text('new')).toBeNull();
      });

      if (isConditionalWriteAtomic) {
        it('lets one of many writers that expect the same etag win', async () => {
          const { etag } = await files.write('a', 'first');

          const outcomes = await Promise.all(
            Array.from({ length: 10 }, (_, i) => type((i % 2 ? files : other).write('a', `by ${i}`, { ifMatch: etag }))),
          );
          const created = await Promise.all(
            Array.from({ length: 10 }, (_, i) => type((i % 2 ? files : other).write('b', `by ${i}`, { ifMatch: null }))),
          );

          expect(outcomes.filter((outcome) => outcome === 'none')).toHaveLength(1);
          expect(created.filter((outcome) => outcome === 'none')).toHaveLength(1);
        });
      }
    });

    describe('folders', () => {
      it('lists every key under a folder in code-point order, never its neighbours', async () => {
        const all = ['a-b', 'a.b', 'a/b', 'a/b-c', 'a/b/c'.replace('b/c', 'd/c'), 'a0', 'A', 'é', 'ab/c', '\u{1F600}', '\uFFFD'];
        for (const key of all) await files.write(key, key);

        expect(await keys()).toEqual(['A', 'a-b', 'a.b', 'a/b', 'a/b-c', 'a/d/c', 'a0', 'ab/c', 'é', '\uFFFD', '\u{1F600}']);
        expect(await keys('a')).toEqual(['a/b', 'a/b-c', 'a/d/c']);
        expect(await keys('a/')).toEqual(['a/b', 'a/b-c', 'a/d/c']);
        expect(await keys('a/d')).toEqual(['a/d/c']);
        expect(await keys('nothing')).toEqual([]);
        expect(await keys('a-b')).toEqual([]);
      });

      it('describes the files it lists as info does', async () => {
        await files.write('a/b', 'x');

        for await (const found of other.list('a'))
          expect(found).toMatchObject({ key: 'a/b', size: 1, etag: (await files.info('a/b'))?.etag });
      });

      it('lists, copies and removes more files than a page holds', async () => {
        const names = Array.from({ length: manyFiles }, (_, i) => `many/${String(i).padStart(5, '0')}`);
        const rest = names.values();
        await Promise.all(
          Array.from({ length: 16 }, async () => {
            for (const name of rest) await files.write(name, name);
          }),
        );

        expect(await keys('many')).toEqual(names);
        expect(await files.copyAll('many', 'copy')).toBe(manyFiles);
        expect(await files.removeAll('many')).toBe(manyFiles);
        expect(await keys('many')).toEqual([]);
        expect(await keys('copy')).toHaveLength(manyFiles);
        expect(await text(`copy/${names.at(-1)?.slice(5)}`)).toBe(names.at(-1));
      });

      it('removes what is under a folder, never its neighbours', async () => {
        for (const key of ['a/b', 'a/c/d', 'ab', 'a.b', 'b/a/x']) await files.write(key, key);

        expect(await files.removeAll('a')).toBe(2);
        expect(await files.removeAll('a')).toBe(0);
        expect(await files.removeAll('ab')).toBe(0);

        expect(await keys()).toEqual(['a.b', 'ab', 'b/a/x']);
      });

      it('copies what is under a folder over what is there', async () => {
        await files.write('from/a', 'new', { contentType: 'text/x' });
        await files.write('from/deep/b', 'b');
        await files.write('to/a', 'old');
        await files.write('to/kept', 'kept');

        expect(await files.copyAll('from', 'to')).toBe(2);

        expect(await keys()).toEqual(['from/a', 'from/deep/b', 'to/a', 'to/deep/b', 'to/kept']);
        expect(await text('to/a')).toBe('new');
        expect((await other.info('to/a'))?.contentType).toBe('text/x');
        expect(await files.copyAll('nothing', 'to')).toBe(0);
      });

      it('copies a folder into itself once', async () => {
        await files.write('a/x', 'x');

        expect(await files.copyAll('a', 'a/backup')).toBe(1);
        expect(await keys()).toEqual(['a/backup/x', 'a/x']);
      });

      it('removes one file, saying whether there was one, and leaves no empty folder in the way', async () => {
        await files.write('a/b/c', 'x');

        expect(await other.remove('a/b/c')).toBe(true);
        expect(await files.remove('a/b/c')).toBe(false);
        expect(await type(files.write('a', 'now a file'))).toBe('none');
      });
    });

    it('keeps areas apart', async () => {
      await files.write('a', 'model');
      await elsewhere.write('a', 'upload');

      expect(await text('a')).toBe('model');
      await files.removeAll('');
      expect((await elsewhere.read('a'))?.body.toString()).toBe('upload');
    });

    it.each([
      ['Case/KEY', 'case/key'],
      ["it's", 'its'],
      ['a b+c%20d', 'a b c d'],
      ['ü', 'u\u0308'],
      ['&<>"?#', '&amp;'],
      ['.hidden', 'hidden'],
    ])('keeps %j and %j apart', async (one, two) => {
      await files.write(one, 'one');
      await files.write(two, 'two');

      expect(await text(one)).toBe('one');
      expect(await text(two)).toBe('two');
      expect((await keys()).sort()).toEqual([one, two].sort());
    });

    it.each([
      [''],
      ['/a'],
      ['a/'],
      ['a//b'],
      ['.'],
      ['a/../b'],
      ['../x'],
      ['a/.'],
      ['a\0b'],
      ['a\\b'],
      ['a\nb'],
      ['__proto__'],
      ['x'.repeat(300)],
      ['\ud800'],
      [5 as never],
      [undefined as never],
    ])('refuses the key %j', async (key) => {
      expect(await type(files.read(key))).toBe('BadParametersError');
      expect(await type(files.info(key))).toBe('BadParametersError');
      expect(await type(files.stream(key))).toBe('BadParametersError');
      expect(await type(files.write(key, 'x'))).toBe('BadParametersError');
      expect(await type(files.remove(key))).toBe('BadParametersError');
      // A folder may end with a slash, and '' is the whole area.
      if (key !== '' && key !== 'a/') {
        expect(await type(files.removeAll(key))).toBe('BadParametersError');
        expect(await type(keys(key ?? null))).toBe('BadParametersError');
        expect(await type(files.copyAll(key, 'x'))).toBe('BadParametersError');
        expect(await type(files.copyAll('x', key))).toBe('BadParametersError');
      }
    });
  });
}
