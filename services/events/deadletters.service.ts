/**
 * bus.deadLetters — the events a consumer group gave up on: list, read, redrive, drop. With a workspace in the path for those who manage it; without,
 * for super admins: those of every workspace and of the platform itself.
 *
 * State   none of its own: dead letters are kept by the bus until they are redriven or dropped.
 * Emits   nothing; the bus itself tells of a new one by `bus.deadletters.created` in the workspace of the event.
 * Calls   `workspaces.resolve` (addresses by slug).
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { auth } from '../../mixins/auth/auth.mixin.ts';
import type { AuthMethods } from '../../mixins/auth/contract.ts';
import type { CallMeta } from '../../mixins/auth/identity.ts';
import { type BusMethods, bus } from '../../mixins/bus/bus.mixin.ts';
import type { DeadLetter } from '../../mixins/bus/contract.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { isPlainObject } from '../../mixins/shared/json.ts';

interface DeadLettersMethods {
  idOf(workspaceId: string): Promise<string>;
  managed(ctx: Call): Promise<string | undefined>;
}
type Self = Service & AuthMethods & BusMethods & DeadLettersMethods;
type Call = Context<{ workspaceId?: string; id?: string; query?: Record<string, unknown>; body?: unknown }, CallMeta>;

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;
const MAX_IDS = 1_000;

const PARAMS = {
  workspaceId: 'string|min:1|optional',
  query: { type: 'object', optional: true },
  body: { type: 'any', optional: true },
} as const;

const deadLetters: ServiceSchema<object, any> = {
  name: 'bus.deadLetters',
  mixins: [auth(), bus({ service: 'events' })],

  actions: {
    /** GET …/deadletters?group&limit: oldest first. */
    list: {
      visibility: 'published',
      identity: 'required',
      params: PARAMS,
      async handler(this: Self, ctx: Call): Promise<{ result: DeadLetter[] }> {
        const workspaceId = await this.managed(ctx);
        const { group, limit } = ctx.params.query ?? {};
        const count = limit === undefined ? DEFAULT_LIMIT : Number(limit);
        if (!Number.isInteger(count) || count < 1 || count > MAX_LIMIT)
          throw fault('RequestValidationError', { message: `limit must be a whole number from 1 to ${MAX_LIMIT}.`, data: { limit } });
        return { result: await this.bus.deadLetters({ workspaceId, group: textOf('group', group), limit: count }) };
      },
    },

    /** GET …/deadletters/:id. @throws ObjectNotFoundError */
    get: {
      visibility: 'published',
      identity: 'required',
      params: { ...PARAMS, id: 'string|min:1|max:300' },
      async handler(this: Self, ctx: Call): Promise<DeadLetter> {
        const workspaceId = await this.managed(ctx);
        const id = ctx.params.id as string;
        const [letter] = await this.bus.deadLetters({ workspaceId, ids: [id] });
        if (!letter)
          throw fault('ObjectNotFoundError', { message: `There is no dead letter '${id}'.`, data: { subjectType: 'deadletters', id } });
        return letter;
      },
    },

    /** POST …/deadletters/redrive { ids?, group? }: back to their group, for another round of attempts; without ids all. */
    redrive: {
      visibility: 'published',
      identity: 'required',
      params: PARAMS,
      async handler(this: Self, ctx: Call): Promise<{ redriven: number }> {
        const workspaceId = await this.managed(ctx);
        return { redriven: await this.bus.redrive({ workspaceId, ...choiceOf(ctx.params.body) }) };
      },
    },

    /** POST …/deadletters/drop { ids?, group? }: gone for good; without ids all. */
    drop: {
      visibility: 'published',
      identity: 'required',
      params: PARAMS,
      async handler(this: Self, ctx: Call): Promise<{ dropped: number }> {
        const workspaceId = await this.managed(ctx);
        return { dropped: await this.bus.dropDeadLetters({ workspaceId, ...choiceOf(ctx.params.body) }) };
      },
    },
  },

  methods: {
    async idOf(this: Self, workspaceId: string): Promise<string> {
      if (!workspaceId.startsWith('slug:')) return workspaceId;
      const { id } = await this.broker.call<{ id: string }, { workspaceId: string }>(
        'workspaces.resolve',
        { workspaceId },
        { meta: this.systemMeta() },
      );
      return id;
    },
    /** Id of the workspace, once the caller is known to manage it: no dead letter of another one is ever touched. `undefined`: all, for a super admin. */
    async managed(this: Self, ctx: Call): Promise<string | undefined> {
      const { workspaceId } = ctx.params;
      if (workspaceId === undefined) {
        if (this.identityOf(ctx).role === 'superadmin') return undefined;
        throw fault('ForbiddenError', { message: 'Only super admins see the dead letters of every workspace.' });
      }
      const id = await this.idOf(workspaceId);
      // The very workspace: who manages some workspaces under a condition does not manage this one.
      await this.authorize(ctx, id, 'manage', 'workspaces', { id });
      return id;
    },
  },
};

export default deadLetters;

function textOf(name: string, value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  throw fault('RequestValidationError', { message: `${name} must be a text.`, data: { [name]: value } });
}

/** `{ ids?, group? }` of a body. A list of ids that is there but wrong is refused: it must never come to mean "all". */
function choiceOf(body: unknown): { ids?: string[]; group?: string } {
  if (body === undefined || body === null) return {};
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be an object.' });
  const { ids, group } = body;
  if (ids !== undefined && !(Array.isArray(ids) && ids.length <= MAX_IDS && ids.every((id) => typeof id === 'string')))
    throw fault('RequestValidationError', { message: `ids must be a list of at most ${MAX_IDS} texts.`, data: { ids: typeof ids } });
  return { ...(ids !== undefined && { ids }), group: textOf('group', group) };
}
