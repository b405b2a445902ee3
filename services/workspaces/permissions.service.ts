/**
 * permissions — sharing of workspaces and pages: who has which role or policies. Nobody gives what he does not have, and an owner remains.
 *
 * State   `permissions` of the workspace's row, or of the page's.
 * Emits   `workspaces.permissions.shared|deleted`, `workspaces.pages.permissions.shared|deleted`.
 * Calls   `users.get`.
 */
import type { ActionSchema, ServiceSchema } from 'moleculer';
import type { Ability, PermissionsMap } from '../../mixins/auth/contract.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import type { UserProfile } from '../gateway/contract.ts';
import { assignableRoles } from './dsul/security-file.ts';
import { type Call, editing, type Self } from './editing.mixin.ts';
import { assertGivesOwnRole } from './escalation.ts';
import type { Draft } from './store/draft.ts';
import type { PageRow, WorkspaceRow } from './store/rows.ts';

type Shared = 'workspaces' | 'pages';
type Target = { id?: string; public?: true; role?: string; displayName?: string };
type Entry = { role?: string; policies?: Record<string, boolean> };
interface SharingParams {
  subjectId: string;
  permissionId: string;
  body?: any;
}

const POLICIES = ['read', 'update', 'delete', 'manage_permissions', 'create', 'write'];

/** The three actions for one kind of object; the kind is part of their names, so that it never comes from a request. */
function actionsFor(type: Shared): Record<string, ActionSchema<any>> {
  return {
    /** GET /:subjectType/:subjectId/permissions */
    [`${type}List`]: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<SharingParams>): Promise<{ result: { target: Target; permissions: Entry }[] }> {
        const { map } = await subjectOf(this, ctx, type);
        const names = await namesOf(
          this,
          ctx,
          Object.keys(map).filter((key) => key !== '*' && !key.startsWith('role:')),
        );
        return { result: Object.entries(map).map(([key, entry]) => ({ target: targetOf(key, names), permissions: entry })) };
      },
    },

    /** POST …: replaces the entry of one target. @throws CollaboratorNotFound · UnknownRole · InvalidPermissions · ForbiddenError */
    [`${type}Share`]: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<SharingParams>): Promise<{ target: Target; permissions: Entry }> {
        const { key, entry } = checkedShare(ctx.params.body);
        const subject = await subjectOf(this, ctx, type);
        const security = (await this.store.current(subject.workspaceId)).snapshot.security;
        assertRoleKnown(subject.type, key, entry, security);
        assertNoEscalation(this, ctx, subject, entry, security);
        const names = new Map<string, string>();
        if (key !== '*' && !key.startsWith('role:')) {
          const profile = (await profiles(ctx, this, [key])).find(({ id }) => id === key);
          if (!profile) throw fault('CollaboratorNotFound', { message: `There is no user '${key}'.`, data: { id: key } });
          names.set(key, nameOf(profile));
        }
        const target = targetOf(key, names);
        await change(this, ctx, subject, (map) => ({ ...map, [key]: entry }), 'shared', { target, permissions: entry });
        return { target, permissions: entry };
      },
    },

    /** DELETE …/permissions/:permissionId (user id, `*`, `role:<name>`). @throws InvalidPermissions for the last owner */
    [`${type}Revoke`]: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<SharingParams>): Promise<{ id: string }> {
        const { permissionId } = ctx.params;
        const subject = await subjectOf(this, ctx, type);
        const old = Object.hasOwn(subject.map, permissionId) ? subject.map[permissionId] : undefined;
        if (!old) return { id: permissionId };
        if (old.role === 'owner') assertOwner(this, ctx, subject.ability, 'Only an owner may remove an owner.');
        await change(this, ctx, subject, ({ [permissionId]: _gone, ...rest }) => rest, 'deleted', {
          target: targetOf(permissionId, new Map()),
        });
        return { id: permissionId };
      },
    },
  };
}

