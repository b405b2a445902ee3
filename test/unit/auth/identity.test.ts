import { generateKeyPairSync, sign as sign25519 } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ServiceBroker } from 'moleculer';
import { identityMiddleware } from '../../../mixins/auth/identity.middleware.ts';
import type { Identity } from '../../../mixins/auth/identity.ts';
import { canonical, identityKeys, identityKeysOf, type NodeIdentityKeys } from '../../../mixins/auth/identity-keys.ts';
import { mayCallAsSystem, SYSTEM_CALLS } from '../../../mixins/auth/system-calls.ts';
import { loadConfig, useConfig } from '../../../mixins/shared/config.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { openHeld } from '../../../mixins/streams/held.ts';
import { streamsService } from '../../../mixins/streams/streams.service.ts';
import { routes } from '../../../services/gateway/routes/index.ts';

const jwk = () => generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as unknown as JsonObject;
const refused = (message: RegExp) => expect.objectContaining({ type: 'AuthenticationError', message: expect.stringMatching(message) });
/** As it arrives from another node. */
const travelled = (identity: Identity): any => JSON.parse(JSON.stringify(identity));

describe('signed identities', () => {
  let time = 1_000_000;
  const key = jwk();
  const keys = identityKeys(key, () => time);
  const other = identityKeys(key, () => time);
  const made = (more: object = {}) => keys.sign({ kind: 'user', userId: 'ada', correlationId: 'c', ...more } as never);

  it('are verified on another node of the same key, and frozen there at every depth', () => {
    const identity = other.verify(travelled(made({ authData: { prismeai: { id: 'ada' } } })));
    expect(identity).toMatchObject({ v: 1, kind: 'user', userId: 'ada' });
    expect(() => Object.assign(identity as object, { userId: 'eve' })).toThrow(TypeError);
    expect(() => Object.assign(identity.authData as object, { google: {} })).toThrow(TypeError);
  });

  it('do not reach into objects of who asked for them', () => {
    const authData = { prismeai: { id: 'ada' } };
    made({ authData });
    authData.prismeai.id = 'eve';
    expect(authData.prismeai.id).toBe('eve');
  });

  it.each<[string, (identity: any) => unknown, RegExp]>([
    ['nothing', () => undefined, /no signed identity/],
    ['a text', () => 'ada', /no signed identity/],
    ['a list', () => [], /no signed identity/],
    ['no signature', ({ sig: _sig, ...claims }) => claims, /no signed identity/],
    ['a signature of nothing', (identity) => ({ ...identity, sig: '' }), /signature/],
    ['another user', (identity) => ({ ...identity, userId: 'eve' }), /signature/],
    ['a role that was added', (identity) => ({ ...identity, role: 'superadmin' }), /signature/],
    ['a claim that was taken away', ({ userId: _userId, ...claims }) => claims, /signature/],
    ['another kind', (identity) => ({ ...identity, kind: 'system' }), /signature/],
    ['a kind nobody knows', (identity) => ({ ...identity, kind: 'root' }), /not valid/],
    ['another version', (identity) => ({ ...identity, v: 2 }), /not valid/],
    ['an expiry that is no number', (identity) => ({ ...identity, exp: '9999999999999' }), /not valid/],
    ['a longer life', (identity) => ({ ...identity, exp: identity.exp + 3_600_000 }), /too long/],
    ['a life moved on', (identity) => ({ ...identity, iat: identity.iat + 1000, exp: identity.exp + 1000 }), /signature/],
  ])('64: one with %s is refused', (_, forge, message) => {
    expect(() => other.verify(forge(travelled(made())))).toThrow(refused(message));
  });

  it('64: one signed by another key is refused', () => {
    expect(() =>
      other.verify(travelled(identityKeys(jwk(), () => time).sign({ kind: 'user', userId: 'ada', correlationId: 'c' }))),
    ).toThrow(refused(/signature/));
  });

  it('65: one whose life is over is refused, also for another call and when it was verified before', () => {
    const identity = travelled(made());
    const known = other.verify(identity);
    time += 60_000 + 5_001;
    expect(() => other.verify(known)).toThrow(refused(/expired/));
    expect(() => other.verify(travelled(known))).toThrow(refused(/expired/));
    expect(() => other.verify({ ...identity, correlationId: 'another' })).toThrow(refused(/expired/));
  });

  it('live for a minute at most, and cannot come from the future', () => {
    const identity = made({ ttlMs: 3_600_000 });
    expect(identity.exp - identity.iat).toBe(60_000);
    const early = identityKeys(key, () => time - 10_000);
    expect(() => early.verify(travelled(identity))).toThrow(refused(/future/));
  });

  it('70: a delegated one never has the role of a super admin, also when renewed', () => {
    const identity = made({ kind: 'delegated', role: 'superadmin', sourceWorkspaceId: 'w' });
    expect(identity.role).toBeUndefined();
    expect(keys.renew(identity).role).toBeUndefined();
    expect(() => keys.renew({ ...identity })).toThrow(refused(/verified/));
  });

  it('are the same text whatever the order of their claims', () => {
    expect(canonical({ b: [{ d: 1, c: undefined }], a: null })).toBe(canonical({ a: null, b: [{ d: 1 }] }));
    const { kty, crv, x, d } = key as Record<string, string>;
    expect(sign25519).toBeDefined();
    expect(
      identityKeys({ d, x, crv, kty } as never).verify(travelled(identityKeys(key).sign({ kind: 'none', correlationId: 'c' }))),
    ).toMatchObject({ kind: 'none' });
  });
});

