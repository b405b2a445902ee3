/**
 * orgInvites — invitations: by mail, for one address and one use, or by a code for whoever knows it. Kept as hashes; a code is shown once.
 *
 * State   invitations (documents).
 * Emits   `organizations.invites.created`, `.deleted`, `.accepted`, `organizations.audit`.
 */
import type { ServiceSchema } from 'moleculer';
import { DAY } from '../../../mixins/shared/clock.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { hexId, secretToken } from '../../../mixins/shared/ids.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { type Call, core, type Self } from '../identity/core.mixin.ts';
import { emailOf } from '../identity/fields.ts';
import { sha256 } from '../identity/resolver.ts';
import { USERS, type UserRow } from '../identity/rows.ts';
import { limitByAddress } from '../identity/signing-in.ts';
import { type Ask, actIn, grantableRole, tellChange } from './acting.ts';
import { readFields } from './fields.ts';
import { addMember, assertGroups } from './joining.ts';
import { listOf, pagingOf } from './lists.ts';
import { memberOf, organisationOf, roleOf } from './membership.ts';
import { INVITES, type InviteRow, type OrganisationRow, shown, stamp } from './rows.ts';

const LIFE_MS = 7 * DAY;
const LONGEST_MS = 90 * DAY;
const MAX_OPEN = 1000;
/** Guesses of one address in a minute. */
const TRIES = 20;

type Invited = { invite: InviteRow; organisation: OrganisationRow };

/** @throws InvalidOrExpiredToken, whatever is wrong with it */
async function invited(self: Self, ctx: Call<any>, code: unknown): Promise<Invited> {
  const { ip } = self.identityOf(ctx);
  await limitByAddress(self, 'orgJoin', ip, TRIES);
  const refuse = () => fault('InvalidOrExpiredToken', { message: 'This invitation is not valid any more.' });
  if (typeof code !== 'string') throw refuse();
  const [invite] = await self.documents.find<InviteRow>(INVITES.name, { hash: sha256(code) }, { limit: 1 });
  const organisation = invite && invite.uses < invite.maxUses ? await organisationOf(self.documents, invite.orgSlug) : null;
  if (!invite || organisation?.status !== 'active') throw refuse();
  return { invite, organisation };
}

async function theUser(self: Self, ctx: Call<any>): Promise<UserRow & { email: string }> {
  const { userId, kind } = self.identityOf(ctx);
  const user = kind === 'user' && userId ? await self.documents.get<UserRow>(USERS.name, userId) : null;
  if (!user?.email) throw fault('AuthenticationError', { message: 'Sign in with an account to join an organisation.' });
  return user as UserRow & { email: string };
}

/** Takes one of the uses; of two who take the last one, one gets it. @throws InvalidOrExpiredToken */
async function takeUse(self: Self, ctx: Call<any>, code: string): Promise<Invited> {
  for (let attempt = 1; ; attempt++) {
    const found = await invited(self, ctx, code);
    const { invite } = found;
    try {
      await self.documents.update<InviteRow>(INVITES.name, invite.id, { set: { uses: invite.uses + 1 } }, invite._rev);
      return found;
    } catch (error) {
      if (isFault(error, 'ObjectNotFoundError')) throw fault('InvalidOrExpiredToken');
      if (!isFault(error, 'VersionConflict') || attempt >= 5) throw error;
    }
  }
}

