import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseUrl, text } from '../../../../services/runtime/modules/text.ts';

const call = (name: string, parameters: object) => (text[name] as (call: object) => any)({ parameters });

describe('splitText', () => {
  it('cuts at the coarsest separator that helps, within the size', () => {
    const pieces = call('splitText', { content: 'one two\n\nthree four five\n\nsix', chunkSize: 12, chunkOverlap: 0 });

    expect(pieces.map(({ content }: { content: string }) => content)).toEqual(['one two', 'three four', 'five', 'six']);
  });

  it('never exceeds the size', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), fc.integer({ min: 2, max: 40 }), (content, chunkSize) => {
        const pieces = call('splitText', { content, chunkSize, chunkOverlap: 1 });
        return pieces.every(({ size, content: piece }: { size: number; content: string }) => size <= chunkSize && size === piece.length);
      }),
    );
  });
});

describe('what would be too much', () => {
  const limit = expect.objectContaining({ type: 'LimitExceededError' });

  it('is refused: pieces that repeat the text over and over', () => {
    expect(() => call('splitText', { content: 'x'.repeat(100_000), chunkSize: 1_000, chunkOverlap: 999 })).toThrow(limit);
  });

  it('is refused: a costly pattern on a long text', () => {
    const parameters = { content: 'x'.repeat(1_000_000), pattern: '(?:x{0,30}){30}[yz]' };

    expect(() => call('search', parameters)).toThrow(limit);
    expect(() => call('substitute', { ...parameters, replacement: '' })).toThrow(limit);
    expect(call('search', { ...parameters, content: 'xy' })).toMatchObject({ count: 1 });
  });

  it('is refused: a replacement that makes the text huge', () => {
    expect(() => call('substitute', { content: 'x'.repeat(1_000), pattern: 'x', fixed: true, replacement: 'y'.repeat(1_000_000) })).toThrow(
      limit,
    );
  });

  it('is refused: a pattern that is a book', () => {
    expect(() => call('search', { content: '', pattern: 'x'.repeat(3_000) })).toThrow(limit);
  });
});

describe('diff and applyPatch', () => {
  it('lead from one text to the other', () => {
    const lines = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 12 }).map((list) => list.join('\n'));

    fc.assert(
      fc.property(lines, lines, (a, b) => {
        const { patch, changed } = call('diff', { a, b });
        const applied = call('applyPatch', { content: a, patch, fuzz: 0 });
        return changed === (a !== b) && applied.content === b && applied.hunksFailed.length === 0;
      }),
    );
  });

  it('find a hunk that has moved, and tell one that has no place', () => {
    const { patch } = call('diff', { a: 'x\ny\nz', b: 'x\nY\nz' });

    expect(call('applyPatch', { content: 'new\nnew\nx\ny\nz', patch }).content).toBe('new\nnew\nx\nY\nz');
    expect(call('applyPatch', { content: 'nothing', patch, atomic: true })).toMatchObject({
      content: 'nothing',
      hunksApplied: 0,
      hunksFailed: [{ index: 0 }],
    });
  });

  it('work through large texts that share nothing', () => {
    const a = Array.from({ length: 20_000 }, (_, n) => `a${n}`).join('\n');
    const began = Date.now();

    expect(call('diff', { a, b: a.replaceAll('a', 'b') })).toMatchObject({ additions: 20_000, deletions: 20_000 });
    expect(Date.now() - began).toBeLessThan(5_000);
  });
});

describe('search and substitute', () => {
  it('find lines with their number and context', () => {
    expect(call('search', { content: 'a\nfoo\nb\nFOO', pattern: 'foo', ignoreCase: true, context: 1 })).toEqual({
      matches: [
        { line: 2, text: 'foo', context: ['a', 'foo', 'b'] },
        { line: 4, text: 'FOO', context: ['b', 'FOO'] },
      ],
      count: 2,
    });
    expect(call('search', { content: 'a1 a2', pattern: 'a\\d', onlyMatching: true }).matches).toEqual([
      { line: 1, text: 'a1' },
      { line: 1, text: 'a2' },
    ]);
  });

  it('replace with groups, in a range of lines, once or always', () => {
    expect(call('substitute', { content: 'a1\na2\na3', pattern: '(?P<n>\\d)', replacement: '<$<n>$$$&>', lineRange: [2, 3] })).toEqual({
      content: 'a1\na<2$2>\na<3$3>',
      count: 2,
    });
    expect(call('substitute', { content: 'x.x.', pattern: '.', replacement: '$&!', fixed: true, all: false })).toEqual({
      content: 'x$&!x.',
      count: 1,
    });
  });

  it('stay linear for patterns that explode elsewhere', () => {
    const began = Date.now();
    call('search', { content: `${'a'.repeat(5_000)}!`, pattern: '(a+)+$' });

    expect(Date.now() - began).toBeLessThan(1_000);
  });
});

it('parseUrl tells the parts of an address', () => {
  expect(parseUrl('https://api.example.org/v2/files/wks1/abc.my.report.pdf?x=1')).toEqual({
    domain: 'api.example.org',
    path: '/v2/files/wks1/abc.my.report.pdf',
    id: 'abc',
    filename: 'my.report.pdf',
    ext: 'pdf',
    workspaceId: 'wks1',
    mimetype: 'application/pdf',
    query: { x: '1' },
  });
  expect(parseUrl('')).toMatchObject({ domain: '', id: '', filename: '' });
});
