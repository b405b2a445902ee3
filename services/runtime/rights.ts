/**
 * rights — for whom a run may act. Automations may take an identity (`session.id`, `user.id`: chat platforms map their own people so); that gives the data kept
 * under that id, never the rights of the person who happens to have it: neither in the run itself nor in what its events start.
 */
import type { Frame, RunIdentity } from './interpreter/index.ts';
import type { RunRequest } from './runs.ts';

/** Whether an automation has taken another identity than that of its run. */
export const isSwitched = ({ identity }: Pick<RunRequest, 'identity'>, frame: Pick<Frame, 'identity'>): boolean =>
  frame.identity.userId !== identity.userId || frame.identity.sessionId !== identity.sessionId;

/** Whether what a run tells under its present identity is told by that person. */
export const isPosed = (request: Pick<RunRequest, 'identity'>, frame: Pick<Frame, 'identity'>): boolean =>
  Boolean(request.identity.isPosed) || isSwitched(request, frame);

/** The claims that rights are judged by: none for an identity that was taken. */
export function rightsOf({ userId, sessionId, email, authData, platformRole, isPosed }: RunIdentity) {
  if (isPosed) return {};
  return {
    ...(userId ? { userId } : {}),
    ...(sessionId ? { sessionId } : {}),
    ...(email ? { email } : {}),
    ...(authData ? { authData } : {}),
    ...(platformRole ? { role: platformRole } : {}),
  };
}
