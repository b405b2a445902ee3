/**
 * rights — for whom a run may act. Automations may take an identity (`session.id`, `user.id`: chat platforms map their own people so); that gives the data kept
 * under that id, never the rights of the person who happens to have it: neither in the run itself nor in what its events start. The same holds where
 * another workspace calls in the name of its visitor: he is who calls, and did not ask for it.
 */
import type { Frame, RunIdentity } from './interpreter/index.ts';
import type { RunRequest } from './runs.ts';

/** Whether an automation has taken another identity than that of its run. */
export const isSwitched = ({ identity }: Pick<RunRequest, 'identity'>, frame: Pick<Frame, 'identity'>): boolean =>
  frame.identity.userId !== identity.userId || frame.identity.sessionId !== identity.sessionId;

/** Whether a run has the data of who it is for, and not his rights. */
export const isNamed = ({ isPosed, isAway }: RunIdentity): boolean => isPosed === true || isAway === true;

/** Whether what a run tells under its present identity was done by somebody else than that person. */
export const isPosed = (request: Pick<RunRequest, 'identity'>, frame: Pick<Frame, 'identity'>): boolean =>
  isNamed(request.identity) || isSwitched(request, frame);

/** The claims that rights are judged by: none for an identity that was taken, or brought by another workspace. */
export function rightsOf(identity: RunIdentity) {
  if (isNamed(identity)) return {};
  const { userId, sessionId, email, emailVerified, authData, platformRole } = identity;
  return {
    ...(userId ? { userId } : {}),
    ...(sessionId ? { sessionId } : {}),
    ...(email ? { email } : {}),
    ...(emailVerified ? { emailVerified } : {}),
    ...(authData ? { authData } : {}),
    ...(platformRole ? { role: platformRole } : {}),
  };
}
