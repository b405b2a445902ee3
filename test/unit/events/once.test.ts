/** Emissions under an Idempotency-Key: who repeats what, and what happens when a node dies between sending and saying so. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { IdentityClaims } from '../../../mixins/auth/identity.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../../mixins/shared/event.ts';
import { hexId, ulidTime } from '../../../mixins/shared/ids.ts';
import type { CacheDriver } from '../../../mixins/storage/cache/contract.ts';
import { type Candidate, candidatesOf, type Fixed } from '../../../services/events/emit.ts';
import { emitOnce } from '../../../services/events/once.ts';
import { temporaryCache } from '../../support/cache.ts';

let cache: CacheDriver;
let sent: PrismeEvent[] = [];
let admitted = 0;
beforeAll(() => {
  cache = temporaryCache();
});
afterAll(() => cache.close());
beforeEach(() => {
  sent = [];
  admitted = 0;
});

const claims = (over: Partial<IdentityClaims> = {}): IdentityClaims => ({
  v: 1,
  kind: over.userId ? 'user' : 'none',
  correlationId: hexId(),
  iat: Date.now(),
  exp: Date.now() + 60_000,
  ...over,
});

interface Request {
  key: string;
  leaseMs?: number;
  identity?: IdentityClaims;
  workspaceId?: string;
  events?: object[];
  through?: CacheDriver;
  send?: (candidates: Candidate[], fixed: Fixed) => Promise<PrismeEvent[]>;
  admit?: () => Promise<void>;
}

const written = async (candidates: Candidate[], { at, idOf }: Fixed) => {
  const events = candidates.map(
    (one, index) => ({ ...one, id: idOf(index), createdAt: new Date(at).toISOString() }) as unknown as PrismeEvent,
  );
  sent.push(...events);
  return events;
};

function emit({
  key,
  leaseMs,
  identity = claims({ userId: 'u1' }),
  workspaceId = 'w1',
  events,
  through = cache,
  send = written,
  admit,
}: Request) {
  const body = { events: events ?? [{ type: 'order.paid', payload: { n: 1 } }, { type: 'order.sent' }] };
  const candidates = candidatesOf(body, workspaceId, identity as never);
  return emitOnce({
    cache: through,
    workspaceId,
    identity,
    key,
    body,
    candidates,
    ...(leaseMs && { leaseMs }),
    admit:
      admit ??
      (async () => {
        admitted++;
      }),
    send,
  });
}

describe('an emission under a key', () => {
  it('is sent once, and its repetition answered alike', async () => {
    const first = await emit({ key: 'a' });
    const again = await emit({ key: 'a', identity: claims({ userId: 'u1', sessionId: 'another' }) });

    expect(again).toEqual(first);
    expect(sent).toHaveLength(2);
    expect(admitted).toBe(1);
    expect(ulidTime(first[0]?.id as string)).toBe(Date.parse(first[0]?.createdAt as string));
  });

  it('gives its events ids that sort as they were asked', async () => {
    const ids = (await emit({ key: 'sorted', events: Array.from({ length: 500 }, (_, n) => ({ type: 't', payload: { n } })) })).map(
      ({ id }) => id,
    );
    expect(new Set(ids).size).toBe(500);
    expect([...ids].sort()).toEqual(ids);
  });

  it('is sent once by many that ask at once', async () => {
    let isOpen = false;
    const slow = async (candidates: Candidate[], fixed: Fixed) => {
      while (!isOpen) await new Promise((resolve) => setTimeout(resolve, 5));
      return written(candidates, fixed);
    };
    const all = Array.from({ length: 5 }, () => emit({ key: 'together', send: slow }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    isOpen = true;
    const answers = await Promise.all(all);

    expect(sent).toHaveLength(2);
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  it.each<[string, Partial<Request>, Partial<Request>]>([
    ['two users', { identity: claims({ userId: 'u1' }) }, { identity: claims({ userId: 'u2' }) }],
    ['two sessions', { identity: claims({ sessionId: 's1' }) }, { identity: claims({ sessionId: 's2' }) }],
    ['a user and a session of that name', { identity: claims({ userId: 'x' }) }, { identity: claims({ sessionId: 'x' }) }],
    [
      'a user and a run of his',
      { identity: claims({ userId: 'u1' }) },
      { identity: claims({ userId: 'u1', kind: 'delegated', sourceWorkspaceId: 'w2' }) },
    ],
    [
      'a run of his, and one that another workspace called in his name',
      { identity: claims({ userId: 'u1', kind: 'delegated', sourceWorkspaceId: 'w1' }) },
      { identity: claims({ userId: 'u1', kind: 'delegated', sourceWorkspaceId: 'w1', isAway: true }) },
    ],
    ['two API keys', { identity: claims({ apiKeyHash: 'k1', ip: '1.1.1.1' }) }, { identity: claims({ apiKeyHash: 'k2', ip: '1.1.1.1' }) }],
    [
      'two nobodies behind one address',
      { identity: claims({ ip: '1.1.1.1' }), events: [{ type: 'a' }] },
      { identity: claims({ ip: '1.1.1.1' }), events: [{ type: 'b' }] },
    ],
    ['two workspaces', { workspaceId: 'w1' }, { workspaceId: 'w2' }],
  ])('of %s is that of each alone', async (name, one, other) => {
    const first = await emit({ key: name, ...one });
    const second = await emit({ key: name, ...other });

    expect(sent).toEqual([...first, ...second]);
    expect(new Set(sent.map(({ id }) => id)).size).toBe(sent.length);
  });

  it('is refused for another request, whether the first is over or not', async () => {
    await emit({ key: 'taken' });
    await expect(emit({ key: 'taken', events: [{ type: 'other' }] })).rejects.toMatchObject({ type: 'IdempotencyKeyReused', code: 422 });
    const outage = async () => {
      throw fault('ServiceUnavailable');
    };
    await expect(emit({ key: 'half', send: outage })).rejects.toMatchObject({ type: 'ServiceUnavailable' });
    await expect(emit({ key: 'half', events: [{ type: 'other' }] })).rejects.toMatchObject({ type: 'IdempotencyKeyReused' });
  });

  it('leaves the key free when the request itself was refused', async () => {
    const refuse = async () => {
      throw fault('BrokerError', { message: 'too large' });
    };
    await expect(emit({ key: 'wrong', send: refuse })).rejects.toMatchObject({ type: 'BrokerError' });
    const busy = async () => {
      throw fault('TooManyRequests');
    };
    await expect(emit({ key: 'wrong', admit: busy })).rejects.toMatchObject({ type: 'TooManyRequests' });
    expect(await emit({ key: 'wrong', events: [{ type: 'right' }] })).toMatchObject([{ type: 'right' }]);
  });

  it('is the very same events when the node died after sending them and before it said so', async () => {
    // Everything reaches the cache but the last word of the first node.
    const dying: CacheDriver = {
      ...cache,
      set: (key, value, options) =>
        (value as { events?: unknown }).events ? Promise.reject(new Error('killed')) : cache.set(key, value, options),
      releaseLease: async () => {},
    };
    await expect(emit({ key: 'killed', through: dying, leaseMs: 100 })).rejects.toThrow('killed');
    const again = await emit({ key: 'killed', identity: claims({ userId: 'u1', sessionId: 'another' }) });

    expect(sent).toHaveLength(4);
    expect(sent.slice(2)).toEqual(sent.slice(0, 2));
    expect(again).toEqual(sent.slice(0, 2));
  }, 30_000);

  it.each(['', 'x'.repeat(256)])('refuses %j as a key', async (key) => {
    await expect(emit({ key })).rejects.toMatchObject({ type: 'RequestValidationError' });
    expect(sent).toEqual([]);
  });
});
