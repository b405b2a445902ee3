/** tokens — tokens that runs carry back to the platform, and the public keys of all tokens. */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { MintAnswer, MintParams } from '../contract.ts';
import { type Call, core, type Self } from './core.mixin.ts';

/** A workspace proves itself for minutes at most, a run only for one request. */
const MAX_TTL_S = 600;

function assertSuperAdmin(self: Self, ctx: Call<any>): void {
  if (self.identityOf(ctx).role !== 'superadmin') throw fault('ForbiddenError');
}

/** Other nodes read the ring again and forget what they remember. */
async function changed(self: Self, ctx: Call<any>, change: { created: string[]; deleted: string[] }): Promise<JsonObject> {
  self.core.resolver.forget({});
  await self.broker.broadcast('identity.keysChanged');
  await self.tell(ctx, 'gateway.jwks.updated', change);
  return { ...change };
}

const tokens: ServiceSchema<object, any> = {
  name: 'tokens',
  mixins: [core()],

  actions: {
    mint: {
      visibility: 'public',
      identity: 'system',
      handler(this: Self, ctx: Call<MintParams>): MintAnswer {
        const { kind, workspaceId, userId, sessionId, isAway, correlationId, ttlS, depth } = ctx.params;
        if ((kind !== 'delegated' && kind !== 'workspace') || typeof workspaceId !== 'string' || !(ttlS > 0))
          throw fault('BadParametersError');
        const claims = {
          kind,
          workspaceId,
          correlationId,
          ...(userId ? { sub: userId } : {}),
          ...(sessionId ? { sessionId } : {}),
          ...(isAway ? { isAway } : {}),
          ...(depth === undefined ? {} : { depth }),
        };
        return { jwt: this.core.tokens.sign(claims, Math.min(ttlS, MAX_TTL_S)) };
      },
    },

    /** POST /jwks/rotate: a new key signs from now on; what the others signed stays valid until it ends. For super admins. */
    rotate: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        assertSuperAdmin(this, ctx);
        return changed(this, ctx, await this.core.keys.refresh({ force: true }));
      },
    },

    /** DELETE /jwks/:kid: what this key signed is worth nothing from now on, on every node. For super admins. */
    revoke: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ kid: string }>): Promise<JsonObject> {
        assertSuperAdmin(this, ctx);
        const before = this.core.keys.kids();
        await this.core.keys.revoke(ctx.params.kid);
        const after = this.core.keys.kids();
        return changed(this, ctx, {
          created: after.filter((kid) => !before.includes(kid)),
          deleted: before.filter((kid) => !after.includes(kid)),
        });
      },
    },

    /** GET /oidc/jwks: public keys. @see https://www.rfc-editor.org/rfc/rfc7517 */
    jwks: {
      visibility: 'published',
      identity: 'optional',
      handler(this: Self) {
        return this.core.keys.jwks();
      },
    },
  },
};

export default tokens;
