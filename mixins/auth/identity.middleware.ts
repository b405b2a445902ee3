/**
 * identity middleware — the guard of every action of a node: nothing runs without a declared rule, a verified identity that satisfies it, and the
 * certainty that no reply can exchange it.
 *
 *  serviceCreating   refuses a service whose action does not declare `visibility` and `identity`.
 *  localAction       verifies `ctx.meta.identity`, freezes it and pins it to the context. Moleculer merges the meta of every reply into the caller's
 *                    context: a pinned value takes no assignment, so a callee cannot change who its caller is.
 *  call              renews an identity that is about to expire when work in progress calls on.
 */
import { type ActionSchema, type Context, Errors, type Middleware, type ServiceBroker } from 'moleculer';
import { SECOND } from '../shared/clock.ts';
import { fault } from '../shared/errors.ts';
import type { Identity, IdentityRule } from './identity.ts';
import { identityKeysOf } from './identity-keys.ts';
import { mayCallAsSystem } from './system-calls.ts';

const RULES = new Set<IdentityRule>(['required', 'optional', 'system', 'any']);
const VISIBILITIES = new Set(['published', 'public', 'protected', 'private']);
const RENEW_BEFORE_MS = 10 * SECOND;

const isOwn = (name: string) => name.startsWith('$');

/** Whether `identity` satisfies `rule` for `action`. */
function satisfies(rule: IdentityRule, action: string, { kind, via, service }: Identity): boolean {
  if (kind === 'system') return mayCallAsSystem(service, action);
  if (rule === 'any' || rule === 'optional') return true;
  if (rule === 'system') return false;
  return kind !== 'none' || via === 'apiKey';
}

const PINNED = Symbol('identity');

/** A setter that does nothing rather than a read-only value: Object.assign, which merges replies, throws on the latter. */
const PIN = {
  enumerable: true,
  configurable: false,
  get(this: { [PINNED]?: Identity }) {
    return this[PINNED];
  },
  set() {},
};

/** A new object, as the shape of one whose property is redefined is no longer shared. */
function pin(ctx: Context<any, any>, identity: Identity | undefined): void {
  const meta: Record<string, unknown> = Object.defineProperty({}, PINNED, { value: identity });
  Object.defineProperty(meta, 'identity', PIN);
  for (const name of Object.keys(ctx.meta)) if (name !== 'identity') meta[name] = ctx.meta[name];
  ctx.meta = meta;
}

const isPinned = ({ meta }: Context<any, any>): boolean => Object.hasOwn(meta, PINNED);

export function identityMiddleware(): Middleware {
  let broker: ServiceBroker;
  const keys = () => identityKeysOf(broker);

  return {
    name: 'identity',

    created(created: ServiceBroker) {
      broker = created;
    },

    serviceCreating(_service: unknown, schema: { name?: string; actions?: Record<string, unknown> }) {
      if (!schema.name || isOwn(schema.name)) return;
      for (const [name, action] of Object.entries(schema.actions ?? {})) {
        if (action === false || action === null) continue;
        const { visibility, identity } = (typeof action === 'object' ? action : {}) as Partial<ActionSchema>;
        if (!VISIBILITIES.has(visibility as string) || !RULES.has(identity as IdentityRule))
          throw fault('ConfigurationError', {
            message: `The action '${schema.name}.${name}' must declare its visibility and its identity rule.`,
            data: { action: `${schema.name}.${name}`, visibility, identity },
          });
      }
    },

    localAction(next: (ctx: Context<any, any>) => Promise<unknown>, action: ActionSchema & { name: string }) {
      if (isOwn(action.name)) return next;
      const rule = action.identity as IdentityRule;
      const isLocalOnly = action.visibility === 'protected' || action.visibility === 'private';
      return function guarded(this: unknown, ctx: Context<any, any>) {
        if (isPinned(ctx)) return next.call(this, ctx);
        // Moleculer does not announce such an action to other nodes, but answers a request packet that names it all the same.
        if (isLocalOnly && ctx.nodeID !== broker.nodeID) return Promise.reject(new Errors.ServiceNotFoundError({ action: action.name }));
        let identity: Identity | undefined;
        try {
          if (rule !== 'any' || ctx.meta.identity) identity = keys().verify(ctx.meta.identity);
        } catch (error) {
          if (rule !== 'any') return Promise.reject(error);
        }
        if (identity && !satisfies(rule, action.name, identity)) return Promise.reject(refusal(rule, action.name, identity));
        pin(ctx, identity);
        return next.call(this, ctx);
      };
    },

    call(next: (name: string, params: unknown, options?: any) => Promise<unknown>) {
      return function called(this: unknown, name: string, params: unknown, options?: any) {
        const parent = options?.parentCtx as Context<any, any> | undefined;
        const identity = parent && !options.meta?.identity ? (parent.meta?.identity as Identity | undefined) : undefined;
        if (!identity || identity.exp - Date.now() > RENEW_BEFORE_MS || !keys().isKnown(identity))
          return next.call(this, name, params, options);
        return next.call(this, name, params, { ...options, meta: { ...options.meta, identity: keys().renew(identity) } });
      };
    },
  } as unknown as Middleware;
}

function refusal(rule: IdentityRule, action: string, { kind, service }: Identity) {
  if (kind === 'system')
    return fault('ForbiddenError', { message: `The service '${service}' has no business with '${action}'.`, data: { action } });
  if (rule === 'system') return fault('ForbiddenError', { message: `'${action}' is for services only.`, data: { action } });
  return fault('AuthenticationError', { data: { action } });
}
