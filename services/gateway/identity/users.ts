/** users — making and finding accounts; shared by every way in. */
import { fault } from '../../../mixins/shared/errors.ts';
import { hexId } from '../../../mixins/shared/ids.ts';
import type { Self } from './core.mixin.ts';
import { USERS, type UserRow } from './rows.ts';

/** @throws AlreadyUsedError when the address has an account */
export async function createUser(self: Self, row: Partial<UserRow> & Pick<UserRow, 'status' | 'authData'>): Promise<UserRow> {
  const now = new Date().toISOString();
  const id = hexId().slice(0, 24);
  const authData = row.email && Object.keys(row.authData).length === 0 ? { prismeai: { id, email: row.email } } : row.authData;
  return self.documents.insert<UserRow>(USERS.name, { ...row, id, authData, createdAt: now, updatedAt: now });
}

/** @throws InvalidPassword */
export function assertPassword(self: Self, password: string): void {
  const { passwordPattern } = self.core.config;
  if (new RegExp(passwordPattern, 's').test(password)) return;
  const rule = passwordPattern === '^.{8,32}$' ? 'The password must have between 8 and 32 characters.' : undefined;
  throw fault('InvalidPassword', rule ? { message: rule } : {});
}

export const userByEmail = async (self: Self, email: string): Promise<UserRow | null> =>
  (await self.documents.find<UserRow>(USERS.name, { email }, { limit: 1 }))[0] ?? null;
