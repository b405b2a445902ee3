/**
 * config — the only reader of the environment. One typed object per node; services read it with `configOf(this.broker)`.
 * Names are ours first, then the reference product's as aliases (see docs/configuration.md, generated from SETTINGS).
 */
import { accessSync, constants, mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ServiceBroker } from 'moleculer';
import { fault } from './errors.ts';

type Env = Record<string, string | undefined>;
type Kind = 'text' | 'number' | 'boolean' | 'list';

export interface Setting {
  env: string;
  aliases?: string[];
  kind: Kind;
  default?: string | number | boolean | string[];
  about: string;
}

/** Every setting: key in the typed config → how it is read. */
export const SETTINGS = {
  port: { env: 'PORT', kind: 'number', default: 3001, about: 'Public HTTP port of the gateway.' },
  host: { env: 'HOST', kind: 'text', default: '127.0.0.1', about: 'Address the gateway listens on.' },
  dataDir: { env: 'DATA_DIR', kind: 'text', default: './data', about: 'Folder of everything the embedded drivers keep.' },
  apiUrl: {
    env: 'API_URL',
    aliases: ['PUBLIC_API_URL'],
    kind: 'text',
    about: 'Public base address, ends with /v2. Default: made from HOST and PORT.',
  },
  consoleUrl: {
    env: 'CONSOLE_URL',
    kind: 'list',
    default: ['http://studio.local.prisme.ai:3000'],
    about: 'Addresses of the studio: CORS and redirects.',
  },
  pagesHost: { env: 'PAGES_HOST', kind: 'text', default: '.pages.local.prisme.ai:3100', about: 'Base domain of pages.' },
  services: {
    env: 'SERVICES',
    kind: 'list',
    default: [],
    about: 'Services of this node (gateway, events, runtime, workspaces); empty means all.',
  },
  logLevel: { env: 'LOG_LEVEL', kind: 'text', default: 'warn', about: 'fatal, error, warn, info, debug or trace.' },
  namespace: {
    env: 'PRISME_NAMESPACE',
    aliases: ['BROKER_NAMESPACE'],
    kind: 'text',
    default: 'prisme',
    about: 'Prefix of every key and topic: one per installation.',
  },
  nodeId: {
    env: 'NODE_ID',
    aliases: ['HOSTNAME'],
    kind: 'text',
    about: 'Name of this node, unique in the cluster. Default: host name and process id.',
  },
  transporterUrl: { env: 'TRANSPORTER', kind: 'text', about: 'Moleculer transporter, e.g. redis://127.0.0.1:6379. None: one process.' },
  busUrl: {
    env: 'BUS_URL',
    aliases: ['BROKER_HOST'],
    kind: 'text',
    about: 'Carrier of durable events: redis://… or sqlite:<file>. None: SQLite under DATA_DIR.',
  },
  busMaxEntries: {
    env: 'BUS_MAX_ENTRIES',
    kind: 'number',
    default: 1_000_000,
    about: 'Events kept in the log of the bus; when groups leave more unhandled, producers are refused with BusOverloaded.',
  },
  busKeepS: { env: 'BUS_KEEP', kind: 'number', default: 3600, about: 'How long handled events stay in the log for replay, seconds.' },
  documentsUrl: {
    env: 'DOCUMENTS_URL',
    aliases: ['PERMISSIONS_STORAGE_HOST'],
    kind: 'text',
    about: 'Documents: mongodb://… or sqlite:<file>.',
  },
  filesUrl: { env: 'FILES_URL', kind: 'text', about: 'Workspace files and uploads: s3://key:secret@host:port/bucket or file:<folder>.' },
  cacheUrl: {
    env: 'CACHE_URL',
    aliases: ['CONTEXTS_CACHE_HOST'],
    kind: 'text',
    about: 'Contexts, sessions, counters, waits, journals: redis://… or sqlite:<file>.',
  },
  datalakeUrl: {
    env: 'DATALAKE_URL',
    aliases: ['EVENTS_STORAGE_ES_HOST'],
    kind: 'text',
    about: 'Event history: http(s)://… of Elasticsearch or sqlite:<file>.',
  },
  adminEmail: { env: 'PRISME_ADMIN_EMAIL', kind: 'text', about: 'E-mail of the first super admin, created at start.' },
  adminPassword: {
    env: 'PRISME_ADMIN_PASSWORD',
    kind: 'text',
    about: 'Password of the first super admin. None: a one-time sign-in link is printed.',
  },
  superAdminEmails: { env: 'SUPER_ADMIN_EMAILS', kind: 'list', default: [], about: 'Further super admins.' },
  saTokenMaxTtlS: {
    env: 'SA_TOKEN_MAX_TTL',
    kind: 'number',
    default: 86_400,
    about: 'Longest life of a token of a service account, seconds.',
  },
  privilegedWorkspaces: {
    env: 'PRIVILEGED_WORKSPACES',
    kind: 'text',
    about:
      'JSON: slug of a workspace, or `id:<its id>` (a slug that is free is anybody’s to take) → { serviceAccounts: { defaultRoleSlug, allowedRoleSlugs }, apiKeys: { allowedPermissions, allowedScopes } }, what its runs may make in every organisation.',
  },
  orgCreation: {
    env: 'ORG_CREATION',
    kind: 'text',
    default: 'superadmins',
    about: 'Who makes organisations: superadmins, or users (every account).',
  },
  identityKeys: {
    env: 'IDENTITY_KEYS',
    kind: 'text',
    about: 'Ed25519 key pair of inner identities as JWK JSON; the same on every node. None: made and kept under DATA_DIR.',
  },
  tokenKeys: { env: 'TOKEN_KEYS', kind: 'text', about: 'RSA key ring of access tokens as JWKS JSON. None: made and kept under DATA_DIR.' },
  secretsMasterKeys: {
    env: 'SECRETS_MASTER_KEYS',
    kind: 'text',
    about: 'JSON list {kid, key (64 hex), active}: wraps secrets at rest. None: made and kept under DATA_DIR.',
  },
  rateLimitDisabled: {
    env: 'RATE_LIMIT_DISABLED',
    aliases: ['DISABLE_RATE_LIMIT'],
    kind: 'boolean',
    default: false,
    about: 'Turns all rate limits off.',
  },
  trustedProxies: {
    env: 'TRUSTED_PROXIES',
    kind: 'list',
    default: ['127.0.0.0/8', '::1/128'],
    about: 'Networks whose X-Forwarded-For is believed.',
  },
  requestMaxBytes: { env: 'REQUEST_MAX_SIZE', kind: 'number', default: 1_000_000, about: 'Largest JSON body.' },
  uploadMaxBytes: { env: 'UPLOADS_MAX_SIZE', kind: 'number', default: 10_000_000, about: 'Largest uploaded file.' },
  photoMaxBytes: { env: 'PROFILE_PICTURE_MAX_SIZE', kind: 'number', default: 4_000_000, about: 'Largest picture of a person.' },
  uploadAllowedTypes: {
    env: 'UPLOADS_ALLOWED_MIMETYPES',
    kind: 'list',
    default: ['image/*', 'text/*', 'video/*', 'audio/*', 'application/*', 'font/*'],
    about: 'Media types of uploads; `*` stands for any subtype.',
  },
  uploadForbiddenTypes: { env: 'UPLOADS_FORBIDDEN_MIMETYPES', kind: 'list', default: [], about: 'Media types never accepted.' },
  uploadVisibility: {
    env: 'UPLOADS_DEFAULT_VISIBILITY',
    kind: 'text',
    default: 'private',
    about: 'public or private: uploads that do not say.',
  },
  writeLockTimeoutMinutes: {
    env: 'WORKSPACE_WRITE_LOCK_TIMEOUT_MINUTES',
    kind: 'number',
    default: 30,
    about: 'A write lock ends by itself after this time, except that of a merge conflict.',
  },
  maxWorkspaceVersions: { env: 'MAXIMUM_WORKSPACE_VERSION', kind: 'number', default: 20, about: 'Published versions kept per workspace.' },
  eventMaxBytes: { env: 'BROKER_EMIT_MAXLEN', kind: 'number', default: 100_000, about: 'Largest event.' },
  executedEventMaxBytes: {
    env: 'BROKER_EMIT_EXECUTED_AUTOMATION_MAXLEN',
    kind: 'number',
    default: 10_000,
    about: 'Above, payload and output are left out of runtime.automations.executed.',
  },
  accessTokenMaxAgeS: { env: 'ACCESS_TOKENS_MAX_AGE', kind: 'number', default: 30 * 24 * 3600, about: 'Life of a session token, seconds.' },
  accessTokenMaxDays: {
    env: 'ACCESS_TOKENS_MAX_DAYS',
    kind: 'number',
    default: 365,
    about: 'Longest life of a personal access token, days.',
  },
  disableLocalSignin: { env: 'DISABLE_LOCAL_SIGNIN', kind: 'boolean', default: false, about: 'Nobody signs in with a password.' },
  disableLocalSignup: { env: 'DISABLE_LOCAL_SIGNUP', kind: 'boolean', default: false, about: 'Nobody makes an account with a password.' },
  mfaForceLocal: {
    env: 'MFA_FORCE_LOCAL',
    kind: 'boolean',
    default: false,
    about: 'Accounts with a password need a second factor: until one is set up they can do nothing else.',
  },
  accountValidation: { env: 'ACCOUNT_VALIDATION_METHOD', kind: 'text', default: 'auto', about: 'email, manual or auto.' },
  passwordPattern: { env: 'PASSWORD_VALIDATION_REGEXP', kind: 'text', default: '^.{8,32}$', about: 'What a password must match.' },
  defaultTimezone: { env: 'DEFAULT_TIMEZONE', kind: 'text', default: 'UTC', about: 'Time zone of date() formatting and schedules.' },
  defaultLocale: { env: 'DEFAULT_LOCALE', kind: 'text', default: 'en', about: 'Locale of date() formatting.' },
  maxDepth: { env: 'MAXIMUM_SUCCESSIVE_CALLS', kind: 'number', default: 20, about: 'Nested automation calls.' },
  waitTimeoutS: { env: 'WAIT_DEFAULT_TIMEOUT', kind: 'number', default: 20, about: 'Default time-out of wait, seconds.' },
  runContextTtlS: { env: 'CONTEXT_RUN_EXPIRE_TIME', kind: 'number', default: 60, about: 'Life of a run context, seconds.' },
  anonymousSessionTtlS: {
    env: 'CONTEXT_UNAUTHENTICATED_SESSION_EXPIRE_TIME',
    kind: 'number',
    default: 3600,
    about: 'Life of an anonymous session context, seconds.',
  },
  socketContextTtlS: { env: 'CONTEXT_SOCKET_EXPIRE_TIME', kind: 'number', default: 21600, about: 'Life of a socket context, seconds.' },
  globalContextLargeBytes: {
    env: 'CONTEXT_GLOBAL_MAX_SIZE',
    kind: 'number',
    default: 500_000,
    about: 'Bytes of a global context above which an error event tells its workspace.',
  },
  userContextLargeBytes: {
    env: 'CONTEXT_USER_MAX_SIZE',
    kind: 'number',
    default: 100_000,
    about: 'Bytes of a user context above which an error event tells its workspace.',
  },
  sessionContextLargeBytes: {
    env: 'CONTEXT_SESSION_MAX_SIZE',
    kind: 'number',
    default: 1_000_000,
    about: 'Bytes of a session context above which an error event tells its workspace.',
  },
  socketContextLargeBytes: {
    env: 'CONTEXT_SOCKET_MAX_SIZE',
    kind: 'number',
    default: 100_000,
    about: 'Bytes of a socket context above which an error event tells its workspace.',
  },
  runContextLargeBytes: {
    env: 'CONTEXT_RUN_MAX_SIZE',
    kind: 'number',
    default: 500_000,
    about: 'Bytes of a run context above which an error event tells its workspace.',
  },
  fetchAllowedPrivateHosts: {
    env: 'FETCH_ALLOWED_PRIVATE_HOSTS',
    kind: 'list',
    default: [],
    about: 'host or host:port that fetch may reach although private.',
  },
  fetchForbiddenHosts: { env: 'FETCH_FORBIDDEN_HOSTS', kind: 'list', default: [], about: 'Hosts that fetch never reaches.' },
  readinessCacheTtlMs: {
    env: 'READINESS_CACHE_TTL_MS',
    kind: 'number',
    default: 30_000,
    about: 'How long a gateway remembers that the platform is ready.',
  },
  fetchTimeoutMs: { env: 'FETCH_TIMEOUT_MS', kind: 'number', default: 60_000, about: 'Time-out of one fetch.' },
  fetchMaxBytes: { env: 'FETCH_MAX_BYTES', kind: 'number', default: 20_000_000, about: 'Largest answer of one fetch.' },
  fetchMaxRetries: { env: 'FETCH_MAX_RETRIES', kind: 'number', default: 3, about: 'Retries of one fetch.' },
  fetchUserAgent: { env: 'FETCH_USER_AGENT_HEADER', kind: 'text', default: 'Prisme.ai Workspaces', about: 'User-Agent of fetch.' },
  rateAutomations: { env: 'RATE_LIMIT_AUTOMATIONS', kind: 'number', default: 100, about: 'Automations per second and workspace.' },
  rateAutomationsBurst: { env: 'RATE_LIMIT_AUTOMATIONS_BURST', kind: 'number', default: 400, about: 'Burst of automations.' },
  rateEmits: { env: 'RATE_LIMIT_EMITS', kind: 'number', default: 30, about: 'Emits per second and workspace.' },
  rateEmitsBurst: { env: 'RATE_LIMIT_EMITS_BURST', kind: 'number', default: 100, about: 'Burst of emits.' },
  rateFetchs: { env: 'RATE_LIMIT_FETCHS', kind: 'number', default: 50, about: 'Fetches per second and workspace.' },
  rateFetchsBurst: { env: 'RATE_LIMIT_FETCHS_BURST', kind: 'number', default: 200, about: 'Burst of fetches.' },
  rateRepeats: { env: 'RATE_LIMIT_REPEATS', kind: 'number', default: 1000, about: 'Loop turns per second and workspace.' },
  rateRepeatsBurst: { env: 'RATE_LIMIT_REPEATS_BURST', kind: 'number', default: 4000, about: 'Burst of loop turns.' },
  sseKeepAliveMs: { env: 'WEBHOOKS_SSE_KEEPALIVE', kind: 'number', default: 5000, about: 'Shortest keep-alive of event streams.' },
  schedulesMinIntervalS: {
    env: 'SCHEDULES_MIN_INTERVAL',
    kind: 'number',
    default: 60,
    about: 'Shortest time between two runs of one schedule, seconds.',
  },
  runsPerNode: { env: 'RUNS_PER_NODE', kind: 'number', default: 1000, about: 'Automations at work at once on one node.' },
  runsPerWorkspace: {
    env: 'RUNS_PER_WORKSPACE',
    kind: 'number',
    default: 200,
    about: 'Automations of one workspace at work at once on one node; those that wait for an event or a time are not counted.',
  },
  eventsRetentionDays: {
    env: 'EVENTS_RETENTION_DAYS',
    kind: 'number',
    default: 180,
    about: 'Age at which stored events are removed, days; -1 keeps them for ever.',
  },
  eventsWorkspaceMaxBytes: {
    env: 'EVENTS_WORKSPACE_MAX_BYTES',
    kind: 'number',
    default: 10_000_000_000,
    about: 'Stored events of one workspace; above, the oldest are removed. -1: no limit.',
  },
  eventsScheduledDeletionDays: {
    env: 'EVENTS_SCHEDULED_DELETION_DAYS',
    kind: 'number',
    default: 90,
    about: 'Days after which the events and contexts of a deleted workspace are removed.',
  },
  eventsCleanupMaxEvents: {
    env: 'EVENTS_CLEANUP_WORKSPACE_MAX_EVENTS',
    kind: 'number',
    default: 100,
    about: 'A workspace with at most this many events, and none of late, loses them; -1 never.',
  },
  eventsCleanupInactivityDays: {
    env: 'EVENTS_CLEANUP_WORKSPACE_INACTIVITY_DAYS',
    kind: 'number',
    default: 15,
    about: 'How long such a workspace must have been silent, days.',
  },
  internalApiKey: {
    env: 'INTERNAL_API_KEY',
    kind: 'text',
    about: 'Key of the /sys routes beyond the health check. None: they are closed.',
  },
  overwriteCorrelationId: {
    env: 'OVERWRITE_CORRELATION_ID_HEADER',
    kind: 'boolean',
    default: true,
    about: 'Every request gets a correlation id of its own; false keeps one the client sends.',
  },
  corsOrigins: {
    env: 'CORS_ADDITIONAL_ALLOWED_ORIGINS',
    kind: 'list',
    default: [],
    about: 'Further origins of browsers; a host that starts with a dot allows one level below it.',
  },
  secureCookies: {
    env: 'SECURE_COOKIES',
    kind: 'boolean',
    about: 'Cookies are Secure and SameSite=None. Default: when API_URL is https.',
    default: false,
  },
  rateSignup: { env: 'RATE_LIMIT_SIGNUP', kind: 'number', default: 10, about: 'Sign-ups per minute and address.' },
  rateAnonymous: { env: 'RATE_LIMIT_ANONYMOUS_LOGIN', kind: 'number', default: 10, about: 'Anonymous sessions per minute and address.' },
  rateTokenExchange: {
    env: 'RATE_LIMIT_TOKEN_EXCHANGE',
    kind: 'number',
    default: 60,
    about: 'Token exchanges per minute and address.',
  },
  rateLogin: { env: 'RATE_LIMIT_PRISMEAI_LOGIN', kind: 'number', default: 5, about: 'Failed sign-ins per minute and account.' },
  ratePasswordReset: {
    env: 'RATE_LIMIT_PASSWORD_RESET',
    kind: 'number',
    default: 5,
    about: 'Password reset requests per minute and address.',
  },
  gatewayConfig: {
    env: 'GATEWAY_CONFIG_PATH',
    kind: 'text',
    about: 'YAML file of gateway policies: limits by name, denied paths. None: the built-in ones.',
  },
  smtpUrl: {
    env: 'SMTP_URL',
    kind: 'text',
    about: 'smtp(s)://user:password@host:port of outgoing mail, or file:<folder>. None: written to the log.',
  },
  mailFrom: { env: 'EMAIL_FROM', kind: 'text', default: 'no-reply@localhost', about: 'Sender of mail.' },
  oidcIssuer: { env: 'OIDC_PROVIDER_URL', kind: 'text', about: 'Issuer of tokens. Default: API_URL without /v2.' },
  oidcStudioClientId: {
    env: 'OIDC_STUDIO_CLIENT_ID',
    kind: 'text',
    default: 'local-client-id',
    about: 'OpenID client of the studio; it returns to /signin of CONSOLE_URL.',
  },
  oidcClients: {
    env: 'OIDC_CLIENTS',
    aliases: ['OIDC_EXTERNAL_CLIENTS'],
    kind: 'text',
    about: 'Further OpenID clients: a JSON list of client metadata (client_id, redirect_uris, …).',
  },
  oidcRegistrationToken: {
    env: 'OIDC_CLIENT_REGISTRATION_TOKEN',
    kind: 'text',
    about: 'Token that lets OpenID clients register themselves. None: registration is closed.',
  },
  oidcSignInPage: {
    env: 'OIDC_SIGNIN_PAGE',
    kind: 'text',
    default: 'auto',
    about:
      "Where people sign in: 'studio' (its /signin, or that of the page), 'own' (a page of the gateway), or 'auto': own until CONSOLE_URL is set.",
  },
  authProvidersFile: {
    env: 'AUTH_PROVIDERS_CONFIG_PATH',
    aliases: ['AUTH_PROVIDERS_CONFIG'],
    kind: 'text',
    about: 'YAML file of outside sign-in providers (OpenID Connect).',
  },
  tokenKeyDays: { env: 'JWKS_ROTATION_DAYS', kind: 'number', default: 30, about: 'Days after which a new token key signs.' },
  noSample: {
    env: 'PRISME_NO_SAMPLE',
    kind: 'boolean',
    default: false,
    about: 'Start without the sample workspace (npm start -- --no-sample).',
  },
} satisfies Record<string, Setting>;

