/**
 * pipeline — the policies an installation has written in its configuration file, in their order. A pipeline ends in an answer (`proxy` to an address), or
 * leaves the request to the routes of the platform, whose own policies hold in any case: a file can only make the door narrower.
 */
import type { IncomingMessage } from 'node:http';
import type { Identity } from '../../../mixins/auth/identity.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { Compiled, Found } from '../configuration/compile.ts';
import type { ProxyPolicy, Target } from '../configuration/read.ts';
import type { Self } from '../identity/core.mixin.ts';
import type { Known } from '../identity/resolver.ts';
import type { GatewayResponse } from '../response.ts';
import { authenticate, credentialsOf, identityOf } from './authentication.ts';
import { CSRF_HEADER, checkCsrf } from './csrf.ts';
import type { Limiter } from './rate-limit.ts';

export interface PipelineRequest {
  request: IncomingMessage;
  /** Absent for an upgrade, which has no answer of its own. */
  response?: GatewayResponse;
  ip: string | undefined;
  correlationId: string;
  found: Found;
}

export interface Outcome {
  /** The target, when the pipeline names one. */
  proxy?: { policy: ProxyPolicy; target: Target };
  known: Known | null;
  identity: Identity;
  injectUserId: boolean;
  isAuthorizationOurs: boolean;
  /** Rate limits counted here: the built-in ones of the same name are not counted again. */
  counted: Set<string>;
}

/** @throws what a policy refuses with: AuthenticationError, MissingMFA, CsrfError, TooManyRequests, ForbiddenError */
export async function runPipeline(
  self: Self,
  { services }: Pick<Compiled, 'services'>,
  limiter: Limiter,
  { request, response, ip, correlationId, found }: PipelineRequest,
): Promise<Outcome> {
  const method = request.method as string;
  const credentials = credentialsOf(request, ip, correlationId);
  let known: Known | null = await authenticate(self, { auth: 'optional', beforeMfa: true }, method, credentials);
  const workspaceId = /^\/v2\/workspaces\/([\w-]+)/.exec(request.url as string)?.[1];
  const counted = new Set<string>();
  let injectUserId = true;
  let isChecked = false;
  let proxy: Outcome['proxy'];

  for (const policy of found.policies) {
    if ('authentication' in policy) {
      const { optional, allowApiKeyOnly, enforceMFA, csrf, ...more } = policy.authentication;
      const auth = optional ? 'optional' : allowApiKeyOnly ? 'apiKey' : 'required';
      known = await authenticate(self, { auth, beforeMfa: !enforceMFA && !optional }, method, credentials);
      injectUserId = more.injectUserIdHeader;
      isChecked = true;
      if (csrf.validateToken) checkCsrf(method, known?.claims.via, known?.csrf, request.headers[CSRF_HEADER]);
      if (csrf.includeToken && known?.csrf) response?.setHeader(CSRF_HEADER, known.csrf);
    } else if ('rateLimit' in policy) {
      const { name, key, window, limit } = policy.rateLimit;
      counted.add(name);
      await limiter.check([{ name, key, windowS: window, limit }], { userId: known?.userId, ip, workspaceId }, response);
    } else if ('blacklist' in policy) {
      if (policy.blacklist.paths.some((pattern) => new RegExp(pattern).test(request.url as string)))
        throw fault('ForbiddenError', { message: 'Blacklisted' });
    } else {
      proxy = { policy: policy.proxy, target: services[policy.proxy.service] as Target };
      break;
    }
  }
  // Without an authentication policy the target learns of nobody, as nobody was asked for.
  const shown = isChecked ? known : null;
  return {
    ...(proxy ? { proxy } : {}),
    known: shown,
    identity: identityOf(self, shown, credentials, correlationId),
    injectUserId,
    isAuthorizationOurs: self.core.tokens.isOurs(request.headers.authorization),
    counted,
  };
}
