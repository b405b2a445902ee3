/**
 * errors — the one catalogue of failures. A fault has a stable type (what clients see as `error`), an HTTP status, a message that
 * names the thing, and `data` for programs (what clients see as `details`).
 *
 * A class is lost when an error crosses nodes, its `type` is not: compare with `isFault(error, '…')`, never with `instanceof`.
 */
export interface FaultOptions {
  /** For programs; sent to the caller as `details`, so never a secret, never a request. */
  data?: Record<string, unknown>;
  /** Overrides the catalogue's message. */
  message?: string;
  /** Instead of the catalogue's, where one of its kind has another. */
  status?: number;
  cause?: unknown;
}

/** Type → [HTTP status, default message, whether trying again can help]. Kept equal to docs/errors.md by a test. */
export const CATALOGUE = {
  // Requests
  RequestValidationError: [400, 'The request does not have the expected shape.'],
  BadParametersError: [400, 'A parameter is not valid.'],
  MissingFieldError: [400, 'A required field is missing.'],
  PayloadTooLarge: [413, 'The request is larger than the accepted maximum.'],
  UnsupportedMediaType: [415, 'The body is in a form that is not understood.'],
  NotFoundError: [404, 'Route not found'],
  TooManyRequests: [429, 'Too many requests; retry later.', true],
  TimeoutError: [408, 'The request took too long.', true],
  UpstreamUnavailable: [502, 'A service needed for this request does not answer.', true],
  ServiceUnavailable: [503, 'The service is not ready.', true],
  InternalServiceError: [500, 'Something went wrong on our side; quote the correlation id to have it looked up.'],
  ConfigurationError: [500, 'The configuration is not valid.'],
  // Identity
  AuthenticationError: [401, 'Unauthenticated'],
  MissingMFA: [401, 'A second factor is required.'],
  InvalidAPIKey: [401, 'This API key is unknown or disabled.'],
  ForbiddenError: [403, 'Forbidden'],
  CsrfError: [401, 'The CSRF token is missing or does not match the session.'],
  AlreadyUsed: [400, 'Already used.'],
  InvalidEmail: [400, 'This e-mail address is not valid.'],
  InvalidPassword: [400, 'The password does not follow the rules.'],
  InvalidOrExpiredToken: [400, 'This token is not valid any more.'],
  ValidateEmailError: [401, 'The e-mail address must be validated first.'],
  ManualValidateEmailError: [401, 'An administrator must validate this account first.'],
  AccountDeactivated: [403, 'This account is deactivated.'],
  // Objects
  ObjectNotFoundError: [404, 'Not found.'],
  AlreadyUsedError: [400, 'This name is already used.'],
  VersionConflict: [409, 'It was changed by someone else meanwhile; read it again and retry.', true],
  MergeConflictError: [409, 'Both sides changed the same place.'],
  PreconditionFailed: [412, 'The object is not at the revision you expected.'],
  WorkspaceLocked: [423, 'The workspace is locked.', true],
  SuspendedWorkspaceError: [423, 'This workspace has been suspended'],
  InvalidSlugError: [400, 'This slug is not valid.'],
  InvalidScheduleError: [400, 'This schedule is not valid.'],
  InvalidVersionError: [400, 'This version is not valid.'],
  InvalidUploadError: [400, 'This upload is not valid.'],
  InvalidFile: [400, 'This file is not valid.'],
  InvalidSecurity: [400, 'This security configuration is not valid.'],
  InvalidPermissions: [400, 'These permissions are not valid.'],
  UnknownRole: [400, 'This role does not exist.'],
  CollaboratorNotFound: [400, 'This collaborator does not exist.'],
  InvalidWorkspaceError: [400, 'The workspace has errors.'],
  PrismeError: [400, 'The operation failed.'],
  // Events and bus
  InvalidEventError: [400, 'This event is not valid.'],
  EventValidationError: [400, 'This event is not valid.'],
  BrokerError: [400, 'The event was refused.'],
  BusOverloaded: [503, 'The event bus is full; retry later.', true],
  GroupInUse: [409, 'The consumer group has members; stop the services that use it first.'],
  SlowConsumerError: [408, 'This client reads more slowly than events arrive; reconnect with the id of its last event.', true],
  SearchError: [400, 'Could not execute search request'],
  EventNotStored: [422, 'The event history refused the event.'],
  // Language
  InvalidExpressionSyntax: [400, 'Invalid expression.'],
  InvalidVariableNameError: [400, 'Invalid variable name.'],
  InvalidInstructionError: [400, 'Invalid instruction.'],
  InvalidArgumentsError: [400, 'Invalid arguments'],
  InvalidOutputError: [400, 'Invalid output variable.'],
  TooManyCallError: [400, 'Reached maximum number of nested calls'],
  LimitExceededError: [400, 'The run reached one of its limits.'],
  RunCancelledError: [499, 'The run was cancelled.'],
  FetchError: [400, 'The request could not be made.'],
  ForbiddenHostError: [400, 'This address may not be fetched.'],
  SecretsError: [403, 'The secret operation was refused.'],
  IdempotencyKeyReused: [422, 'This Idempotency-Key was used with another request; use a new key for a new request.'],
  RunLostError: [503, 'The node that ran this request stopped; retry, with the same Idempotency-Key to get the first answer.', true],
} satisfies Record<string, [status: number, message: string, retryable?: boolean]>;

export type FaultType = keyof typeof CATALOGUE;

/**
 * A failure of the catalogue. `code` is the HTTP status, `type` the stable name, `data` the details. It has the fields of Moleculer's own errors, so it
 * crosses nodes as they do, and not their class, so that threads and tools that only compute need not load a broker.
 */
export class Fault extends Error {
  readonly code: number;
  readonly type: FaultType;
  data: Record<string, unknown>;
  readonly retryable: boolean;

  constructor(type: FaultType, { data, message, status: own, cause }: FaultOptions = {}) {
    const [status, text, retryable = false] = CATALOGUE[type] as [number, string, boolean?];
    super(message ?? text, cause === undefined ? undefined : { cause });
    this.name = type;
    this.code = own ?? status;
    this.type = type;
    this.data = data ?? {};
    this.retryable = retryable;
  }
}

/** `throw fault('ObjectNotFoundError', { data: { workspaceId } })`. */
export const fault = (type: FaultType, options?: FaultOptions): Fault => new Fault(type, options);

/** Whether `error` is a fault (of `type`, when given), also after it crossed nodes. */
export function isFault(error: unknown, type?: FaultType): error is Fault {
  const found = (error as { type?: unknown } | null | undefined)?.type;
  return typeof found === 'string' && (type === undefined ? Object.hasOwn(CATALOGUE, found) : found === type);
}

export interface PublicError {
  error: string;
  message: string;
  details: Record<string, unknown>;
}

/** What a client, an `error` event or a log may show of any thrown value: internals of unknown errors are kept back. */
export function toPublicError(error: unknown): PublicError & { status: number } {
  if (isFault(error))
    return {
      status: Number(error.code) || 400,
      error: error.type,
      message: error.message,
      details: (error.data ?? {}) as Record<string, unknown>,
    };
  const [status, message] = CATALOGUE.InternalServiceError as [number, string];
  return { status, error: 'InternalServiceError', message, details: {} };
}