const permissions: ServiceSchema<any, any> = {
  name: 'permissions',
  mixins: [editing()],
  actions: { ...actionsFor('workspaces'), ...actionsFor('pages') },
};

export default permissions;

interface Subject {
  type: Shared;
  id: string;
  workspaceId: string;
  map: PermissionsMap;
  object: object;
  ability: Ability;
}

/** The shared object, once the caller may manage its permissions. */
async function subjectOf(self: Self, ctx: Call<SharingParams>, type: Shared): Promise<Subject> {
  const { subjectId } = ctx.params;
  if (type === 'workspaces') {
    const row = await self.store.row(await self.idOf(subjectId));
    const ability = await self.authorize(ctx, row.id, 'manage_permissions', 'workspaces', row);
    return { type, id: row.id, workspaceId: row.id, map: row.permissions ?? {}, object: row, ability };
  }
  const page = await self.store.documents.get<PageRow>('pages', subjectId);
  if (!page)
    throw fault('ObjectNotFoundError', { message: `There is no page '${subjectId}'.`, data: { subjectType: 'pages', id: subjectId } });
  const ability = await self.authorize(ctx, page.workspaceId, 'manage_permissions', 'pages', page);
  return { type, id: page.id, workspaceId: page.workspaceId, map: page.permissions ?? {}, object: page, ability };
}

function checkedShare(body: unknown): { key: string; entry: Entry } {
  const target = isPlainObject(body) && isPlainObject(body.target) ? body.target : undefined;
  const given = isPlainObject(body) && isPlainObject(body.permissions) ? body.permissions : undefined;
  const refuse = (message: string, data: JsonObject = {}) => fault('InvalidPermissions', { message, data });
  if (!target || !given) throw refuse('The body must be { target, permissions }.');
  const key = target.public === true ? '*' : typeof target.role === 'string' ? `role:${target.role}` : target.id;
  // Entries are looked up as paths (`permissions.<target>.role`): a dot or a dollar would reach into another one.
  if (typeof key !== 'string' || key === '' || key.length > 200 || isHostileName(key) || /[.$]|\p{Cc}/u.test(key))
    throw refuse('The target must be { id }, { public: true } or { role }, without dots and dollar signs.');
  for (const name of Object.keys(given))
    if (name !== 'role' && name !== 'policies') throw refuse(`'${name}' is not one of role, policies.`, { field: name });
  const { role, policies } = given;
  if (role !== undefined && role !== null && typeof role !== 'string') throw refuse('role must be a text.', { field: 'role' });
  if (role === 'owner' && key === '*') throw refuse('Everybody cannot own it.', { field: 'role' });
  if (role && key.startsWith('role:')) throw fault('PrismeError', { message: 'A role may be given policies, not another role.' });
  if (policies !== undefined && policies !== null && !isPlainObject(policies))
    throw refuse('policies must be a map of true or false.', { field: 'policies' });
  for (const [name, value] of Object.entries(policies ?? {}))
    if (!POLICIES.includes(name) || typeof value !== 'boolean')
      throw refuse(`'${name}' is not a policy, or not true or false.`, { field: `policies.${name}` });
  return {
    key,
    entry: { ...(role ? { role: role as string } : {}), ...(policies ? { policies: policies as Record<string, boolean> } : {}) },
  };
}

function assertRoleKnown(type: Shared, key: string, { role }: Entry, security: JsonObject): void {
  const names = type === 'pages' ? ['owner'] : assignableRoles(security).map(({ name }) => name);
  if (role && !names.includes(role)) throw fault('UnknownRole', { message: `There is no role '${role}'.`, data: { role } });
  if (!key.startsWith('role:')) return;
  const name = key.slice('role:'.length);
  if (!assignableRoles(security).some((known) => known.name === name))
    throw fault('UnknownRole', { message: `There is no role '${name}'.`, data: { role: name } });
}