const orgInvites: ServiceSchema<object, any> = {
  name: 'orgInvites',
  mixins: [core()],

  actions: {
    /** GET /orgs/:orgSlug/invites: without codes. */
    list: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask) {
        const { orgSlug } = await actIn(this, ctx, 'orgs:invites:read');
        return listOf<InviteRow>(
          this,
          INVITES.name,
          { orgSlug },
          pagingOf(ctx.params.query, ['createdAt', 'email', 'expiresAt', 'role']),
          shown,
        );
      },
    },

    /** POST /orgs/:orgSlug/invites { email, … } mails a link; { maxUses?, … } makes a code. Both: role?, groups?, expiresAt? */
    create: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ origin?: string }>): Promise<JsonObject> {
        const acting = await actIn(this, ctx, 'orgs:invites:create');
        const { organisation, orgSlug, actorId } = acting;
        const {
          email: given,
          role = organisation.defaultRole,
          groups = [],
          maxUses = 1,
          expiresAt,
        } = readFields(ctx.params.body, [], ['email', 'role', 'groups', 'maxUses', 'expiresAt']);
        await grantableRole(this, acting, role);
        await assertGroups(this, orgSlug, groups);
        const end = expiresAt === undefined ? Date.now() + LIFE_MS : new Date(expiresAt).getTime();
        if (end > Date.now() + LONGEST_MS) throw fault('BadParametersError', { message: 'An invitation lives 90 days at most.' });
        if ((await this.documents.count(INVITES.name, { orgSlug })) >= MAX_OPEN)
          throw fault('BadParametersError', { message: `An organisation may have ${MAX_OPEN} open invitations.` });
        const email = given === undefined ? undefined : emailOf(given);
        const code = secretToken(24);
        const now = stamp();
        // A new invitation of an address voids the one before: a mailbox holds one that works.
        if (email) await this.documents.removeMany(INVITES.name, { orgSlug, email });
        const row = await this.documents.insert<InviteRow>(INVITES.name, {
          id: `${orgSlug}/${hexId().slice(0, 24)}`,
          orgSlug,
          kind: email ? 'email' : 'code',
          hash: sha256(code),
          hint: `${code.slice(0, 4)}…`,
          ...(email ? { email } : {}),
          role,
          groups,
          maxUses: email ? 1 : maxUses,
          uses: 0,
          expiresAt: end,
          createdAt: now,
          updatedAt: now,
          createdBy: actorId,
          updatedBy: actorId,
        });
        if (email) {
          const url = new URL('/orgs/join', ctx.params.origin ?? this.core.config.consoleUrl[0] ?? this.core.config.apiUrl);
          url.searchParams.set('code', code);
          this.core.mailer.post(email, { kind: 'organisationInvite', link: url.href });
        }
        const after = shown(row);
        await tellChange(this, ctx, { orgSlug, category: 'invites', action: 'created', target: row.id, after });
        // The code of a mail is for its reader only: it proves that he reads there.
        return email ? after : { ...after, code };
      },
    },

    /** DELETE /orgs/:orgSlug/invites/:inviteId */
    remove: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Ask<{ inviteId: string }>): Promise<JsonObject> {
        const { orgSlug } = await actIn(this, ctx, 'orgs:invites:delete');
        const id = `${orgSlug}/${ctx.params.inviteId.split('/').at(-1)}`;
        const row = await this.documents.get<InviteRow>(INVITES.name, id);
        if (!row || !(await this.documents.remove(INVITES.name, id)))
          throw fault('ObjectNotFoundError', { message: 'There is no such invitation.' });
        await tellChange(this, ctx, { orgSlug, category: 'invites', action: 'deleted', target: id, before: shown(row) });
        return { success: true };
      },
    },

    /** GET /orgs/join?code=: where an invitation leads. Looking joins nothing. */
    look: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ query?: JsonObject }>): Promise<JsonObject> {
        const user = await theUser(this, ctx);
        const { invite, organisation } = await invited(this, ctx, ctx.params.query?.code);
        return {
          org: { slug: organisation.id, name: organisation.name, ...(organisation.branding ? { branding: organisation.branding } : {}) },
          role: invite.role,
          kind: invite.kind,
          expiresAt: new Date(invite.expiresAt).toISOString(),
          isForYou: invite.email === undefined || invite.email === user.email,
        };
      },
    },

    /** POST /orgs/join { code } */
    join: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body: unknown }>): Promise<JsonObject> {
        const user = await theUser(this, ctx);
        const { code } = readFields(ctx.params.body, ['code']);
        const seen = await invited(this, ctx, code);
        if (seen.invite.email !== undefined && seen.invite.email !== user.email)
          throw fault('ForbiddenError', { message: 'This invitation was sent to another address; sign in with that one.' });
        const orgSlug = seen.organisation.id;
        // Before a use is taken: who is in already must not use up what is for others.
        if (await memberOf(this.documents, orgSlug, user.id))
          throw fault('AlreadyUsedError', { message: 'You belong to this organisation already.', data: { orgSlug } });
        const { invite, organisation } = await takeUse(this, ctx, code);
        const role = (await roleOf(this.documents, orgSlug, invite.role)) ? invite.role : organisation.defaultRole;
        const joinedVia = invite.kind === 'email' ? 'invite-email' : 'invite-code';
        const member = await addMember(this, ctx, organisation, user, {
          role,
          groups: invite.groups,
          joinedVia,
          by: invite.createdBy ?? user.id,
        });
        if (!member) throw fault('AlreadyUsedError', { message: 'You belong to this organisation already.', data: { orgSlug } });
        if (invite.uses + 1 >= invite.maxUses) await this.documents.remove(INVITES.name, invite.id);
        await tellChange(this, ctx, { orgSlug, category: 'invites', action: 'accepted', target: invite.id, metadata: { userId: user.id } });
        return { org: { slug: orgSlug, name: organisation.name }, role, joinedVia };
      },
    },
  },
};

export default orgInvites;
