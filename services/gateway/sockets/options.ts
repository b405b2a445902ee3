/** options — what sockets need from the gateway, and the bounds they keep. Types and defaults. */
import type { Server as HttpServer, IncomingMessage } from 'node:http';
import type { ServiceBroker } from 'moleculer';
import type { AuthMethods, IdentityKeys } from '../../../mixins/auth/contract.ts';
import type { EventBus } from '../../../mixins/bus/contract.ts';
import { type PublicError, toPublicError } from '../../../mixins/shared/errors.ts';
import type { CacheDriver } from '../../../mixins/storage/cache/contract.ts';
import type { Credentials, Resolved } from '../contract.ts';

export interface SocketsOptions {
  server: HttpServer;
  broker: ServiceBroker;
  bus: EventBus;
  cache: CacheDriver;
  logger: ServiceBroker['logger'];
  /** `identity.resolve`. @throws AuthenticationError · InvalidAPIKey */
  resolve(credentials: Credentials): Promise<Resolved>;
  sign: IdentityKeys['sign'];
  abilityFor: AuthMethods['abilityFor'];
  systemMeta: AuthMethods['systemMeta'];
  /** Makes this node (and the others) forget what it knows of a workspace's rights, before they are judged anew. */
  accessChanged?: AuthMethods['accessChanged'];
  /** Address of the client, proxies considered. Default: the address of the connection. */
  clientIp?: (request: IncomingMessage) => string | undefined;
  /** Whether pages of an origin may use the cookie of their visitor. */
  isAllowedOrigin?: (origin: string) => boolean;
  limits?: Partial<SocketLimits>;
  /** Life of the cookie `io`, seconds. Default: the browser session. */
  cookieMaxAgeS?: number;
}

export interface SocketLimits {
  perSession: number;
  perWorkspace: number;
  /** Messages of one socket, and how many at once. */
  emitsPerSecond: number;
  emitsBurst: number;
  /** Packets, and their characters, that may wait for a slow client. */
  waiting: number;
  waitingChars: number;
  /** Events replayed to a returning client; as many may happen meanwhile. */
  replay: number;
}

export const SOCKET_LIMITS: SocketLimits = {
  perSession: 100,
  perWorkspace: 20_000,
  emitsPerSecond: 30,
  emitsBurst: 100,
  waiting: 1_000,
  waitingChars: 8_000_000,
  replay: 5_000,
};

/** An error as a client may see it. */
export function publicError(error: unknown): PublicError {
  const { status: _status, ...visible } = toPublicError(error);
  return visible;
}
