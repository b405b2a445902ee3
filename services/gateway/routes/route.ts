/**
 * route — one line of the routing table: which published action answers a method and path, and which policies guard it.
 * Each resource has its own file beside this one, exporting `routes: Route[]`; index.ts is the list of those files.
 *
 * The action receives `{ ...path parameters, query, body }`: query and body are never merged into the parameters.
 * `body` is the parsed JSON or urlencoded value; for multipart `{ ...fields, files: UploadedFile[] }`.
 * An action answers with a JSON value, or with a Readable after setting `ctx.meta.$statusCode` and `ctx.meta.$responseHeaders`.
 */

export interface RateLimit {
  /** Bucket family. */
  name: string;
  key: 'userId' | 'ip' | 'workspaceId';
  windowS: number;
  limit: number;
  /** Setting that holds the limit instead. */
  setting?: 'rateSignup' | 'rateAnonymous' | 'rateTokenExchange';
}

export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'ANY';
  /** Below /v2, in path-to-regexp 8 syntax: `/workspaces/:workspaceId/automations/*slug`. A wildcard arrives as text with slashes, percent-decoded. */
  path: string;
  action: string;
  /** `required` 401 without user or anonymous session · `apiKey` also with an API key alone · `optional` anybody. */
  auth: 'required' | 'apiKey' | 'optional';
  /** Refuses access tokens (routes that manage credentials). */
  sessionOnly?: boolean;
  /** Open to a session whose second factor is still to come; `setup`: only where the account has none yet. */
  beforeMfa?: boolean | 'setup';
  /** The action gets `origin`: where the browser comes from, when that place may call the platform. For links in mails. */
  origin?: boolean;
  limits?: RateLimit[];
  /** Accepts multipart/form-data. `spooled`: its files wait on disk, the action gets `spooled` (SpooledFile) instead of `base64`. */
  multipart?: boolean | 'spooled';
  /** The action gets raw information too: `headers`, `method`, `ip`, `rawBody` (webhooks). */
  raw?: boolean;
  /** With an `Idempotency-Key`, which the action gets as `idempotencyKey`, the action does the same request once: it may be called again when its node is lost. */
  isRepeatable?: boolean;
  /** The answer goes on until one side ends it, which the gateway does when it stops. */
  isEndless?: boolean;
  /** One sentence for the OpenAPI document. */
  summary: string;
}
