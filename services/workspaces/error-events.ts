/**
 * error-events — a request that fails is told in the activity of its workspace as an `error` event, so that whoever edits sees why. Not what was not
 * found or not allowed, and only for callers who may read the workspace: nobody else writes into its activity.
 */
import type { CallMeta } from '../../mixins/auth/identity.ts';
import { toPublicError } from '../../mixins/shared/errors.ts';
import type { Json } from '../../mixins/shared/json.ts';
import type { Call, Self } from './editing.mixin.ts';

const UNTOLD = new Set(['ObjectNotFoundError', 'ForbiddenError', 'AuthenticationError', 'SuspendedWorkspaceError', 'TooManyRequests']);
const MAX_DETAILS_CHARS = 5_000;

/** For `hooks.error`: tells and throws on. */
export async function tellError(this: Self, ctx: Call<any>, error: Error): Promise<never> {
  const isPublished = (ctx.action as { visibility?: string } | undefined)?.visibility === 'published';
  const given = ctx.params?.workspaceId;
  if (isPublished && typeof given === 'string' && (ctx.meta as CallMeta).identity !== undefined)
    await tell(this, ctx, given, error).catch((reason) => this.logger.debug(`An error was not told as an event: ${reason.message}`));
  throw error;
}

async function tell(self: Self, ctx: Call<any>, given: string, error: Error): Promise<void> {
  const { status: _status, details, ...problem } = toPublicError(error);
  if (UNTOLD.has(problem.error)) return;
  const row = await self.store.findRow(await self.idOf(given));
  if (!row || !(await self.abilityOf(ctx, row.id)).can('read', 'workspaces', row)) return;
  // The caller has the whole answer; of a failed precondition it repeats an object, which is no news for the activity.
  const { current: _current, ...short } = details;
  const isShort = JSON.stringify(short).length <= MAX_DETAILS_CHARS;
  const payload = { ...problem, ...(isShort ? { details: short } : {}), action: ctx.action?.name };
  await self.bus.send('error', payload as Json as never, { source: { ...self.author(ctx).source, workspaceId: row.id } });
}
