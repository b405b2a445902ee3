import { describe, expect, it } from '@jest/globals';
import { cryptoModule } from '../../../../services/runtime/modules/crypto.ts';

const call = (name: string, parameters: object = {}) => (cryptoModule[name] as (call: object) => any)({ parameters });
const refused = expect.objectContaining({ type: 'InvalidInstructionError' });

describe('hashes', () => {
  it.each([
    ['md5', {}, '900150983cd24fb0d6963f7d28e17f72'],
    ['sha256', {}, 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    ['sha256', { encoding: 'base64' }, 'ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='],
    ['sha256', { encoding: 'base64url' }, 'ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0'],
    [
      'sha512',
      {},
      'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
    ],
  ])('%s %j of abc', (name, options, expected) => {
    expect(call(name, { data: 'abc', ...options })).toBe(expected);
  });

  it('of what is no text is that of its JSON', () => {
    expect(call('sha256', { data: { a: 1 } })).toBe(call('sha256', { data: '{"a":1}' }));
  });

  it('of bytes is that of the bytes', () => {
    expect(call('sha256', { data: Buffer.from('abc') })).toBe(call('sha256', { data: 'abc' }));
  });

  it('refuses an unknown encoding, and says which there are', () => {
    expect(() => call('sha256', { data: 'abc', encoding: 'hax' })).toThrow(/hex, base64, base64url/);
  });
});

describe('hmac', () => {
  const parameters = { data: 'The quick brown fox jumps over the lazy dog', key: 'key' };

  it.each([
    [undefined, 'f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8'],
    ['sha1', 'de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9'],
    ['md5', '80070713463e7749b90c2dc24911e275'],
  ])('%s', (algorithm, expected) => {
    expect(call('hmac', { ...parameters, ...(algorithm ? { algorithm } : {}) })).toBe(expected);
  });

  it('needs a key, and an algorithm that exists', () => {
    expect(() => call('hmac', { data: 'x' })).toThrow(refused);
    expect(() => call('hmac', { ...parameters, algorithm: 'sha3' })).toThrow(refused);
  });
});

describe('base64', () => {
  it('goes both ways, in both alphabets', () => {
    const data = 'é?>~ÿ';

    expect(call('base64Encode', { data })).toBe('w6k/Pn7Dvw==');
    expect(call('base64Encode', { data, urlSafe: true })).toBe('w6k_Pn7Dvw');
    expect(call('base64Decode', { data: 'w6k/Pn7Dvw==' })).toBe(data);
    expect(call('base64Decode', { data: 'w6k_Pn7Dvw', urlSafe: true })).toBe(data);
  });
});

describe('chance', () => {
  it('gives as many bytes as asked for, never the same', () => {
    expect(Buffer.from(call('randomBytes'), 'base64url')).toHaveLength(32);
    expect(call('randomBytes', { length: 4, encoding: 'hex' })).toMatch(/^[0-9a-f]{8}$/);
    expect(call('randomBytes')).not.toBe(call('randomBytes'));
  });

  it.each([0, -1, 1.5, 1025, 'many'])('refuses %s bytes', (length) => {
    expect(() => call('randomBytes', { length })).toThrow(refused);
  });

  it('gives UUIDs with dashes', () => {
    expect(call('randomUUID')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});
