/**
 * interactions — the step of a sign-in at which a person proves who he is. The browser is known by the signed cookie of the provider, so an interaction
 * cannot be finished for somebody else's browser.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Provider } from 'oidc-provider';
import { parse } from 'qs';
import type { CallMeta } from '../../../mixins/auth/identity.ts';
import { identityKeysOf } from '../../../mixins/auth/identity-keys.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { publicError } from '../http-errors.ts';
import type { Self } from '../identity/core.mixin.ts';
import { localFirst } from '../local-first.ts';
import { readBytes } from '../policies/body.ts';
import type { External } from './external.ts';
import type { Visit } from './mount.ts';
import { pagePolicy, signInPage } from './pages.ts';

const PATH = /^\/oidc\/interaction\/([\w-]{1,100})(\/login)?$/;
const MAX_FORM_BYTES = 100_000;

export interface Interactions {
  handle(visit: Visit): Promise<boolean>;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** The interaction of this browser. @throws InvalidOrExpiredToken */
export async function interactionOf(provider: Provider, request: IncomingMessage, response: ServerResponse, uid?: string) {
  const details = await provider.interactionDetails(request, response).catch(() => undefined);
  if (!details || (uid !== undefined && details.uid !== uid))
    throw fault('InvalidOrExpiredToken', { message: 'This sign-in is not of this browser, or took too long: begin again.' });
  return details;
}

/** Ends the step for `userId`; answers with the way back. */
export async function finish(
  provider: Provider,
  { request, response }: Pick<Visit, 'request' | 'response'>,
  userId: string,
  amr: string[],
  remember: boolean,
): Promise<void> {
  const result = { login: { accountId: userId, amr, remember, ts: Math.floor(Date.now() / 1000) } };
  const returnTo = await provider.interactionResult(request, response, result, { mergeWithLastSubmission: false });
  response.writeHead(303, { location: returnTo, 'content-length': '0', 'cache-control': 'no-store' }).end();
}

export function createInteractions(self: Self, provider: () => Promise<Provider>, external: External): Interactions {
  const { config } = self.core;

  async function form(request: IncomingMessage): Promise<Record<string, unknown>> {
    const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim();
    const raw = await readBytes(request, MAX_FORM_BYTES);
    if (type === 'application/json') {
      try {
        const value: unknown = JSON.parse(raw.toString('utf8'));
        if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
      } catch {}
      throw fault('RequestValidationError', { message: 'The body is not valid JSON.' });
    }
    return parse(raw.toString('utf8'), { depth: 1, parameterLimit: 20 });
  }

  async function show(
    { request, response }: Visit,
    uid: string,
    more: { login?: string; wrong?: string } = {},
    status = 200,
  ): Promise<void> {
    const details = await interactionOf(await provider(), request, response, uid);
    const client = await (await provider()).Client.find(String(details.params.client_id));
    const html = signInPage({
      uid,
      client: client?.clientName ?? client?.clientId ?? 'the platform',
      hasPassword: !config.disableLocalSignin,
      providers: external
        .list()
        .map(({ slug, name }) => ({ name: slug, label: name, url: `/v2/login?provider=${encodeURIComponent(slug)}` })),
      ...more,
    });
    response.setHeader('content-security-policy', pagePolicy("'none'"));
    response.setHeader('cache-control', 'no-store');
    response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' }).end(html);
  }

  async function login(visit: Visit, uid: string): Promise<void> {
    const { request, response, ip } = visit;
    const { login: name, password, totp, remember, page } = await form(request);
    const current = await provider();
    await interactionOf(current, request, response, uid);
    const correlationId = response.correlationId;
    const identity = identityKeysOf(self.broker).sign({ kind: 'none', correlationId, ...(ip ? { ip } : {}) });
    try {
      const { userId, amr } = await self.broker.call<{ userId: string; amr: string[] }, object>(
        'identity.checkPassword',
        { email: text(name), password: text(password), totp: text(totp) },
        { meta: { identity, correlationId } satisfies CallMeta as object, ...localFirst(self.broker, 'identity.checkPassword') },
      );
      await finish(current, visit, userId, amr, text(remember) !== 'false');
    } catch (error) {
      if (!page || !isFault(error)) throw error;
      const { status, body } = publicError(error);
      await show(visit, uid, { login: text(name), wrong: body.message }, status);
    }
  }

  return {
    async handle(visit) {
      const [, uid, isLogin] = PATH.exec(visit.path) ?? [];
      if (!uid) return false;
      const { method } = visit.request;
      if (isLogin ? method !== 'POST' : method !== 'GET' && method !== 'HEAD') throw fault('NotFoundError');
      if (isLogin) await login(visit, uid);
      else await show(visit, uid);
      return true;
    },
  };
}
