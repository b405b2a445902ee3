/**
 * core — what the identity services and the gateway of one node share: keys, tokens, sessions, the resolver. Opened once per node.
 *
 * Hints   `identity.revoked` { userId?, sessionId? } and `identity.keysChanged`: other nodes forget what they remember; without them they do so in seconds.
 */
import type { Context, Service, ServiceSchema } from 'moleculer';
import { auth } from '../../../mixins/auth/auth.mixin.ts';
import type { AuthMethods } from '../../../mixins/auth/contract.ts';
import type { CallMeta, Identity } from '../../../mixins/auth/identity.ts';
import { type BusMethods, bus } from '../../../mixins/bus/bus.mixin.ts';
import { MINUTE } from '../../../mixins/shared/clock.ts';
import { type Config, configOf } from '../../../mixins/shared/config.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { type KeyRing, openKeyRing } from '../../../mixins/shared/keyring.ts';
import { acquire, release } from '../../../mixins/shared/resources.ts';
import { type CacheMethods, cache } from '../../../mixins/storage/cache/cache.mixin.ts';
import { type DocumentsMethods, documents } from '../../../mixins/storage/documents/documents.mixin.ts';
import { type Mailer, openMailer } from './mail/mailer.ts';
import { createResolver, type Resolver } from './resolver.ts';
import { COLLECTIONS } from './rows.ts';
import { createSessions, type Sessions } from './sessions.ts';
import { openTokenKeys, type TokenKeyRing } from './token-keys.ts';
import { createTokens, type Tokens } from './tokens.ts';

export interface IdentityCore {
  config: Config;
  keys: TokenKeyRing;
  tokens: Tokens;
  sessions: Sessions;
  resolver: Resolver;
  mailer: Mailer;
  /** Seals what must be read again but never shown: second factors, secrets of sign-in providers. */
  ring: KeyRing;
}

export interface CoreMethods {
  core: IdentityCore;
  /** Forgets a user's or a session's credentials on every node. */
  revoked(what: { userId?: string; sessionId?: string }): void;
  /** Emits a fact of the gateway with the caller as its source. */
  tell(ctx: Context<any, any>, type: string, payload: JsonObject, source?: { userId?: string; sessionId?: string }): Promise<void>;
}

export type Self = Service & AuthMethods & BusMethods & CacheMethods & DocumentsMethods & CoreMethods & { holdsCore?: boolean };
export type Call<P = JsonObject> = Context<P, CallMeta & { identity: Identity }>;

const KEYS_EVERY_MS = MINUTE;

export function core(): Partial<ServiceSchema<object, any>> {
  return {
    mixins: [auth(), bus({ service: 'gateway' }), cache(), documents({ collections: COLLECTIONS })],

    events: {
      'identity.revoked'(this: Self, ctx: Context<{ userId?: string; sessionId?: string }>) {
        this.core?.resolver.forget(ctx.params ?? {});
      },
      'identity.keysChanged'(this: Self) {
        // Verdicts given under the old ring are forgotten once the new one is here.
        void this.core?.keys.refresh().then(
          () => this.core.resolver.forget({}),
          (error) => this.logger.warn(`Token keys cannot be read: ${error.message}`),
        );
      },
    },

    methods: {
      revoked(this: Self, what: { userId?: string; sessionId?: string }): void {
        this.core.resolver.forget(what);
        void this.broker.broadcast('identity.revoked', what);
      },

      async tell(
        this: Self,
        ctx: Call,
        type: string,
        payload: JsonObject,
        source: { userId?: string; sessionId?: string } = {},
      ): Promise<void> {
        const { correlationId, ip, userId, sessionId } = this.identityOf(ctx);
        await this.bus.send(type, payload, {
          source: { correlationId, ...(ip ? { ip } : {}), ...(userId ? { userId } : {}), ...(sessionId ? { sessionId } : {}), ...source },
        });
      },
    },

    async started(this: Self) {
      this.core = await acquire(
        this.broker,
        'identity',
        async () => {
          const config = configOf(this.broker);
          const mailer = await openMailer(config, this.logger);
          const ring = openKeyRing(config);
          const keys = await openTokenKeys(config, this.documents);
          const tokens = createTokens(config, keys);
          const sessions = createSessions(this.cache, config.accessTokenMaxAgeS);
          const resolver = createResolver({
            config,
            documents: this.documents,
            sessions,
            tokens,
            onTokenUse: ({ id, userId, name }, ip) =>
              void this.bus
                .send(
                  'gateway.accessTokens.used',
                  { id, userId, name, ...(ip ? { ip } : {}) },
                  { source: { userId, ...(ip ? { ip } : {}) } },
                )
                .catch((error) => this.logger.warn(`The use of an access token could not be noted: ${error.message}`)),
          });
          const timer = setInterval(
            () =>
              void keys.refresh().then(
                ({ created }) => {
                  if (created.length > 0) void this.broker.broadcast('identity.keysChanged');
                },
                (error) => this.logger.warn(`Token keys cannot be read: ${error.message}`),
              ),
            KEYS_EVERY_MS,
          );
          timer.unref();
          return { config, keys, tokens, sessions, resolver, mailer, ring, timer };
        },
        ({ timer, mailer }) => {
          clearInterval(timer);
          mailer.close();
        },
      );
      this.holdsCore = true;
    },

    async stopped(this: Self) {
      if (!this.holdsCore) return;
      this.holdsCore = false;
      await release(this.broker, 'identity');
    },
  };
}
