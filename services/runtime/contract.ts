/** runtime — what other services may ask, and the events it emits. Types only: work crosses by `ctx.call` and the bus. */
import type { JsonObject } from '../../mixins/shared/json.ts';

/** `runtime.webhook`: published to the gateway, which calls it for ANY /v2/workspaces/:workspaceId/webhooks/*endpoint. */
export interface WebhookParams {
  /** Id, or `slug:<workspaceSlug>`. */
  workspaceId: string;
  /** Path after `/webhooks/`, still percent-encoded, no leading slash. */
  endpoint: string;
  method: string;
  headers: Record<string, string>;
  query: JsonObject;
  /** Parsed JSON, urlencoded or multipart body (files as UploadedFile at their field name), or text for other types. */
  body: unknown;
  /**
   * Base64 of the raw bytes when the body was not multipart and not empty (at most REQUEST_MAX_SIZE). An automation that speaks of `rawBody` gets the
   * text, or bytes when they are no UTF-8: `base64(rawBody)` and the crypto module take both.
   */
  rawBody?: string;
  ip?: string;
  idempotencyKey?: string;
}

export interface UploadedFile {
  fieldname: string;
  originalname: string;
  encoding: string;
  mimetype: string;
  size: number;
  base64: string;
}

/**
 * Answer of `runtime.webhook`. When the automation streams, the action returns a Readable of server-sent events instead, with
 * `ctx.meta.$statusCode` and `ctx.meta.$responseHeaders` set.
 */
export interface WebhookAnswer {
  status: number;
  headers: Record<string, string | string[]>;
  /** JSON value, text, or `{ base64 }` for bytes (`encoding` tells which). */
  body: unknown;
  encoding: 'json' | 'text' | 'base64' | 'empty';
}

/** `runtime.test`: POST /v2/workspaces/:workspaceId/test/*slug with body `{ payload }`; returns the output, `{}` when none. */
export interface TestParams {
  workspaceId: string;
  slug: string;
  body: { payload?: JsonObject };
  query?: JsonObject;
}

/** `runtime.cancel`: ends the runs of a correlation id and their children, or with `callId` what a client that has gone was waiting for. */
export interface CancelParams {
  workspaceId: string;
  correlationId: string;
  callId?: string;
}

/** `runtime.triggers`: the compiled trigger table of a workspace, for the REPL and owners. */
export interface TriggerRow {
  kind: 'event' | 'endpoint' | 'schedule';
  value: string;
  automation: string;
}

/** `runtime.check`: compiles sources without keeping them; the workspaces service calls it on save. */
export interface CheckParams {
  workspaceId: string;
  automations: Record<string, JsonObject>;
  /** App instances about to be saved with them. */
  imports?: string[];
  /** YAML by file (`automations/hello.yml`): problems then carry line and column. */
  texts?: Record<string, string>;
}
