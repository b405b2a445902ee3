/** tenants — two tenants of one platform and everybody who may knock at the first one's door. */
import { type Client, client, expectOk, newUser, signIn } from './client.ts';
import { ADMIN, type Platform } from './platform.ts';
import type { TokenRing } from './token-ring.ts';

export const PRINCIPALS = [
  'nobody',
  'anonymous',
  'stranger',
  'viewer',
  'editor',
  'owner',
  'key',
  'token',
  'expired',
  'superadmin',
] as const;
export type Principal = (typeof PRINCIPALS)[number];

export interface Tenants {
  /** `stranger` owns another workspace; `token` is the owner by an access token, `expired` by a token that is over. */
  by: Record<Principal, Client>;
  /** Headers that go with a principal. */
  headersOf(principal: Principal): Record<string, string>;
  owner: Client;
  /** Workspace of `owner`, shared with `viewer` and `editor`. */
  workspace: { id: string; slug: string };
  /** Workspace of `stranger`. */
  other: { id: string; slug: string };
  apiKey: { id: string; value: string };
}

/** Rules of the role `viewer` and of the API key. */
export const READS = [
  { action: ['read'], subject: ['workspaces', 'pages', 'files'] },
  { action: ['read'], subject: 'events' },
];

export async function shareWith(owner: Client, workspaceId: string, id: string, role: string): Promise<void> {
  await expectOk(owner.post(`/workspaces/${workspaceId}/permissions`, { target: { id }, permissions: { role } }));
}

/** The default section with the role `viewer`. */
export async function addViewerRole(owner: Client, workspaceId: string): Promise<void> {
  const security = await expectOk(owner.get(`/workspaces/${workspaceId}/security`));
  security.authorizations.roles.viewer = {};
  security.authorizations.rules.push(...READS.map((rule) => ({ ...rule, role: 'viewer' })));
  await expectOk(owner.request('PUT', `/workspaces/${workspaceId}/security`, security));
}

export async function makeTenants({ url }: Pick<Platform, 'url'>, ring: TokenRing): Promise<Tenants> {
  const [owner, stranger, viewer, editor] = await Promise.all(['owner', 'stranger', 'viewer', 'editor'].map((name) => newUser(url, name)));
  if (!owner || !stranger || !viewer || !editor) throw new Error('no users');
  const superadmin = await signIn(url, ADMIN);
  const session = await expectOk(client(url).post('/login/anonymous', {}));
  const workspace = await expectOk(owner.post('/workspaces', { name: 'First tenant' }));
  const other = await expectOk(stranger.post('/workspaces', { name: 'Second tenant' }));
  await addViewerRole(owner, workspace.id);
  await shareWith(owner, workspace.id, viewer.user?.id as string, 'viewer');
  await shareWith(owner, workspace.id, editor.user?.id as string, 'editor');
  const key = await expectOk(owner.post(`/workspaces/${workspace.id}/security/apikeys`, { name: 'reader', rules: READS }));
  const access = await expectOk(
    owner.post('/user/accessTokens', { name: 'test', expiresAt: new Date(Date.now() + 3_600_000).toISOString() }),
  );
  const now = Math.floor(Date.now() / 1000);
  const expired = ring.token(url, { sub: owner.user?.id, prismeaiSessionId: owner.user?.sessionId, iat: now - 120, exp: now - 60 });

  const by: Record<Principal, Client> = {
    nobody: client(url),
    anonymous: client(url, session.token),
    stranger,
    viewer,
    editor,
    owner,
    key: client(url),
    token: client(url, access.token),
    expired: client(url, expired),
    superadmin,
  };
  return {
    by,
    headersOf: (principal): Record<string, string> => (principal === 'key' ? { 'x-prismeai-api-key': key.apiKey } : {}),
    owner,
    workspace: { id: workspace.id, slug: workspace.slug },
    other: { id: other.id, slug: other.slug },
    apiKey: { id: key.id, value: key.apiKey },
  };
}