describe('the guard of every action', () => {
  let broker: ServiceBroker;
  let keys: NodeIdentityKeys;
  const seen: unknown[] = [];
  const call = (action: string, claims?: object, params: object = {}) =>
    broker.call(action, params, claims ? { meta: { identity: keys.sign({ correlationId: 'c', ...claims } as never) } } : {});

  beforeAll(async () => {
    broker = new ServiceBroker({ logger: false, middlewares: [identityMiddleware()] });
    useConfig(broker, loadConfig({}, { identityKeys: JSON.stringify(jwk()) }));
    keys = identityKeysOf(broker);
    broker.createService({
      name: 'caller',
      actions: {
        twice: {
          visibility: 'public',
          identity: 'required',
          async handler(ctx) {
            await ctx.call('thief.steal');
            seen.push((ctx.meta as any).identity?.userId);
            return ctx.call('thief.who');
          },
        },
      },
    });
    broker.createService({
      name: 'thief',
      actions: {
        steal: {
          visibility: 'public',
          identity: 'required',
          handler(ctx) {
            try {
              (ctx.meta as any).identity = keys.sign({ kind: 'user', userId: 'eve', role: 'superadmin', correlationId: 'c' });
            } catch {
              // Frozen is as good as ignored.
            }
          },
        },
        who: { visibility: 'public', identity: 'required', handler: (ctx) => (ctx.meta as any).identity.userId },
        anybody: { visibility: 'published', identity: 'optional', handler: (ctx) => (ctx.meta as any).identity.kind },
        services: { visibility: 'public', identity: 'system', handler: () => 'done' },
        health: { visibility: 'published', identity: 'any', handler: () => 'well' },
      },
    });
    await broker.start();
  });
  afterAll(() => broker.stop());

  it('64: refuses an action without identity, and one that asks for a person to nobody', async () => {
    await expect(call('thief.who')).rejects.toMatchObject({ type: 'AuthenticationError', code: 401 });
    await expect(call('thief.anybody')).rejects.toMatchObject({ type: 'AuthenticationError' });
    await expect(call('thief.who', { kind: 'none' })).rejects.toMatchObject({ type: 'AuthenticationError' });
    expect(await call('thief.anybody', { kind: 'none' })).toBe('none');
    expect(await call('thief.who', { kind: 'anonymous', userId: 'ann' })).toBe('ann');
    expect(await call('thief.health')).toBe('well');
  });

  it('66: lets no callee change who its caller is', async () => {
    expect(await call('caller.twice', { kind: 'user', userId: 'ada' })).toBe('ada');
    expect(seen).toEqual(['ada']);
  });

  it('70: keeps actions of services for services, each for those that have business with it', async () => {
    await expect(call('thief.services', { kind: 'user', userId: 'ada', role: 'superadmin' })).rejects.toMatchObject({
      type: 'ForbiddenError',
    });
    await expect(call('thief.services', { kind: 'system', service: 'gateway' })).rejects.toMatchObject({ type: 'ForbiddenError' });
    await expect(call('thief.who', { kind: 'system', service: 'gateway' })).rejects.toMatchObject({ type: 'ForbiddenError' });
    await expect(call('thief.who', { kind: 'system' })).rejects.toMatchObject({ type: 'ForbiddenError' });
  });

  it('refuses to start a service whose action does not say who may call it', () => {
    const make = (action: object) => () =>
      broker.createService({ name: 'open', actions: { act: { handler: () => 1, ...action } } } as never);
    expect(make({})).toThrow(expect.objectContaining({ type: 'ConfigurationError', data: { action: 'open.act' } }));
    expect(make({ visibility: 'public' })).toThrow(expect.objectContaining({ type: 'ConfigurationError' }));
    expect(make({ identity: 'required' })).toThrow(expect.objectContaining({ type: 'ConfigurationError' }));
    expect(make({ visibility: 'open', identity: 'required' })).toThrow(expect.objectContaining({ type: 'ConfigurationError' }));
  });
});

