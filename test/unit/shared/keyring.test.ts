import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../../mixins/shared/config.ts';
import { keyRing, openKeyRing } from '../../../mixins/shared/keyring.ts';

const KEY_A = 'a'.repeat(64);
const KEY_B = 'b'.repeat(64);
const type = (work: () => unknown): string => {
  try {
    work();
    return 'none';
  } catch (error) {
    return (error as { type: string }).type;
  }
};

describe('the key ring', () => {
  let dataDir: string;
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'keyring-'));
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  it('opens what it sealed, and seals the same text differently each time', () => {
    const ring = keyRing([{ kid: 'a', key: KEY_A }]);

    const [first, second] = [ring.seal('héllo', 'secret/w/one'), ring.seal('héllo', 'secret/w/one')];

    expect(ring.open(first, 'secret/w/one')).toBe('héllo');
    expect(first).not.toBe(second);
    expect(first).not.toContain('llo');
  });

  it('refuses a text altered or moved to another place', () => {
    const ring = keyRing([{ kid: 'a', key: KEY_A }]);
    const sealed = ring.seal('x', 'secret/w/one');
    const altered = sealed.slice(0, -2) + (sealed.endsWith('AA') ? 'BB' : 'AA');

    expect(type(() => ring.open(sealed, 'secret/w/two'))).toBe('SecretsError');
    expect(type(() => ring.open(altered, 'secret/w/one'))).toBe('SecretsError');
    expect(type(() => ring.open('nonsense', 'secret/w/one'))).toBe('SecretsError');
  });

  it('rotates: the old key still opens, the active one seals, a removed key is named', () => {
    const old = keyRing([{ kid: 'a', key: KEY_A }]).seal('x', 'p');
    const both = keyRing([
      { kid: 'a', key: KEY_A },
      { kid: 'b', key: KEY_B, active: true },
    ]);

    expect(both.open(old, 'p')).toBe('x');
    expect(both.isStale(old)).toBe(true);
    const renewed = both.reseal(old, 'p');
    expect(both.isStale(renewed)).toBe(false);
    expect(keyRing([{ kid: 'b', key: KEY_B }]).open(renewed, 'p')).toBe('x');
    expect(() => keyRing([{ kid: 'b', key: KEY_B }]).open(old, 'p')).toThrow(/'a'/);
  });

  it('makes its own key once, in a file of mode 600, and finds it again', () => {
    const config = loadConfig({ DATA_DIR: dataDir });

    const sealed = openKeyRing(config).seal('kept', 'p');

    expect(openKeyRing(config).open(sealed, 'p')).toBe('kept');
    expect(statSync(join(dataDir, 'keys', 'secrets.json')).mode & 0o777).toBe(0o600);
  });

  it('names the variable when the configured keys are wrong', () => {
    for (const text of [
      '{',
      '[]',
      '[{"kid":"a","key":"12"}]',
      '[{"kid":"a.b","key":"x"}]',
      `[{"kid":"a","key":"${KEY_A}"},{"kid":"a","key":"${KEY_B}"}]`,
    ])
      expect(() => openKeyRing(loadConfig({ DATA_DIR: dataDir, SECRETS_MASTER_KEYS: text }))).toThrow(/SECRETS_MASTER_KEYS/);
  });
});
