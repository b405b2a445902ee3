/**
 * system-calls — what each service may ask for in its own name. A system identity has every right, so it is good for these calls only: a service that
 * is tricked, or taken over, cannot use it to read or change what it has no business with. The gateway acts for people; in its own name it only looks.
 */
/** Asked of every node for GET /v2/readiness. */
const READINESS = ['gateway.readiness', 'workspaces.readiness', 'runtime.readiness', 'events.readiness'];

export const SYSTEM_CALLS: Readonly<Record<string, string[]>> = {
  // Rights of a workspace, asked for by every service through the mixin `auth`.
  auth: ['workspaces.access'],
  gateway: ['workspaces.resolve', 'events.topics.of', 'events.replay', 'runtime.cancel', ...READINESS],
  events: ['workspaces.resolve'],
  'events.topics': ['workspaces.resolve'],
  history: ['workspaces.eventMapping'],
  'bus.deadLetters': ['workspaces.resolve'],
  runtime: [
    'workspaces.model',
    'workspaces.revisions',
    'workspaces.removed',
    'appInstances.former',
    'workspaces.resolve',
    'workspaces.ids',
    'apps.model',
    'apps.revisions',
    'tokens.mint',
    'orgs.context',
    'orgPrivileges.perform',
    'events.topics.join',
    'runtime.explainLocal',
    'runtime.runs.local',
  ],
  files: ['gateway.readUpload'],
  streams: ['streams.next', 'streams.end'],
  automations: ['runtime.check'],
  archives: ['runtime.check'],
  versions: ['runtime.check', 'users.get'],
  permissions: ['users.get'],
  // Scripts of this very node.
  start: ['identity.firstAccess', 'identity.installerSession'],
  // People with a shell on a node (scripts/console): whoever holds a node holds its keys anyway.
  console: [
    'gateway.reload',
    'operators.claims',
    'security.explain',
    'runtime.triggers',
    'runtime.runs.list',
    'workspaces.access',
    'workspaces.ids',
    'workspaces.adopt',
    'history.status',
    'events.retention.clean',
    'events.topics.of',
    'events.topics.members',
    'events.topics.join',
    'events.topics.leave',
  ],
};

const table = new Map(Object.entries(SYSTEM_CALLS).map(([service, actions]) => [service, new Set(actions)]));

/** Whether `service` may call `action` in its own name. */
export const mayCallAsSystem = (service: string | undefined, action: string): boolean => table.get(service ?? '')?.has(action) === true;
