/** The picture of a second factor's secret. That readers read it is the library's business; that it is harmless and bounded is ours. */
import { describe, expect, it } from '@jest/globals';
import { qrSvg } from '../../../services/gateway/identity/qr.ts';

describe('a QR code', () => {
  it('is an SVG without anything active, and grows with the text', () => {
    const sizeOf = (svg: string) => Number(/viewBox="0 0 (\d+) /.exec(svg)?.[1]);

    expect(qrSvg('x')).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" [^<>]*><path [^<>]*\/><path [^<>]*\/><\/svg>$/);
    expect(sizeOf(qrSvg('x'.repeat(14)))).toBe(21 + 8);
    expect(sizeOf(qrSvg('x'.repeat(134)))).toBe(49 + 8);
  });

  it('refuses a text that is too long', () => {
    expect(() => qrSvg('x'.repeat(3_000))).toThrow(expect.objectContaining({ type: 'BadParametersError' }) as never);
  });
});
