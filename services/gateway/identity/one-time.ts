/**
 * one-time — the tokens in links of mails: kept as hashes, alive for an hour, worth something once. A new one voids those before it, so that a
 * mailbox holds at most one working link of each purpose.
 */
import { HOUR } from '../../../mixins/shared/clock.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { secretToken } from '../../../mixins/shared/ids.ts';
import type { Self } from './core.mixin.ts';
import { sha256 } from './resolver.ts';
import { ONE_TIME_TOKENS, type OneTimePurpose, type OneTimeRow } from './rows.ts';

const LIFE_MS = HOUR;

export async function makeOneTime(self: Self, userId: string, purpose: OneTimePurpose): Promise<string> {
  const token = secretToken(24);
  await self.documents.removeMany(ONE_TIME_TOKENS.name, { userId, purpose });
  await self.documents.insert<OneTimeRow>(ONE_TIME_TOKENS.name, { id: sha256(token), userId, purpose, expiresAt: Date.now() + LIFE_MS });
  return token;
}

/** Whose it was. Of two requests with one token one succeeds. @throws InvalidOrExpiredToken */
export async function useOneTime(self: Self, token: string, purpose: OneTimePurpose): Promise<string> {
  const id = sha256(token);
  const row = await self.documents.get<OneTimeRow>(ONE_TIME_TOKENS.name, id);
  if (row?.purpose !== purpose || !(await self.documents.remove(ONE_TIME_TOKENS.name, id))) throw fault('InvalidOrExpiredToken');
  return row.userId;
}
