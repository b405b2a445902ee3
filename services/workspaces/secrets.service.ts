/**
 * secrets — owns the secrets of workspaces: sealed as soon as they arrive, opened for the runtime and for those who manage them.
 *
 * State   rows `secrets/<workspaceId>/<name>`, sealed by the key ring for that place.
 * Emits   `workspaces.secrets.updated` with names only.
 * Calls   nobody.
 */
import type { ServiceSchema } from 'moleculer';
import type { Ability } from '../../mixins/auth/contract.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { isHostileName, isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { type Call, editing, type Self } from './editing.mixin.ts';
import { all } from './models.ts';
import { resealAll } from './reseal.ts';
import { placeOf } from './secret-place.ts';
import type { Draft } from './store/draft.ts';
import type { SecretRow, SecretType } from './store/rows.ts';

const NAME = /^[A-Za-z0-9_][\w .:@-]{0,127}$/;
/** Names the platform keeps for itself: super admins only. */
const RESERVED = /^prismeai_/;
const MAX_VALUE_BYTES = 100_000;
const MAX_SECRETS = 1000;

type Resealing = Self & { resealing?: Promise<unknown> };

const secrets: ServiceSchema<any, any> = {
  name: 'secrets',
  mixins: [editing()],

  actions: {
    /** GET /workspaces/:workspaceId/security/secrets: those the caller may read; values only for who may manage them. Never 403. */
    list: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      async handler(this: Self, ctx: Call): Promise<JsonObject> {
        const row = await this.store.row(await this.idOf(ctx.params.workspaceId));
        return shown(this, ctx, row.id, await this.abilityOf(ctx, row.id));
      },
    },

    /** PATCH /workspaces/:workspaceId/security/secrets `{ <name>: { value, description? } }`: all of them, or none. */
    patch: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      handler(this: Self, ctx: Call): Promise<JsonObject> {
        return write(this, ctx, ctx.params.workspaceId, ctx.params.body, false);
      },
    },

    /** PUT …: as PATCH, and deletes the readable ones that are absent. */
    put: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string' },
      handler(this: Self, ctx: Call): Promise<JsonObject> {
        return write(this, ctx, ctx.params.workspaceId, ctx.params.body, true);
      },
    },

    /** DELETE /workspaces/:workspaceId/security/secrets/:name */
    remove: {
      visibility: 'published',
      identity: 'required',
      params: { workspaceId: 'string', name: 'string' },
      async handler(this: Self, ctx: Call<{ workspaceId: string; name: string }>): Promise<{ secretName: string }> {
        const { name } = ctx.params;
        const id = await this.idOf(ctx.params.workspaceId);
        const ability = await this.abilityOf(ctx, id);
        const row = await this.store.documents.get<SecretRow>('secrets', `${id}/${name}`);
        if (!row || !mayTouch(this, ctx, ability, 'read', row))
          throw fault('ObjectNotFoundError', { message: `There is no secret '${name}'.`, data: { subjectType: 'secrets', id: name } });
        return this.edit(ctx, id, { action: 'delete', subject: 'secrets', object: { workspaceId: id, name } }, (draft) => {
          draft.step({ do: 'removeRow', collection: 'secrets', id: row.id });
          draft.event('workspaces.secrets.updated', { deleted: [name] });
          return { secretName: name };
        });
      },
    },
  },

  async started(this: Resealing) {
    // Not waited for: the former key still opens what is not done yet.
    this.resealing = resealAll(this.store, this.keyRing)
      .then((count) => count > 0 && this.logger.info(`Sealed ${count} values again with the active master key.`))
      .catch((error) => this.logger.error(`Some secrets could not be sealed again: ${error.message}`));
  },
  async stopped(this: Resealing) {
    await this.resealing;
  },
};

export default secrets;

function mayTouch(
  self: Self,
  ctx: Call<any>,
  ability: Ability,
  action: string,
  { workspaceId, name }: { workspaceId: string; name: string },
): boolean {
  if (RESERVED.test(name)) return self.identityOf(ctx).role === 'superadmin';
  return ability.can(action, 'secrets', { workspaceId, name });
}

async function shown(self: Self, ctx: Call<any>, workspaceId: string, ability: Ability): Promise<JsonObject> {
  const rows = await all<SecretRow>(self.store, 'secrets', { workspaceId });
  return Object.fromEntries(
    rows
      .filter((row) => mayTouch(self, ctx, ability, 'read', row))
      .map(({ _rev, sealed, workspaceId: _workspaceId, ...row }) => {
        const place = { workspaceId, name: row.name };
        const value = mayTouch(self, ctx, ability, 'manage', place) ? { value: opened(self, place, row.type, sealed) } : {};
        return [row.name, { ...row, ...value }];
      }),
  );
}

