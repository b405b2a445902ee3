import { describe, expect, it } from '@jest/globals';
import { environmentValues, resolveConfig, secretTextsOf } from '../../../services/runtime/config-resolution.ts';

const resolve = (own: object, rest: object = {}) => resolveConfig({ defaults: [], own: own as never, secrets: {}, ...rest }).value;

describe('configuration of a workspace', () => {
  it('replaces references to itself and to secrets, keeping the type of a whole reference', () => {
    const own = { base: 'https://api', orders: '{{config.base}}/orders', all: '{{secret.limits}}', key: '{{secret.k}}' };

    expect(resolve(own, { secrets: { k: 's3', limits: { a: 1 } } })).toEqual({
      base: 'https://api',
      orders: 'https://api/orders',
      all: { a: 1 },
      key: 's3',
    });
  });

  it('follows a reference through two hops', () => {
    expect(resolve({ a: '{{config.b}}', b: '{{secret.s}}' }, { secrets: { s: 'deep' } })).toEqual({ a: 'deep', b: 'deep' });
  });

  it('leaves what it cannot resolve, and expressions, as written', () => {
    const own = { a: '{{secret.missing}}', b: 'x {{config.none}} y', c: '{% 1 + 1 %}', d: '{{user.id}}' };

    expect(resolve(own)).toEqual(own);
  });

  it('reports a cycle and leaves it as written', () => {
    const { value, problems } = resolveConfig({ defaults: [], own: { a: '{{config.b}}', b: '{{config.a}}' }, secrets: {} });

    expect(value).toEqual({ a: '{{config.b}}', b: '{{config.a}}' });
    expect(problems[0]).toMatchObject({ code: 'ConfigCycle' });
  });

  it('leaves only the references of a cycle as written, and those that lead to it', () => {
    const own = {
      first: '{{config.a}}',
      a: '1 {{config.b}}',
      b: '{{config.c.on}} {{config.ok}}',
      c: { on: '{{config.a}}', ok: '{{config.ok}}', aside: '{{config.side}}' },
      side: '{{config.c.on}}',
      free: '{{config.c.ok}}',
      ok: 'fine',
    };

    expect(resolve(own)).toEqual({
      ...own,
      b: '{{config.c.on}} fine',
      c: { on: '{{config.a}}', ok: 'fine', aside: '{{config.side}}' },
      free: 'fine',
    });
  });

  it('never scans a replaced text again', () => {
    expect(resolve({ a: 'x{{secret.s}}' }, { secrets: { s: '{{secret.t}}', t: 'leak' } })).toEqual({ a: 'x{{secret.t}}' });
  });

  it('wins over the environment', () => {
    expect(
      resolve(
        { region: 'us' },
        {
          defaults: [
            environmentValues({ WORKSPACE_CONFIG_myshop_region: 'eu', WORKSPACE_CONFIG_myshop_zone: 'z1' }, 'WORKSPACE_CONFIG', 'my shop'),
          ],
        },
      ),
    ).toEqual({ region: 'us', zone: 'z1' });
  });
});

describe('configuration of an app instance', () => {
  it('reads its parent, whole or in part, over the defaults of the app', () => {
    const parent = { orders: { url: 'u' }, n: 3 };

    expect(
      resolve({ endpoint: '{{config.orders.url}}', all: '{{config}}' }, { parent, defaults: [{ endpoint: 'default', mode: 'fast' }] }),
    ).toEqual({
      endpoint: 'u',
      mode: 'fast',
      all: parent,
    });
  });

  it('lets defaults of the app refer to what the instance sets and to secrets of the running workspace', () => {
    const sources = { parent: {}, defaults: [{ auth: 'Bearer {{config.token}}', raw: '{{secret.none}}' }], secrets: { t: 'T' } };

    expect(resolve({ token: '{{secret.t}}' }, sources)).toEqual({ token: 'T', auth: 'Bearer T', raw: '{{secret.none}}' });
  });

  it('does not read data of the parent as templates', () => {
    expect(resolve({ text: '{{config.text}}' }, { parent: { text: '{{secret.s}}' }, secrets: { s: 'leak' } })).toEqual({
      text: '{{secret.s}}',
    });
  });

  it('knows which values are secret by their schema', () => {
    const schema = { token: { secret: true }, nested: { properties: { key: { secret: true } } }, open: {} };

    expect(secretTextsOf(schema, { token: 'a', nested: { key: 'b' }, open: 'c' })).toEqual(['a', 'b']);
  });
});
