/**
 * secrets — values an automation may keep and send, but never read. `get` gives a reference of a few minutes, `$secret:<sealed>`, which only
 * `fetch` opens, just before sending, and which is hidden everywhere else. Apart from the workspace secrets of the REST API.
 *
 * Stored sealed by the key ring under its place (workspace, scope, name), so a value copied elsewhere does not open.
 */
import { SECOND } from '../../../mixins/shared/clock.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { Stored } from '../../../mixins/storage/documents/contract.ts';
import { isSwitched, rightsOf } from '../rights.ts';
import type { RunRequest } from '../runs.ts';
import type { Module, ModuleCall, ModuleServices } from './index.ts';

const COLLECTION = 'runtime_secrets';
const REFERENCE_TTL_MS = 300 * SECOND;
const REFERENCE = /\$secret:(v1\.[\w.-]+)/g;

interface SecretRow extends Stored {
  workspaceId: string;
  owner: string;
  name: string;
  sealed: string;
  /** Milliseconds since the epoch. */
  expiresAt?: number;
}

const opened = new WeakSet<object>();
async function open({ documents }: ModuleServices): Promise<void> {
  if (opened.has(documents)) return;
  await documents.open({ name: COLLECTION, indexes: [['workspaceId', 'owner', 'name']], expiresAt: 'expiresAt' });
  opened.add(documents);
}

interface Place {
  owner: string;
  name: string;
  id: string;
  aad: string;
}

/** Where a named secret is kept; `error` when it cannot be. */
function placeOf({ parameters, request, frame }: ModuleCall): Place | { error: string } {
  const { name, scope = 'workspace' } = parameters;
  if (typeof name !== 'string' || name === '') throw fault('InvalidInstructionError', { message: 'secrets: a name is needed.' });
  if (scope !== 'user' && scope !== 'workspace')
    throw fault('InvalidInstructionError', { message: "secrets: scope must be 'user' or 'workspace'." });
  if (name.startsWith('prismeai_') && request.identity.platformRole !== 'superadmin')
    throw refused('names starting with prismeai_ are reserved');
  // A taken identity is not an authenticated user.
  const userId = isSwitched(request, frame) ? undefined : rightsOf(request.identity).userId;
  if (scope === 'user' && !userId) return { error: 'user_required' };
  const owner = scope === 'user' ? `user:${userId}` : 'workspace';
  const id = `${request.workspaceId}/${owner}/${name}`;
  return { owner, name, id, aad: `secure-secret/${id}` };
}

const refused = (why: string) => fault('SecretsError', { message: `Not allowed to create on secure_secrets: ${why}.` });

async function assertMayWrite({ request, services }: ModuleCall, place: Place): Promise<void> {
  if (place.owner !== 'workspace') return;
  const ability = await services.auth.abilityFor(
    { correlationId: request.run.correlationId, ...rightsOf(request.identity) },
    request.workspaceId,
  );
  const isOwner = ability.role === 'owner' || ability.role === 'editor';
  if (!isOwner && !ability.can('create', 'secure_secrets', { workspaceId: request.workspaceId, name: place.name }))
    throw refused('it needs an owner, an editor or a rule of this workspace');
}

function reference(services: ModuleServices, request: RunRequest, value: string): string {
  const body = JSON.stringify({ value, until: Date.now() + REFERENCE_TTL_MS });
  return `$secret:${services.keys().seal(body, `secret-reference/${request.workspaceId}`)}`;
}

export const secrets: Module = {
  async set(call) {
    const place = placeOf(call);
    if ('error' in place) return place;
    const { request, services, parameters } = call;
    await assertMayWrite(call, place);
    await open(services);
    const value = typeof parameters.value === 'string' ? parameters.value : JSON.stringify(parameters.value ?? null);
    const ttl = Number(parameters.ttl);
    const row: Omit<SecretRow, '_rev'> = {
      id: place.id,
      workspaceId: request.workspaceId,
      owner: place.owner,
      name: place.name,
      sealed: services.keys().seal(value, place.aad),
      ...(ttl > 0 ? { expiresAt: Date.now() + ttl * SECOND } : {}),
    };
    try {
      await services.documents.insert<SecretRow>(COLLECTION, row);
    } catch (error) {
      if (!isFault(error, 'AlreadyUsedError')) throw error;
      const { id, ...fields } = row;
      await services.documents.update(COLLECTION, id, { set: fields, ...(ttl > 0 ? {} : { unset: ['expiresAt'] }) });
    }
    return reference(services, request, value);
  },

  async get(call) {
    const place = placeOf(call);
    if ('error' in place) return place;
    const { request, services } = call;
    if (place.owner === 'workspace' && !rightsOf(request.identity).userId)
      return { error: 'not_found', message: 'Workspace secrets need a user in the run.' };
    await open(services);
    const row = await services.documents.get<SecretRow>(COLLECTION, place.id);
    if (!row) return { error: 'not_found' };
    return reference(services, request, services.keys().open(row.sealed, place.aad));
  },

  async delete(call) {
    const place = placeOf(call);
    if ('error' in place) return place;
    await assertMayWrite(call, place);
    await open(call.services);
    return (await call.services.documents.remove(COLLECTION, place.id)) ? { deleted: true } : { error: 'not_found' };
  },
};

export interface OpenOptions {
  /** Nothing is sent: only the texts are asked for, also of references that are too old or cannot be opened any more. */
  isPast?: boolean;
}

/** `value` with every reference replaced by what it stands for, and the texts put in. @throws SecretsError for one that is too old or foreign */
export async function openReferences<T>(
  value: T,
  request: RunRequest,
  services: ModuleServices,
  { isPast = false }: OpenOptions = {},
): Promise<{ value: T; texts: string[] }> {
  const texts: string[] = [];
  const unseal = (sealed: string) =>
    JSON.parse(services.keys().open(sealed, `secret-reference/${request.workspaceId}`)) as { value: string; until: number };
  const openText = (text: string): string =>
    text.replace(REFERENCE, (written, sealed: string) => {
      let body: ReturnType<typeof unseal>;
      try {
        body = unseal(sealed);
      } catch (error) {
        if (isPast) return written;
        throw error;
      }
      if (body.until < Date.now() && !isPast)
        throw fault('SecretsError', { message: 'The reference to a secret is too old; get it again.' });
      texts.push(body.value);
      return body.value;
    });
  const walk = (item: unknown): unknown => {
    if (typeof item === 'string') return item.includes('$secret:') ? openText(item) : item;
    if (Array.isArray(item)) return item.map(walk);
    if (!isPlainObject(item)) return item;
    const copy: JsonObject = {};
    for (const [key, inner] of Object.entries(item)) copy[key] = walk(inner);
    return copy;
  };
  return { value: mentions(value) ? (walk(value) as T) : value, texts };
}

function mentions(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('$secret:');
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false;
  return Object.values(value).some(mentions);
}
