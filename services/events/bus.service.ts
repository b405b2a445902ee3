/**
 * bus — the message broker as its operators see it: how far each consumer group is behind, in entries and seconds, what this node does for it, and an end
 * for groups that are not used any more. For super admins.
 *
 * State   none of its own.
 * Emits   nothing.
 * Calls   nobody.
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { auth } from '../../mixins/auth/auth.mixin.ts';
import type { AuthMethods } from '../../mixins/auth/contract.ts';
import type { CallMeta } from '../../mixins/auth/identity.ts';
import { type BusMethods, bus } from '../../mixins/bus/bus.mixin.ts';
import type { BusStatus } from '../../mixins/bus/contract.ts';
import { fault } from '../../mixins/shared/errors.ts';

type Self = Service & AuthMethods & BusMethods & { assertOperator(ctx: Call): void };
type Call = Context<{ group?: string }, CallMeta>;

const busService: ServiceSchema<object, any> = {
  name: 'bus',
  mixins: [auth(), bus({ service: 'events' })],

  actions: {
    /** GET /bus/status */
    status: {
      visibility: 'published',
      identity: 'required',
      handler(this: Self, ctx: Call): Promise<BusStatus> {
        this.assertOperator(ctx);
        return this.bus.status();
      },
    },

    /** DELETE /bus/groups/:group: what the group has not handled, and its dead letters, are given up. @throws GroupInUse */
    forgetGroup: {
      visibility: 'published',
      identity: 'required',
      params: { group: 'string|min:1|max:100' },
      async handler(this: Self, ctx: Call): Promise<{ group: string }> {
        this.assertOperator(ctx);
        const group = ctx.params.group as string;
        if (!(await this.bus.lag()).some((one) => one.group === group))
          throw fault('ObjectNotFoundError', {
            message: `There is no consumer group '${group}'.`,
            data: { subjectType: 'groups', id: group },
          });
        if (!(await this.bus.forgetGroup(group))) throw fault('GroupInUse', { data: { group } });
        this.logger.warn(`bus: the consumer group '${group}' was forgotten, with what it had not handled`);
        return { group };
      },
    },
  },

  methods: {
    assertOperator(this: Self, ctx: Call): void {
      if (this.identityOf(ctx).role !== 'superadmin')
        throw fault('ForbiddenError', { message: 'Only super admins operate the event bus.' });
    },
  },
};

export default busService;
