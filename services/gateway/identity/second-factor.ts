/**
 * second-factor — time-based codes and recovery codes of an account. @see https://www.rfc-editor.org/rfc/rfc6238
 *
 * States   off → (set up) pending → (first right code) on → (set `none`) off. A pending secret does not replace the present one before it was proven.
 * Replay   the step of the last accepted code is kept: a code works once. A recovery code is removed by its use. Both are written over the revision
 *          that was read, so of two simultaneous uses one succeeds.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { MINUTE, SECOND } from '../../../mixins/shared/clock.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { otpauth } from '../../../mixins/shared/packages.ts';
import type { Self } from './core.mixin.ts';
import { sha256 } from './resolver.ts';
import { USERS, type UserRow } from './rows.ts';

const ISSUER = 'Prisme';
const PERIOD_S = 30;
const SECRET_BYTES = 20;
const CODES = 10;
const ATTEMPTS = 5;
const ATTEMPTS_MS = 5 * MINUTE;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

const aadOf = (userId: string) => `totp/${userId}`;
const totpOf = (secret: string, email = '') =>
  new (otpauth().TOTP)({
    issuer: ISSUER,
    label: email,
    secret: otpauth().Secret.fromBase32(secret),
    period: PERIOD_S,
    digits: 6,
    algorithm: 'SHA1',
  });

/** Eighty random bits as `XXXX-XXXX-XXXX-XXXX`: a hash of that needs no salt. */
const recoveryCode = () => [...randomBytes(16)].map((byte, at) => `${at > 0 && at % 4 === 0 ? '-' : ''}${BASE32[byte & 31]}`).join('');

const hashOf = (userId: string, code: string) => sha256(`${userId}|${code.toUpperCase().replace(/[^A-Z2-7]/g, '')}`);

export function makeRecoveryCodes(userId: string): { codes: string[]; hashes: string[] } {
  const codes = Array.from({ length: CODES }, recoveryCode);
  return { codes, hashes: codes.map((code) => hashOf(userId, code)) };
}

/** A new secret, kept sealed until a first code proves that it arrived. */
export function makeSecret(self: Self, user: UserRow): { secret: string; sealed: string; url: string } {
  const secret = new (otpauth().Secret)({ size: SECRET_BYTES }).base32;
  return { secret, sealed: self.core.ring.seal(secret, aadOf(user.id)), url: totpOf(secret, user.email ?? user.id).toString() };
}

/** Step of the code under a sealed secret, when it is right and newer than the last one used. */
function stepOf(self: Self, user: UserRow, sealed: string, code: string): number | undefined {
  const totp = totpOf(self.core.ring.open(sealed, aadOf(user.id)));
  const now = Date.now();
  const delta = totp.validate({ token: code, window: 1, timestamp: now });
  if (delta === null) return undefined;
  const step = Math.floor(now / SECOND / PERIOD_S) + delta;
  return step > (user.totpStep ?? 0) ? step : undefined;
}

function recoveryHash(user: UserRow, code: string): string | undefined {
  const given = Buffer.from(hashOf(user.id, code));
  return user.recoveryCodes?.find((hash) => hash.length === given.length && timingSafeEqual(Buffer.from(hash), given));
}

/** @throws TooManyRequests after five wrong codes in five minutes, whoever sends them */
async function assertMayTry(self: Self, userId: string): Promise<void> {
  const { count, expiresInMs } = await self.cache.increment(`mfa-failures:{${userId}}`, 0, ATTEMPTS_MS);
  if (count >= ATTEMPTS)
    throw fault('TooManyRequests', {
      message: 'Too many wrong codes; retry later.',
      data: { retryAfter: Math.max(1, Math.ceil(expiresInMs / SECOND)) },
    });
}

export interface Proof {
  user: UserRow;
  /** Shown this once, when the code has switched the second factor on. */
  recoveryCodes?: string[];
  usedRecoveryCode: boolean;
}

/**
 * Checks a code and uses it up.
 * @param mayConfirm the caller's session may switch a pending secret on
 * @throws AuthenticationError `Bad TOTP` · NotFoundError without second factor · TooManyRequests
 */
export async function proveSecondFactor(self: Self, user: UserRow, code: string, mayConfirm: boolean): Promise<Proof> {
  const isPending = Boolean(user.pendingTotp && mayConfirm);
  if (!isPending && user.mfa !== 'totp') throw fault('NotFoundError', { message: 'No MFA configured' });
  await assertMayTry(self, user.id);
  const write = async (set: Partial<UserRow>, unset: string[] = []): Promise<UserRow> =>
    self.documents.update<UserRow>(USERS.name, user.id, { set: { ...set }, unset }, user._rev);
  try {
    const confirmed = isPending ? stepOf(self, { ...user, totpStep: 0 }, user.pendingTotp as string, code) : undefined;
    if (confirmed !== undefined) {
      const { codes, hashes } = makeRecoveryCodes(user.id);
      const set = { mfa: 'totp', totp: user.pendingTotp as string, totpStep: confirmed, recoveryCodes: hashes } as const;
      return { user: await write(set, ['pendingTotp']), recoveryCodes: codes, usedRecoveryCode: false };
    }
    const step = user.mfa === 'totp' && user.totp ? stepOf(self, user, user.totp, code) : undefined;
    if (step !== undefined) return { user: await write({ totpStep: step }), usedRecoveryCode: false };
    const used = user.mfa === 'totp' ? recoveryHash(user, code) : undefined;
    if (used)
      return {
        user: await write({ recoveryCodes: (user.recoveryCodes ?? []).filter((hash) => hash !== used) }),
        usedRecoveryCode: true,
      };
  } catch (error) {
    // Somebody else used the account's second factor at the same moment: perhaps this very code.
    if (!isFault(error, 'VersionConflict')) throw error;
  }
  await self.cache.increment(`mfa-failures:{${user.id}}`, 1, ATTEMPTS_MS);
  throw fault('AuthenticationError', { message: 'Bad TOTP' });
}
