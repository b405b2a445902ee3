/** QR codes of second factors. The pictures were read back with an independent reader (jsQR) for 16 lengths up to the limit; here their shape is kept. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { qrModules, qrSvg } from '../../../services/gateway/identity/qr.ts';

const picture = (text: string) =>
  qrModules(text)
    .map((row) => row.map((isDark) => (isDark ? '#' : '.')).join(''))
    .join('\n');
const finder = ['#######', '#.....#', '#.###.#', '#.###.#', '#.###.#', '#.....#', '#######'].join('\n');

describe('a QR code', () => {
  it('has its three finders, and grows with the text', () => {
    for (const [length, size] of [
      [14, 21],
      [134, 49],
      [181, 57],
      [660, 97],
    ] as const) {
      const modules = qrModules('x'.repeat(length));
      expect(modules).toHaveLength(size);
      const corner = (x: number, y: number) =>
        modules
          .slice(y, y + 7)
          .map((row) =>
            row
              .slice(x, x + 7)
              .map((isDark) => (isDark ? '#' : '.'))
              .join(''),
          )
          .join('\n');
      expect([corner(0, 0), corner(size - 7, 0), corner(0, size - 7)]).toEqual([finder, finder, finder]);
    }
  });

  it('stays the one an independent reader has read', () => {
    const text =
      'otpauth://totp/Prisme:ada%40example.org?issuer=Prisme&secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&algorithm=SHA1&digits=6&period=30';
    expect(createHash('sha256').update(picture(text)).digest('hex')).toBe(
      '70f0ac01b37166137ccc3dcb8b7cad20017ea399d00c6168a2d5fb2007615fde',
    );
  });

  it('is an SVG without anything active', () => {
    expect(qrSvg('x')).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" [^<>]*><path [^<>]*\/><path [^<>]*\/><\/svg>$/);
  });

  it('refuses a text that is too long', () => {
    expect(() => qrModules('x'.repeat(667))).toThrow(expect.objectContaining({ type: 'BadParametersError' }) as never);
  });
});
