/**
 * fake-world — a world in memory for the interpreter: contexts are plain objects, fetches and waits are answered by the test, everything
 * asked is kept in `effects` in order.
 */

import { fault } from '../../mixins/shared/errors.ts';
import type { PathOperation } from '../../mixins/storage/cache/contract.ts';
import { applyOperations } from '../../mixins/storage/cache/document.ts';
import type { Effect, EffectRequest, RunIdentity, World } from '../../services/runtime/interpreter/index.ts';

export interface FakeWorldOptions {
  contexts?: Record<string, Record<string, unknown>>;
  fetch?: (request: any) => unknown;
  wait?: (effect: any) => unknown;
  modules?: (module: string, name: string, parameters: any) => unknown;
  rateLimit?: (effect: any) => unknown;
  identities?: Record<string, RunIdentity>;
  forbidden?: string[];
  now?: number;
  signal?: AbortSignal;
}

export interface FakeWorld extends World {
  effects: (Effect & { key: string; frame: EffectRequest['frame'] })[];
  contexts: Record<string, any>;
  emitted: { type: string; payload: any; target?: any; options?: any }[];
  executed: any[];
  errors: any[];
  http: any[];
}

export function fakeWorld(options: FakeWorldOptions = {}): FakeWorld {
  const contexts: Record<string, any> = clone(options.contexts ?? {});
  let time = options.now ?? Date.parse('2026-01-01T00:00:00.000Z');
  let seed = 1;
  const random = () => {
    seed = (seed * 16807) % 2147483647;
    return (seed - 1) / 2147483646;
  };
  let serial = 0;
  const keyOf = (name: string, identity: RunIdentity) =>
    name === 'user' ? `user:${identity.userId ?? ''}` : name === 'session' ? `session:${identity.sessionId ?? ''}` : name;
  const document = (name: string, identity: RunIdentity) => contexts[keyOf(name, identity)] ?? contexts[name] ?? {};

  const world: FakeWorld = {
    effects: [],
    contexts,
    emitted: [],
    executed: [],
    errors: [],
    http: [],
    now: () => time,
    random,
    uuid: () => 'f'.repeat(32),
    signal: options.signal ?? new AbortController().signal,
    async perform({ key, effect, frame }) {
      await null;
      time += 1;
      world.effects.push({ ...structuredCloneLoose(effect), key, frame });
      const { identity } = frame;
      switch (effect.type) {
        case 'context.read':
          return Object.fromEntries(effect.contexts.map((name) => [name, clone(document(name, identity))]));
        case 'context.write': {
          const name = effect.context;
          const after = applyOperations(clone(document(name, identity)), effect.operations as PathOperation[]) ?? {};
          contexts[keyOf(name, identity)] = after;
          return clone(after);
        }
        case 'identity.switch':
          return (
            options.identities?.[effect.value] ??
            (effect.field === 'session.id'
              ? { userId: effect.value, sessionId: effect.value }
              : { userId: effect.value, sessionId: effect.value })
          );
        case 'emit': {
          const type = frame.instance ? `${frame.instance}.${effect.event}` : effect.event;
          world.emitted.push({
            type,
            payload: effect.payload,
            ...(effect.target ? { target: effect.target } : {}),
            ...(effect.options ? { options: effect.options } : {}),
          });
          return { id: `event-${++serial}`, type, payload: effect.payload };
        }
        case 'wait':
          return options.wait?.(effect) ?? null;
        case 'fetch':
          if (!options.fetch) throw new Error('the test gave no fetch');
          return options.fetch(effect.request);
        case 'module':
          return options.modules?.(effect.module, effect.function, effect.parameters);
        case 'rateLimit':
          return (
            options.rateLimit?.(effect) ?? {
              ok: true,
              retryAfter: 0,
              remaining: effect.limit - 1,
              limit: effect.limit,
              window: effect.windowS,
              consumer: effect.consumer,
            }
          );
        case 'auth':
          return { jwt: 'a.b.c' };
        case 'authorize':
          if (options.forbidden?.includes(effect.action)) throw fault('ForbiddenError', { data: { action: effect.action } });
          return undefined;
        case 'executed':
          world.executed.push(effect.report);
          return undefined;
        case 'error':
          world.errors.push(effect.error);
          return undefined;
        case 'http':
          world.http.push(effect.message);
          return null;
        case 'topic.create':
        case 'topic.join':
          return true;
        default:
          return undefined;
      }
    },
  };
  return world;
}

/** structuredClone makes objects of another realm under Jest: they would not count as plain. */
const clone = <T>(value: T): T => (value === undefined ? value : JSON.parse(JSON.stringify(value)));

/** Streams inside an effect stay what they are. */
function structuredCloneLoose<T>(value: T): T {
  try {
    return structuredClone(value);
  } catch {
    return value;
  }
}
