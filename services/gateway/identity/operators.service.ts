/** operators — what the console of a node needs to act for somebody. Only for services: whoever holds a node holds its keys anyway. State: none of its own. */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../../mixins/shared/errors.ts';
import type { Resolved } from '../contract.ts';
import { type Call, core, type Self } from './core.mixin.ts';
import { userByEmail } from './users.ts';

const LIFE_S = 60;

const operators: ServiceSchema<object, any> = {
  name: 'operators',
  mixins: [core()],

  actions: {
    /** { email } → the claims of that person, as if just signed in. @throws ObjectNotFoundError */
    claims: {
      visibility: 'public',
      identity: 'system',
      params: { email: 'string|min:3' },
      async handler(this: Self, ctx: Call<{ email: string }>): Promise<Resolved['claims']> {
        const user = await userByEmail(this, ctx.params.email.trim().toLowerCase());
        if (!user) throw fault('ObjectNotFoundError', { message: `Nobody has the e-mail address ${ctx.params.email}.` });
        const session = await this.core.sessions.start(user.id, LIFE_S);
        const token = this.core.tokens.sign({ sub: user.id, prismeaiSessionId: session.id }, LIFE_S);
        const { correlationId } = this.identityOf(ctx);
        const known = await this.core.resolver.resolve({ authorization: `Bearer ${token}`, correlationId });
        return { ...(known as NonNullable<typeof known>).claims, correlationId };
      },
    },
  },
};

export default operators;