describe('the services as they are written', () => {
  const root = resolve(import.meta.dirname, '../../../services');
  const actions = new Map<string, { visibility?: string; identity?: string }>();

  const collect = (schema: any, name: string) => {
    for (const mixin of [schema.mixins].flat().filter(Boolean)) collect(mixin, name);
    for (const [action, definition] of Object.entries<any>(schema.actions ?? {})) {
      // An action of a mixin that is not wanted is set to false.
      if (definition === false) actions.delete(`${name}.${action}`);
      else if (typeof definition === 'object') actions.set(`${name}.${action}`, definition);
    }
  };
  beforeAll(async () => {
    for (const file of readdirSync(root, { recursive: true }) as string[]) {
      if (!file.endsWith('.service.ts')) continue;
      const { default: schema } = await import(join(root, file));
      collect(schema, schema.name);
    }
    const streams = streamsService(openHeld(0));
    collect(streams, streams.name);
  });

  it('67: publish exactly the actions of the routing table', () => {
    const published = [...actions].filter(([, { visibility }]) => visibility === 'published').map(([name]) => name);
    expect(published.sort()).toEqual([...new Set(routes.map(({ action }) => action))].sort());
  });

  it('declare for every action whose identity it needs; only the door, and who opens it, need none', () => {
    const any = [...actions].filter(([, { identity }]) => identity === 'any').map(([name]) => name);
    expect(any.sort()).toEqual(['gateway.rest', 'identity.resolve']);
    for (const [name, { identity, visibility }] of actions)
      expect([name, identity, visibility]).toEqual([name, expect.any(String), expect.any(String)]);
  });

  it('70: have each action for services on the list of somebody, and no list names what is not there', () => {
    const forServices = [...actions].filter(([, { identity }]) => identity === 'system').map(([name]) => name);
    const listed = new Set(Object.values(SYSTEM_CALLS).flat());
    expect(forServices.filter((name) => !listed.has(name))).toEqual([]);
    expect([...listed].filter((name) => !actions.has(name))).toEqual([]);
    expect(mayCallAsSystem('gateway', 'tokens.mint')).toBe(false);
    expect(mayCallAsSystem('constructor', 'toString')).toBe(false);
  });
});
