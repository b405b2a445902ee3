/**
 * mfa — the second factor of accounts: set up, confirm, prove, switch off.
 *
 * State   on the user (documents), proof on the session (cache).
 * Emits   `gateway.mfa.failed`, `gateway.mfa.updated`.
 */
import type { ServiceSchema } from 'moleculer';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { type Call, core, type Self } from './core.mixin.ts';
import { fieldsOf } from './fields.ts';
import { verifyPassword } from './passwords.ts';
import { qrSvg } from './qr.ts';
import { USERS, type UserRow } from './rows.ts';
import { makeRecoveryCodes, makeSecret, proveSecondFactor } from './second-factor.ts';
import type { Session } from './sessions.ts';
import { assertMayTry, countFailure } from './signing-in.ts';

/** The account of a browser or bearer session; runs, visitors and access tokens have no say here. */
async function accountOf(self: Self, ctx: Call<any>): Promise<{ user: UserRow; session: Session }> {
  const { userId, sessionId, kind, via } = self.identityOf(ctx);
  const session = kind === 'user' && via !== 'accessToken' && sessionId ? await self.core.sessions.find(sessionId) : null;
  const user = session && userId ? await self.documents.get<UserRow>(USERS.name, userId) : null;
  if (!user || !session) throw fault('AuthenticationError', { message: 'Sign in with your account first.' });
  return { user, session };
}

async function assertPasswordOf(self: Self, ctx: Call<any>, user: UserRow, given: string): Promise<void> {
  const { ip } = self.identityOf(ctx);
  if (!user.password)
    throw fault('AuthenticationError', { message: 'This account has no password; its provider checks the second factor.' });
  await assertMayTry(self, user.email ?? user.id, ip);
  if (await verifyPassword(given, user.password)) return;
  await countFailure(self, user.email ?? user.id, ip);
  throw fault('AuthenticationError', { message: 'Incorrect password.' });
}

const mfa: ServiceSchema<object, any> = {
  name: 'mfa',
  mixins: [core()],

  actions: {
    /** POST /user/mfa { method, currentPassword } → { secret, qrImage, url } to be confirmed by a first code at /login/mfa, or { method: '' }. */
    set: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const { method, currentPassword } = fieldsOf(ctx.params.body, ['method', 'currentPassword']);
        const { user, session } = await accountOf(this, ctx);
        if (user.mfa === 'totp' && !session.mfa) throw fault('MissingMFA');
        await assertPasswordOf(this, ctx, user, currentPassword);
        const updatedAt = new Date().toISOString();
        if (method === 'totp') {
          const { secret, sealed, url } = makeSecret(this, user);
          await this.documents.update<UserRow>(USERS.name, user.id, { set: { pendingTotp: sealed, updatedAt } });
          return { secret, url, qrImage: `data:image/svg+xml;base64,${Buffer.from(qrSvg(url)).toString('base64')}`, isConfirmed: false };
        }
        await this.documents.update<UserRow>(USERS.name, user.id, {
          set: { mfa: 'none', updatedAt },
          unset: ['totp', 'pendingTotp', 'totpStep', 'recoveryCodes'],
        });
        this.revoked({ userId: user.id });
        await this.tell(ctx, 'gateway.mfa.updated', { userId: user.id, method: 'none' });
        return { method: '' };
      },
    },

    /** POST /login/mfa { totp }: the code of the moment, or a recovery code. The first code after a set-up switches the second factor on. */
    prove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const { totp } = fieldsOf(ctx.params.body, ['totp']);
        const { user, session } = await accountOf(this, ctx);
        const { ip } = this.identityOf(ctx);
        try {
          const proof = await proveSecondFactor(this, user, totp, user.mfa !== 'totp' || Boolean(session.mfa));
          await this.core.sessions.provedSecondFactor(session);
          this.revoked(proof.recoveryCodes ? { userId: user.id } : { sessionId: session.id });
          if (proof.recoveryCodes) await this.tell(ctx, 'gateway.mfa.updated', { userId: user.id, method: 'totp' });
          return {
            success: true,
            ...(proof.recoveryCodes ? { recoveryCodes: proof.recoveryCodes } : {}),
            ...(proof.usedRecoveryCode ? { remainingRecoveryCodes: proof.user.recoveryCodes?.length ?? 0 } : {}),
          };
        } catch (error) {
          if (isFault(error, 'AuthenticationError') || isFault(error, 'TooManyRequests'))
            await this.tell(ctx, 'gateway.mfa.failed', { email: user.email ?? '', ...(ip ? { ip } : {}) });
          throw error;
        }
      },
    },

    /** POST /user/mfa/recoveryCodes { currentPassword } → ten new ones; the old ones are worth nothing. */
    renewCodes: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const { currentPassword } = fieldsOf(ctx.params.body, ['currentPassword']);
        const { user, session } = await accountOf(this, ctx);
        if (user.mfa !== 'totp') throw fault('NotFoundError', { message: 'No MFA configured' });
        if (!session.mfa) throw fault('MissingMFA');
        await assertPasswordOf(this, ctx, user, currentPassword);
        const { codes, hashes } = makeRecoveryCodes(user.id);
        await this.documents.update<UserRow>(USERS.name, user.id, { set: { recoveryCodes: hashes } });
        return { recoveryCodes: codes };
      },
    },
  },
};

export default mfa;
