/** accessTokens — long-lived API tokens `at:…` of users: hashed at rest, shown once, optionally limited by scopes. Emits `gateway.accessTokens.created`, `gateway.accessTokens.deleted`. */
import type { ServiceSchema } from 'moleculer';
import { DAY } from '../../../mixins/shared/clock.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { hexId, uuid } from '../../../mixins/shared/ids.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { type Call, core, type Self } from './core.mixin.ts';
import { fieldsOf } from './fields.ts';
import { sha256 } from './resolver.ts';
import { ACCESS_TOKENS, type AccessTokenRow } from './rows.ts';

const MAX_TOKENS = 50;

const shown = ({ id, name, hint, scopes, expiresAt, createdAt, lastUsedAt, userId }: AccessTokenRow): JsonObject => ({
  id,
  name,
  userId,
  token: hint,
  expiresAt: new Date(expiresAt).toISOString(),
  createdAt,
  ...(scopes ? { scopes } : {}),
  ...(lastUsedAt ? { lastUsedAt } : {}),
});

const owner = (self: Self, ctx: Call<any>): string => {
  const { userId, kind } = self.identityOf(ctx);
  if (!userId || kind !== 'user') throw fault('AuthenticationError');
  return userId;
};

const accessTokens: ServiceSchema<object, any> = {
  name: 'accessTokens',
  mixins: [core()],

  actions: {
    /** GET /user/accessTokens: without their values. */
    list: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call): Promise<JsonObject[]> {
        const rows = await this.documents.find<AccessTokenRow>(ACCESS_TOKENS.name, { userId: owner(this, ctx) }, { limit: MAX_TOKENS });
        return rows.map(shown);
      },
    },

    /** POST /user/accessTokens { name, expiresAt } → the token, this once. */
    create: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const { name, expiresAt, scopes } = fieldsOf(ctx.params.body, ['name', 'expiresAt'], ['scopes']);
        const end = new Date(expiresAt).getTime();
        if (end <= Date.now())
          throw fault('RequestValidationError', { message: 'expiresAt lies in the past.', data: { field: 'expiresAt' } });
        const days = this.core.config.accessTokenMaxDays;
        if (end > Date.now() + days * DAY)
          throw fault('RequestValidationError', {
            message: `An access token lives ${days} days at most.`,
            data: { field: 'expiresAt', maxDays: days },
          });
        const userId = owner(this, ctx);
        if ((await this.documents.count(ACCESS_TOKENS.name, { userId })) >= MAX_TOKENS)
          throw fault('BadParametersError', { message: `An account may have ${MAX_TOKENS} access tokens; delete one first.` });
        const token = `at:${uuid()}`;
        const row = await this.documents.insert<AccessTokenRow>(ACCESS_TOKENS.name, {
          id: hexId().slice(0, 24),
          userId,
          name,
          hash: sha256(token),
          hint: `${token.slice(0, 7)}…`,
          ...(scopes ? { scopes } : {}),
          expiresAt: end,
          createdAt: new Date().toISOString(),
        });
        await this.tell(ctx, 'gateway.accessTokens.created', {
          userId,
          id: row.id,
          name,
          expiresAt: row.expiresAt,
          scopes: scopes ?? null,
        });
        return { ...shown(row), token };
      },
    },

    /** DELETE /user/accessTokens/:token (the value, or the id). */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ token: string }>): Promise<JsonObject> {
        const userId = owner(this, ctx);
        const { token } = ctx.params;
        const [row] = await this.documents.find<AccessTokenRow>(
          ACCESS_TOKENS.name,
          { $and: [{ userId }, { $or: [{ id: token }, { hash: sha256(token) }] }] },
          { limit: 1 },
        );
        if (!row || !(await this.documents.remove(ACCESS_TOKENS.name, row.id)))
          throw fault('ObjectNotFoundError', { message: 'There is no such access token.' });
        this.revoked({ sessionId: `at:${row.id}` });
        await this.tell(ctx, 'gateway.accessTokens.deleted', { userId, id: row.id, name: row.name });
        return shown(row);
      },
    },
  },
};

export default accessTokens;
