/**
 * adapter — what the OpenID provider must remember, in the stores of the platform, so that any gateway serves any step of a sign-in:
 * clients in the document store (for ever), everything else in the cache (with its life).
 *
 * Keys   `oidc:{<Model>:<id>}` the record · `oidc-uid:{<uid>}` session of a uid · `oidc-grant:{<grant>}` records that end with a grant ·
 *        `oidc-used:{<Model>:<id>}` how often a code or refresh token was used.
 * @see https://github.com/panva/node-oidc-provider/blob/main/docs/README.md#adapter
 */
import type { Adapter, AdapterPayload } from 'oidc-provider';
import { DAY, SECOND } from '../../../mixins/shared/clock.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { CacheDriver } from '../../../mixins/storage/cache/contract.ts';
import type { Documents } from '../../../mixins/storage/documents/documents.mixin.ts';
import { OIDC_CLIENTS, type OidcClientRow } from '../identity/rows.ts';

export interface AdapterStores {
  cache: CacheDriver;
  documents: Documents;
  /** Clients that are not registered but follow from something else: workspaces. */
  findClient(clientId: string): Promise<AdapterPayload | undefined>;
}

/** Records that end together with the grant they belong to. */
const OF_GRANT = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken', 'DeviceCode', 'BackchannelAuthenticationRequest']);
const LONGEST_MS = 31 * DAY;

const keyOf = (model: string, id: string) => `oidc:{${model}:${id}}`;
const uidKey = (uid: string) => `oidc-uid:{${uid}}`;
const grantKey = (grantId: string) => `oidc-grant:{${grantId}}`;

function clients({ documents, findClient }: AdapterStores): Adapter {
  const nothing = async () => undefined;
  return {
    async upsert(id, payload) {
      const metadata = payload as unknown as JsonObject;
      try {
        await documents.insert<OidcClientRow>(OIDC_CLIENTS.name, { id, metadata });
      } catch (error) {
        if (!isFault(error, 'AlreadyUsedError')) throw error;
        await documents.update<OidcClientRow>(OIDC_CLIENTS.name, id, { set: { metadata } });
      }
    },
    async find(id) {
      const row = await documents.get<OidcClientRow>(OIDC_CLIENTS.name, id);
      return row ? (row.metadata as AdapterPayload) : findClient(id);
    },
    async destroy(id) {
      await documents.remove(OIDC_CLIENTS.name, id);
    },
    consume: nothing,
    findByUid: nothing,
    findByUserCode: nothing,
    revokeByGrantId: nothing,
  };
}

function records(model: string, { cache }: AdapterStores): Adapter {
  const find = async (id: string): Promise<AdapterPayload | undefined> =>
    (await cache.get<AdapterPayload>(keyOf(model, id)))?.value ?? undefined;
  return {
    find,
    async upsert(id, payload, expiresIn) {
      const ttlMs = expiresIn !== undefined && expiresIn > 0 ? expiresIn * SECOND : LONGEST_MS;
      // Members of the grant first: a record must not outlive the end of its grant unnoticed.
      if (OF_GRANT.has(model) && payload.grantId)
        await cache.addMembers(grantKey(payload.grantId), [keyOf(model, id)], { ttlMs: Math.max(ttlMs, LONGEST_MS) });
      await cache.set(keyOf(model, id), payload, { ttlMs });
      if (model === 'Session' && payload.uid) await cache.set(uidKey(payload.uid), id, { ttlMs });
    },
    async findByUid(uid) {
      const id = (await cache.get<string>(uidKey(uid)))?.value;
      return id ? find(id) : undefined;
    },
    async findByUserCode() {
      return undefined;
    },
    /** Of two simultaneous uses of one code the second fails, whichever gateways they reached. */
    async consume(id) {
      const { count } = await cache.increment(`oidc-used:{${model}:${id}}`, 1, LONGEST_MS);
      if (count > 1) throw fault('VersionConflict', { message: 'This code was used at the same moment.' });
      await cache.apply(keyOf(model, id), [{ path: ['consumed'], type: 'replace', value: Math.floor(Date.now() / SECOND) }]);
    },
    async destroy(id) {
      if (model === 'Session') {
        const uid = (await find(id))?.uid;
        if (uid) await cache.delete(uidKey(uid));
      }
      await cache.delete(keyOf(model, id));
    },
    async revokeByGrantId(grantId) {
      for (const key of await cache.members(grantKey(grantId))) await cache.delete(key);
      await cache.delete(grantKey(grantId));
    },
  };
}

export const createAdapter =
  (stores: AdapterStores) =>
  (model: string): Adapter =>
    model === 'Client' ? clients(stores) : records(model, stores);
