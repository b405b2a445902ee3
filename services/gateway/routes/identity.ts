/** identity — accounts, sessions, tokens. */
import type { RateLimit, Route } from './route.ts';

const signups: RateLimit[] = [{ name: 'signup', key: 'ip', windowS: 60, limit: 10 }];
const anonymous: RateLimit[] = [{ name: 'loginAnonymous', key: 'ip', windowS: 60, limit: 10 }];

export const routes: Route[] = [
  { method: 'POST', path: '/signup', action: 'identity.signup', auth: 'optional', limits: signups, summary: 'Makes an account.' },
  { method: 'POST', path: '/login', action: 'identity.login', auth: 'optional', summary: 'Signs in with e-mail and password.' },
  {
    method: 'POST',
    path: '/login/anonymous',
    action: 'identity.anonymous',
    auth: 'optional',
    limits: anonymous,
    summary: 'Opens a session without account.',
  },
  {
    method: 'GET',
    path: '/login/once',
    action: 'identity.once',
    auth: 'optional',
    summary: 'Signs the administrator in with the link printed at start.',
  },
  {
    method: 'POST',
    path: '/logout',
    action: 'identity.logout',
    auth: 'required',
    summary: 'Ends this session, or all with { everywhere: true }.',
  },
  { method: 'GET', path: '/me', action: 'identity.me', auth: 'required', summary: 'The signed-in user.' },
  { method: 'PATCH', path: '/user', action: 'users.updateOwn', auth: 'required', sessionOnly: true, summary: 'Changes the own profile.' },
  { method: 'PATCH', path: '/users/:userId', action: 'users.update', auth: 'required', summary: 'Changes a profile.' },
  { method: 'DELETE', path: '/users/:userId', action: 'users.remove', auth: 'required', sessionOnly: true, summary: 'Deletes an account.' },
  {
    method: 'POST',
    path: '/user/meta',
    action: 'users.mergeMeta',
    auth: 'required',
    sessionOnly: true,
    summary: 'Merges into the own free data.',
  },
  {
    method: 'DELETE',
    path: '/user/meta/:key',
    action: 'users.removeMeta',
    auth: 'required',
    sessionOnly: true,
    summary: 'Removes a key of the own free data.',
  },
  {
    method: 'POST',
    path: '/user/password',
    action: 'users.changePassword',
    auth: 'required',
    sessionOnly: true,
    summary: 'Changes the own password.',
  },
  {
    method: 'GET',
    path: '/user/accessTokens',
    action: 'accessTokens.list',
    auth: 'required',
    sessionOnly: true,
    summary: 'Access tokens, without their values.',
  },
  {
    method: 'POST',
    path: '/user/accessTokens',
    action: 'accessTokens.create',
    auth: 'required',
    sessionOnly: true,
    summary: 'Makes an access token; its value is shown once.',
  },
  {
    method: 'DELETE',
    path: '/user/accessTokens/:token',
    action: 'accessTokens.remove',
    auth: 'required',
    sessionOnly: true,
    summary: 'Deletes an access token.',
  },
  { method: 'POST', path: '/contacts', action: 'contacts.search', auth: 'required', summary: 'Finds people by id or e-mail.' },
  { method: 'GET', path: '/jwks', action: 'tokens.jwks', auth: 'optional', summary: 'Public keys of the tokens.' },
];
