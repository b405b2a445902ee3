import { describe, expect, it } from '@jest/globals';
import { maskHeaders, maskUrl, Redactor } from '../../../services/runtime/redaction.ts';

const hiding = (...texts: string[]) => {
  const redactor = new Redactor();
  redactor.add(texts);
  return redactor;
};

describe('secrets in what leaves a run', () => {
  it('are hidden inside texts, keys, and in their base64 and URL forms', () => {
    const secret = 'p@ss "quoted"';
    const redactor = hiding(secret);
    const value = {
      text: `a ${secret} b`,
      [secret]: 1,
      b64: Buffer.from(secret).toString('base64'),
      url: encodeURIComponent(secret),
      list: [secret],
    };

    expect(redactor.clean(value)).toEqual({ text: 'a REDACTED b', REDACTED: 1, b64: 'REDACTED', url: 'REDACTED', list: ['REDACTED'] });
  });

  it('are hidden inside JSON text, also twice over', () => {
    const secret = 'line "one"\nline \\two';
    const json = JSON.stringify({ key: secret });

    const cleaned = hiding(secret).clean({ json, nested: JSON.stringify({ json }) });

    expect(JSON.parse(cleaned.json)).toEqual({ key: 'REDACTED' });
    expect(JSON.parse(JSON.parse(cleaned.nested).json)).toEqual({ key: 'REDACTED' });
  });

  it('leave nothing behind where one begins or overlaps another, whichever was told first', () => {
    const [short, long, over] = ['abcdef', 'abcdefGHIJKLMNOP', 'MNOPqrst'];
    const redactor = new Redactor();
    redactor.addAll([short]);
    redactor.add([long, over]);

    expect(redactor.clean(`${long} ${short}x ${long}qrst`)).toBe('REDACTED REDACTEDx REDACTED');
    expect(hiding('aaaa').clean('b aaaaaaa b')).toBe('b REDACTED b');
  });

  it('are hidden in base64 whatever is encoded before and after them', () => {
    const secret = 'corr3ct-horse?staple>';
    for (const before of ['', 'u', 'us', 'usr', 'user:'])
      for (const after of ['', '!', '!!', '!!!'])
        for (const encoding of ['base64', 'base64url'] as const) {
          const cleaned = hiding(secret).clean(`Basic ${Buffer.from(before + secret + after).toString(encoding)}`);
          expect(cleaned).toMatch(/^Basic .*REDACTED/);
          const left = Buffer.from(cleaned.slice('Basic '.length).replace('REDACTED', '|'), 'base64').toString();
          for (const part of [secret.slice(0, 4), secret.slice(-4)]) expect(left).not.toContain(part);
          expect(cleaned.length).toBeLessThanOrEqual('Basic REDACTED'.length + 4 * 3);
        }
    expect(hiding(secret).clean(Buffer.from(secret).toString('base64'))).toBe('REDACTED');
  });

  it('are hidden in URLs and forms, however these are encoded', () => {
    const secret = "it's (50%) *off*! ~now";
    const strict = encodeURIComponent(secret).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
    const redactor = hiding(secret);

    expect(redactor.clean(`${new URLSearchParams({ key: secret, b: '1' })}`)).toBe('key=REDACTED&b=1');
    expect(redactor.clean([strict, encodeURIComponent(secret), encodeURI(secret)])).toEqual(['REDACTED', 'REDACTED', 'REDACTED']);
    expect(hiding('lone \ud800 half').clean('a lone \ud800 half b')).toBe('a REDACTED b');
  });

  it('are not told below the depth that is looked at', () => {
    let value: unknown = { key: 'secret-value' };
    for (let i = 0; i < 200; i++) value = i % 2 ? [value] : { value };

    expect(JSON.stringify(hiding('secret-value').clean(value))).not.toContain('secret-value');
    expect(JSON.stringify(hiding('other-secret').clean(value))).not.toContain('secret-value');
  });

  it('that are short are hidden only as whole values, and the payload stays valid', () => {
    const redactor = hiding('1');

    expect(redactor.clean({ pin: '1', n: 1, text: '21 December', list: [10] })).toEqual({
      pin: 'REDACTED',
      n: 'REDACTED',
      text: '21 December',
      list: [10],
    });
  });

  it('of a model are hidden next to those of the run, in every form', () => {
    const redactor = new Redactor();
    const ofModel = ['model-secret'];
    redactor.addAll(ofModel);
    redactor.addAll(ofModel);
    redactor.add(['run-secret']);

    expect(redactor.clean(`run-secret ${Buffer.from('model-secret').toString('base64')} model-secret`)).toBe('REDACTED REDACTED REDACTED');
  });

  it('cost nothing when there are none, and leave the original alone', () => {
    const value = { a: { b: 'secret-value' } };

    expect(hiding().clean(value)).toBe(value);
    hiding('secret-value').clean(value);
    expect(value.a.b).toBe('secret-value');
  });

  it('of addresses are masked, and nothing else of them', () => {
    expect(maskUrl('https://ada:p@ss@example.org/a@b?c=d@e')).toBe('https://REDACTED@example.org/a@b?c=d@e');
    for (const url of ['https://example.org/a@b', 'mailto:ada@example.org', '/x@y', undefined]) expect(maskUrl(url)).toBe(url);
  });

  it('of headers are masked by name', () => {
    expect(maskHeaders({ Authorization: 'x', 'X-Prismeai-Token': 'y', accept: '*/*' })).toEqual({
      Authorization: 'REDACTED',
      'X-Prismeai-Token': 'REDACTED',
      accept: '*/*',
    });
  });
});
