/**
 * once — an emission under an `Idempotency-Key`: whoever repeats it within a day gets the events of the first request, and nothing is sent twice.
 *
 * State   cache, `{emits:<workspace>}:once:<digest of caller and key>`: what was asked, when, and the events once they are durable.
 *
 * The ids of the events come from the caller, the key and the moment of the first request, which is written down before anything is sent. When the node dies
 * after sending and before it could say so, the repetition sends the very same events: their ids are known, and consumers take an id once.
 */
import { createHash } from 'node:crypto';
import type { IdentityClaims } from '../../mixins/auth/identity.ts';
import { DAY, SECOND, sleep } from '../../mixins/shared/clock.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import { hexId, ulidOf } from '../../mixins/shared/ids.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { Candidate, Fixed } from './emit.ts';

const KEPT_MS = DAY;
const LEASE_MS = 5 * SECOND;
const POLL_MS = 50;
const MAX_KEY_LENGTH = 255;

/** `asked` until it is sent, `events` afterwards. */
interface Emission {
  fingerprint: string;
  at: number;
  asked?: Candidate[];
  events?: PrismeEvent[];
}

export interface OnceOptions {
  cache: CacheDriver;
  workspaceId: string;
  identity: IdentityClaims;
  key: string;
  body: unknown;
  candidates: Candidate[];
  /** Called before the first sending, and not for a repetition that has its answer. May throw: the key is then unused. */
  admit(): Promise<void>;
  /** How long a repetition leaves the first request alone before it takes its place; a node that merely was slow sends the same ids. */
  leaseMs?: number;
  send(candidates: Candidate[], fixed: Fixed): Promise<PrismeEvent[]>;
}

const digest = (...parts: unknown[]) => createHash('sha256').update(JSON.stringify(parts)).digest();

/** Who asks: two callers never meet under the same key. Who is nobody is known by where he is and what he sends. */
function callerOf(identity: IdentityClaims, fingerprint: string): unknown[] {
  const { kind, userId, sessionId, apiKeyHash, sourceWorkspaceId, isAway, org, ip } = identity;
  const who = userId ? ['user', userId] : sessionId ? ['session', sessionId] : ['nobody', apiKeyHash, ip, fingerprint];
  return [kind, org?.slug, sourceWorkspaceId, ...who, ...(isAway ? ['away'] : [])];
}

/** @throws IdempotencyKeyReused · RequestValidationError · what `admit` and `send` throw */
export async function emitOnce(options: OnceOptions): Promise<PrismeEvent[]> {
  const { cache, workspaceId, identity, key, body, candidates, admit, send, leaseMs = LEASE_MS } = options;
  if (typeof key !== 'string' || key.length === 0 || key.length > MAX_KEY_LENGTH)
    throw fault('RequestValidationError', { message: `An Idempotency-Key is a text of 1 to ${MAX_KEY_LENGTH} characters.` });
  const fingerprint = digest(body).toString('hex');
  const name = digest(workspaceId, callerOf(identity, fingerprint), key);
  const record = `{emits:${workspaceId}}:once:${name.toString('hex')}`;
  const owner = hexId();

  const look = async (): Promise<Emission | null> => {
    const found = (await cache.get<Emission>(record))?.value ?? null;
    if (found && found.fingerprint !== fingerprint) throw fault('IdempotencyKeyReused');
    return found;
  };

  for (let isAdmitted = false; ; ) {
    const before = await look();
    if (before?.events) return before.events;
    if (!isAdmitted) await admit();
    isAdmitted = true;
    if (!(await cache.lease(record, owner, leaseMs))) {
      await sleep(POLL_MS);
      continue;
    }
    try {
      // Between the look and the lease the other one may have finished.
      const found = await look();
      if (found?.events) return found.events;
      const { at, asked = [] } = found ?? (await claim());
      // The last ten bits keep the order of the request.
      const random = BigInt(`0x${name.toString('hex', 0, 10)}`) & ~1023n;
      const events = await send(asked, { at, idOf: (index) => ulidOf(at, random | BigInt(index)) });
      await cache.set(record, { fingerprint, at, events } satisfies Emission, { ttlMs: KEPT_MS });
      return events;
    } catch (error) {
      // What was refused for what it is was not sent: the key is free for the request put right.
      if (isFault(error) && error.code < 500 && error.type !== 'IdempotencyKeyReused') await cache.delete(record).catch(() => false);
      throw error;
    } finally {
      await cache.releaseLease(record, owner).catch(() => {});
    }
  }

  async function claim(): Promise<Emission> {
    const made: Emission = { fingerprint, at: Date.now(), asked: candidates };
    await cache.set(record, made, { ttlMs: KEPT_MS });
    return made;
  }
}
