/**
 * organisations — what the person (or service account, or key) behind a run is in the organisation he acts in. Asked of the gateway, which owns that, and
 * remembered a few seconds. Whoever is merely named has none: automations choose the session their events are sent under, and so who the runs that those
 * events start are for; an id of a person, or a guessed `sa:…`, must not be enough. Either the caller was verified, or his session is one that is open.
 * Without an answer a run has no organisation: it loses rights, never gains some, and all else in it goes on.
 */

import { SECOND } from '../../mixins/shared/clock.ts';
import { lru } from '../../mixins/shared/lru.ts';
import type { OrganisationContext } from '../gateway/contract.ts';
import type { RunOrganisation } from './interpreter/index.ts';
import { isNamed } from './rights.ts';
import type { RunRequest } from './runs.ts';
import type { Sessions } from './sessions.ts';

export type Standing = RunOrganisation & { permissionList: string[] };

type Asking = Pick<RunRequest, 'identity' | 'workspaceId' | 'run'>;

export interface Organisations {
  of(request: Asking): Promise<Standing | undefined>;
  /** Somebody's standing has changed somewhere. */
  forget(): void;
}

const REMEMBER_MS = 5 * SECOND;

export function createOrganisations({
  ask,
  sessions,
  log,
}: {
  sessions: Pick<Sessions, 'find'>;
  ask: (params: { userId: string; sessionId?: string }, correlationId: string) => Promise<OrganisationContext>;
  log: (message: string, error: unknown) => void;
}): Organisations {
  const known = lru<string, Standing>({ max: 20_000, ttl: REMEMBER_MS });
  let epoch = 0;
  return {
    async of({ identity, workspaceId, run: { correlationId, sourceWorkspaceId } }) {
      const { userId, sessionId, isProven } = identity;
      if (userId === undefined || isNamed(identity)) return undefined;
      // Every workspace somebody visits may call others in his name: it does so without what he is in his organisation.
      if (sourceWorkspaceId !== undefined && sourceWorkspaceId !== workspaceId) return undefined;
      if (!isProven && (sessionId === undefined || (await sessions.find(sessionId))?.userId !== userId)) return undefined;
      const key = JSON.stringify([userId, sessionId]);
      const remembered = known.get(key);
      if (remembered) return remembered;
      const before = epoch;
      try {
        const standing = { userId, ...(await ask({ userId, ...(sessionId ? { sessionId } : {}) }, correlationId)) };
        // What was read before a change is not remembered after it.
        if (before === epoch) known.set(key, standing);
        return standing;
      } catch (error) {
        // Nodes without a gateway in reach run automations all the same.
        if ((error as { type?: string }).type !== 'SERVICE_NOT_FOUND') log('the organisation of a run could not be asked for', error);
        return undefined;
      }
    },
    forget() {
      epoch++;
      known.clear();
    },
  };
}