const opened = (self: Self, { workspaceId, name }: { workspaceId: string; name: string }, type: SecretType, sealed: string): unknown => {
  const text = self.keyRing.open(sealed, placeOf(workspaceId, name));
  return type === 'string' ? text : JSON.parse(text);
};

async function write(self: Self, ctx: Call<any>, workspace: string, body: unknown, replacesAll: boolean): Promise<JsonObject> {
  const entries = checked(body);
  const row = await self.store.row(await self.idOf(workspace));
  const ability = await self.abilityOf(ctx, row.id);
  const stored = new Map((await all<SecretRow>(self.store, 'secrets', { workspaceId: row.id })).map((secret) => [secret.name, secret]));
  const dropped = replacesAll
    ? [...stored.values()].filter(({ name }) => !entries.has(name)).filter((secret) => mayTouch(self, ctx, ability, 'read', secret))
    : [];

  // Every right is asked for before anything is written.
  const demand = (action: string, name: string): void => {
    if (RESERVED.test(name) && self.identityOf(ctx).role !== 'superadmin')
      throw fault('ForbiddenError', {
        message: `Secrets named prismeai_… belong to the platform: ${name}`,
        data: { action, subjectType: 'secrets', id: name },
      });
    ability.assert(action, 'secrets', { workspaceId: row.id, name });
  };
  for (const name of entries.keys()) demand(stored.has(name) ? 'update' : 'create', name);
  for (const { name } of dropped) demand('delete', name);
  if (stored.size + entries.size > MAX_SECRETS + dropped.length)
    throw fault('LimitExceededError', { message: `A workspace holds at most ${MAX_SECRETS} secrets.`, data: { limit: MAX_SECRETS } });

  await self.store.change(row.id, self.author(ctx), (draft) => {
    const names = { created: [] as string[], updated: [] as string[] };
    for (const [name, entry] of entries) {
      const old = stored.get(name);
      if (entry.value === undefined && !old)
        throw fault('RequestValidationError', {
          message: `The secret '${name}' needs a value.`,
          data: { problems: [{ path: `${name}.value`, message: 'is required' }] },
        });
      draft.step({ do: 'upsert', collection: 'secrets', record: record(self, draft, name, entry, old) });
      names[old ? 'updated' : 'created'].push(name);
    }
    for (const { id } of dropped) draft.step({ do: 'removeRow', collection: 'secrets', id });
    const lists = { ...names, deleted: dropped.map(({ name }) => name) };
    const told = Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));
    if (Object.keys(told).length > 0) draft.event('workspaces.secrets.updated', told);
  });
  return shown(self, ctx, row.id, ability);
}

interface Entry {
  value?: unknown;
  description?: string;
}

function checked(body: unknown): Map<string, Entry> {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'The body must be a map of secrets by name.' });
  const entries = new Map<string, Entry>();
  for (const [name, entry] of Object.entries(body)) {
    const refuse = (path: string, message: string) =>
      fault('RequestValidationError', {
        message: `The secret '${name.slice(0, 60)}' ${message}.`,
        data: { problems: [{ path, message }] },
      });
    if (!NAME.test(name) || isHostileName(name)) throw refuse(name.slice(0, 60), 'has a name that is not accepted');
    if (!isPlainObject(entry)) throw refuse(name, 'must be { value, description? }');
    if (entry.description !== undefined && entry.description !== null && typeof entry.description !== 'string')
      throw refuse(`${name}.description`, 'has a description that is not a text');
    const text = entry.value === undefined ? '' : JSON.stringify(entry.value);
    if (Buffer.byteLength(text) > MAX_VALUE_BYTES)
      throw fault('PayloadTooLarge', {
        message: `The secret '${name}' is larger than ${MAX_VALUE_BYTES} bytes.`,
        data: { maxBytes: MAX_VALUE_BYTES },
      });
    entries.set(name, { value: entry.value, ...(typeof entry.description === 'string' ? { description: entry.description } : {}) });
  }
  return entries;
}

function record(self: Self, draft: Draft, name: string, { value, description }: Entry, old: SecretRow | undefined) {
  const workspaceId = draft.row.id;
  const by = draft.author.userId;
  const { _rev, ...kept } = old ?? ({ createdAt: draft.now, createdBy: by } as SecretRow);
  const type = typeof value as SecretType;
  const sealed =
    value === undefined
      ? kept.sealed
      : self.keyRing.seal(type === 'string' ? (value as string) : JSON.stringify(value), placeOf(workspaceId, name));
  const fields = {
    ...kept,
    id: `${workspaceId}/${name}`,
    workspaceId,
    name,
    type: value === undefined ? kept.type : type,
    sealed,
    description: description ?? kept.description,
    updatedAt: draft.now,
    updatedBy: by,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, field]) => field !== undefined)) as { id: string };
}