const isSuperAdmin = (self: Self, ctx: Call<any>): boolean => self.identityOf(ctx).role === 'superadmin';

function assertOwner(self: Self, ctx: Call<any>, ability: Ability, message: string): void {
  if (ability.role !== 'owner' && !isSuperAdmin(self, ctx))
    throw fault('ForbiddenError', { message, data: { action: 'manage_permissions' } });
}

/** Who is neither owner nor super admin gives only what he has himself. */
function assertNoEscalation(
  self: Self,
  ctx: Call<SharingParams>,
  { type, map, object, ability, workspaceId }: Subject,
  { role, policies }: Entry,
  security: JsonObject,
): void {
  if (ability.role === 'owner' || isSuperAdmin(self, ctx)) return;
  const beyond = (what: string) =>
    fault('ForbiddenError', {
      message: `You cannot give ${what}, which you do not have.`,
      data: { action: 'manage_permissions', subjectType: type },
    });
  const key = checkedShare(ctx.params.body).key;
  if (Object.hasOwn(map, key) && map[key]?.role === 'owner')
    throw fault('ForbiddenError', { message: 'Only an owner may change an owner.', data: { action: 'manage_permissions' } });
  for (const [policy, isGiven] of Object.entries(policies ?? {}))
    if (isGiven && !ability.can(policy, type, object)) throw beyond(`the policy '${policy}'`);
  if (role) assertGivesOwnRole({ ability, identity: self.identityOf(ctx), workspaceId }, role, security);
}

async function change(
  self: Self,
  ctx: Call<any>,
  { type, id, workspaceId }: Subject,
  edit: (map: PermissionsMap) => PermissionsMap,
  what: 'shared' | 'deleted',
  payload: JsonObject,
): Promise<void> {
  await self.store.change(workspaceId, self.author(ctx), async (draft: Draft) => {
    if (type === 'workspaces') {
      const next = edit(draft.row.permissions ?? {});
      if (!Object.values(next).some(({ role }) => role === 'owner') && hasOwner(draft.row))
        throw fault('InvalidPermissions', { message: 'The last owner of a workspace cannot go.' });
      draft.setRow({ permissions: next });
      draft.event(`workspaces.permissions.${what}`, { subjectId: id, ...payload });
      return;
    }
    const page = await self.store.documents.get<PageRow>('pages', id);
    draft.step({ do: 'merge', collection: 'pages', record: { id, permissions: edit(page?.permissions ?? {}) } });
    draft.event(`workspaces.pages.permissions.${what}`, { subjectId: id, ...payload });
  });
}

const hasOwner = (row: WorkspaceRow): boolean => Object.values(row.permissions ?? {}).some(({ role }) => role === 'owner');

function targetOf(key: string, names: ReadonlyMap<string, string>): Target {
  if (key === '*') return { public: true, id: '*', displayName: 'Public' };
  if (key.startsWith('role:')) return { role: key.slice('role:'.length), id: key, displayName: `Role: ${key.slice('role:'.length)}` };
  return { id: key, ...(names.has(key) ? { displayName: names.get(key) as string } : {}) };
}

const nameOf = ({ firstName, lastName, id }: UserProfile): string => [firstName, lastName].filter(Boolean).join(' ') || id;

async function profiles(ctx: Call<any>, self: Self, ids: string[]): Promise<UserProfile[]> {
  const answer = await ctx.call<any, any>('users.get', { ids }, { meta: self.systemMeta(self.identityOf(ctx).correlationId) });
  return Array.isArray(answer) ? answer : (answer?.users ?? []);
}

/** Names to show; a list of collaborators is shown without them rather than not at all. */
async function namesOf(self: Self, ctx: Call<any>, ids: string[]): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  try {
    return new Map((await profiles(ctx, self, ids)).map((profile) => [profile.id, nameOf(profile)]));
  } catch (error) {
    self.logger.debug(`No names of collaborators: ${(error as Error).message}`);
    return new Map();
  }
}
