/** tokens — tokens that runs carry back to the platform, and the public keys of all tokens. */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../../mixins/shared/errors.ts';
import type { MintAnswer, MintParams } from '../contract.ts';
import { type Call, core, type Self } from './core.mixin.ts';

/** A workspace proves itself for minutes at most, a run only for one request. */
const MAX_TTL_S = 600;

const tokens: ServiceSchema<object, any> = {
  name: 'tokens',
  mixins: [core()],

  actions: {
    mint: {
      visibility: 'public',
      identity: 'system',
      handler(this: Self, ctx: Call<MintParams>): MintAnswer {
        const { kind, workspaceId, userId, sessionId, correlationId, ttlS, depth } = ctx.params;
        if ((kind !== 'delegated' && kind !== 'workspace') || typeof workspaceId !== 'string' || !(ttlS > 0))
          throw fault('BadParametersError');
        const claims = {
          kind,
          workspaceId,
          correlationId,
          ...(userId ? { sub: userId } : {}),
          ...(sessionId ? { sessionId } : {}),
          ...(depth === undefined ? {} : { depth }),
        };
        return { jwt: this.core.tokens.sign(claims, Math.min(ttlS, MAX_TTL_S)) };
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
