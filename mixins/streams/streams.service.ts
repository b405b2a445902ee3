/** streams.service — on every node of a cluster: gives out the streams that the node keeps for readers elsewhere. For services only. */
import type { Context, ServiceSchema } from 'moleculer';
import type { Held } from './held.ts';

export const streamsService = (held: Held): ServiceSchema => ({
  name: 'streams',

  actions: {
    /** The piece number `index` of a stream kept here, base64; '' after its last. The same one may be asked for again, an earlier one not. */
    next: {
      visibility: 'public',
      identity: 'system',
      params: { ref: 'string', index: 'number|integer|min:0' },
      handler: (ctx: Context<{ ref: string; index: number }>) => held.next(ctx.params.ref, ctx.params.index),
    },

    /** Nobody reads it any more. */
    end: {
      visibility: 'public',
      identity: 'system',
      params: { ref: 'string' },
      handler: (ctx: Context<{ ref: string }>) => held.end(ctx.params.ref),
    },
  },

  events: {
    '$node.disconnected': (ctx: Context<{ node: { id: string } }>) => held.lost(ctx.params.node.id),
  },

  stopped: async () => held.endAll(),
});
