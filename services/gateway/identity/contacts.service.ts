/** contacts — finding people to share with. */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { Query } from '../../../mixins/storage/documents/contract.ts';
import { type Call, core, type Self } from './core.mixin.ts';
import { shownContact, USERS, type UserRow } from './rows.ts';

const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').slice(0, 190);
const SEARCHED = ['firstName', 'lastName', 'email'] as const;

const contacts: ServiceSchema<object, any> = {
  name: 'contacts',
  mixins: [core()],

  actions: {
    /** POST /contacts { ids? | email? } (super admins: parts of names and addresses) → { size, contacts }. */
    search: {
      visibility: 'published',
      identity: 'required',
      async handler(
        this: Self,
        ctx: Call<{ query?: { page?: unknown; limit?: unknown }; body: unknown }>,
      ): Promise<{ size: number; contacts: JsonObject[] }> {
        const { kind, role } = this.identityOf(ctx);
        if (kind === 'anonymous') throw fault('ForbiddenError');
        const body = isPlainObject(ctx.params.body) ? ctx.params.body : {};
        const isAdmin = role === 'superadmin' || kind === 'system';
        const all: Query[] = [];
        if (Array.isArray(body.ids)) {
          if (!body.ids.every((id) => typeof id === 'string'))
            throw fault('RequestValidationError', { message: 'ids must be a list of texts.' });
          all.push({ id: { $in: (body.ids as string[]).slice(0, 1000) } });
        }
        for (const field of SEARCHED) {
          const value = body[field];
          if (value === undefined) continue;
          if (typeof value !== 'string') throw fault('RequestValidationError', { message: `${field} must be a text.` });
          if (field === 'email' && !isAdmin) all.push({ email: value.trim().toLowerCase() });
          else if (isAdmin) all.push({ [field]: { $regex: literal(value), $options: 'i' } } as Query);
        }
        if (isAdmin && typeof body.status === 'string') all.push({ status: body.status });
        if (all.length === 0) throw fault('RequestValidationError', { message: 'Give ids or an email.' });
        const limit = Math.min(Math.max(Number(ctx.params.query?.limit) || 50, 1), 500);
        const page = Math.max(Number(ctx.params.query?.page) || 0, 0);
        const query = { $and: [...all, { email: { $exists: true } }] } as Query;
        const rows = await this.documents.find<UserRow>(USERS.name, query, { limit, skip: page * limit });
        return {
          size: await this.documents.count(USERS.name, query),
          contacts: rows.map((row) => shownContact(row, { forSuperAdmin: isAdmin })),
        };
      },
    },
  },
};

export default contacts;
