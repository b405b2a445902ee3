import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { fromRecord, toRecord } from '../../../services/runtime/journal.ts';

const throughJson = (value: unknown): unknown => fromRecord(JSON.parse(JSON.stringify(toRecord(value))));

describe('what a journal keeps', () => {
  it('bytes come back as bytes, and what only looks like them as it was', () => {
    const value = {
      bytes: Buffer.from('hello'),
      alike: { $bytes: 'aGVsbG8=' },
      more: [{ $$bytes: 1 }, { $$$bytes: { $bytes: 'x' } }, { $bytes: 5 }, { $bytes: 'a', b: 1 }],
    };

    expect(throughJson(value)).toEqual(value);
  });

  it('any answer comes back as it was', () => {
    const key = fc.constantFrom('$bytes', '$$bytes', 'bytes', 'a');
    const value = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('aGVsbG8=', 1, null, true),
        fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
        fc.array(tie('value'), { maxLength: 2 }),
        fc.array(fc.tuple(key, tie('value')), { maxLength: 2 }).map((entries) => Object.fromEntries(entries)),
      ),
    })).value;

    fc.assert(fc.property(value, (given) => expect(throughJson(given)).toEqual(given)));
  });

  it('reads what earlier versions have kept', () => {
    expect(fromRecord({ body: { $bytes: 'aGVsbG8=' }, list: [{ a: { $bytes: 1 } }] })).toEqual({
      body: Buffer.from('hello'),
      list: [{ a: { $bytes: 1 } }],
    });
  });
});