type Value<S extends Setting> = S['kind'] extends 'number'
  ? number
  : S['kind'] extends 'boolean'
    ? boolean
    : S['kind'] extends 'list'
      ? string[]
      : string;
type Known = typeof SETTINGS;
export type Config = { [K in keyof Known]: 'default' extends keyof Known[K] ? Value<Known[K]> : Value<Known[K]> | undefined } & {
  apiUrl: string;
  nodeId: string;
  /** Variables with an open set of names (`WORKSPACE_CONFIG_…`, `ADDITIONAL_GLOBAL_VARS_…`, `APP_CONFIG_…`). */
  open: Record<string, string>;
};

const TRUE = new Set(['true', 'yes', 'y', '1', 'on', 'enabled']);
const OPEN_PREFIXES = [
  'WORKSPACE_CONFIG_',
  'WORKSPACE_SECRET_',
  'APP_CONFIG_',
  'APP_SECRET_',
  'ADDITIONAL_GLOBAL_VARS_',
  'WORKSPACES_STORAGE_GIT_PLATFORM_',
  'WORKSPACES_GROUP_',
];

function read(env: Env, setting: Setting): unknown {
  const name = [setting.env, ...(setting.aliases ?? [])].find((candidate) => env[candidate] !== undefined && env[candidate] !== '');
  if (name === undefined) return setting.default;
  const text = env[name] as string;
  if (setting.kind === 'text') return text;
  if (setting.kind === 'boolean') return TRUE.has(text.toLowerCase());
  if (setting.kind === 'list')
    return text
      .split(',')
      .map((item) => item.trim())
      .filter(Boolean);
  const number = Number(text);
  if (!Number.isFinite(number))
    throw fault('ConfigurationError', { message: `${name} must be a number, not '${text}'.`, data: { variable: name } });
  return number;
}

/** Reads and checks every setting. @throws ConfigurationError naming the variable */
export function loadConfig(env: Env = process.env, overrides: Partial<Config> = {}): Config {
  const config: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(SETTINGS)) config[key] = read(env, setting);
  config.dataDir = resolve(String(config.dataDir));
  config.nodeId ??= `node-${process.pid}`;
  config.open = Object.fromEntries(
    Object.entries(env).filter(([name, value]) => value !== undefined && OPEN_PREFIXES.some((prefix) => name.startsWith(prefix))),
  );
  Object.assign(config, overrides);
  config.apiUrl ??= `http://${config.host}:${config.port}/v2`;
  return config as Config;
}

/** Makes DATA_DIR, readable by its owner only. @throws ConfigurationError in one line when it cannot be written */
export function ensureDataDir(config: Config): string {
  try {
    mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
    accessSync(config.dataDir, constants.R_OK | constants.W_OK);
    return config.dataDir;
  } catch (cause) {
    throw fault('ConfigurationError', {
      message: `DATA_DIR '${config.dataDir}' cannot be written: ${(cause as Error).message}`,
      data: { variable: 'DATA_DIR' },
      cause,
    });
  }
}

/** A variable that a configuration file mentions by name. */
export const environmentValue = (name: string): string | undefined => process.env[name];

/** Issuer of tokens. */
export const issuerOf = ({ oidcIssuer, apiUrl }: Pick<Config, 'oidcIssuer' | 'apiUrl'>): string =>
  (oidcIssuer ?? apiUrl.replace(/\/v2\/?$/, '')).replace(/\/$/, '');

const configs = new WeakMap<ServiceBroker, Config>();
let fromEnvironment: Config | undefined;

/** Gives `broker` its configuration (several brokers of one process may differ, as in tests). */
export const useConfig = (broker: ServiceBroker, config: Config): void => void configs.set(broker, config);

/** Configuration of `broker`; the environment's when none was given. */
export function configOf(broker: ServiceBroker): Config {
  const own = configs.get(broker);
  if (own) return own;
  fromEnvironment ??= loadConfig();
  return fromEnvironment;
}
