/** index-file — the fields of a workspace's `index.yml`: what each may hold, and what of them is copied to the row for lists. */
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { isSealed } from '../git/credentials.ts';
import type { WorkspaceRow } from '../store/rows.ts';
import { assertSlug, plainText } from './slugs.ts';
import { assertPlain } from './yaml.ts';

/** Fields a client may write. Everything else of a body is refused, except what reads answer and clients send back (ANSWERED). */
const WRITABLE = [
  'name',
  'slug',
  'description',
  'photo',
  'config',
  'blocks',
  'labels',
  'customDomains',
  'registerWorkspace',
  'repositories',
  'secrets',
  'events',
  'schemas',
] as const;
const ANSWERED = new Set([
  'id',
  'automations',
  'pages',
  'imports',
  'createdAt',
  'createdBy',
  'updatedAt',
  'updatedBy',
  'writeLock',
  'suspension',
  'platformRepositories',
  'permissions',
  'versions',
  'clientId',
  'revision',
  'checksum',
  'dirty',
  'lastPush',
  'workspaceId',
]);
const NAME = /^[0-9A-Za-zÀ-ÖØ-öø-ÿ ,.'’ ()&_-]{1,60}$/u;
const LABEL = /^[0-9A-Za-z._:-]{2,60}$/;
const DOMAIN = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+(?::\d+)?$/i;
const MAX_INDEX_BYTES = 5_000_000;

interface Problem {
  path: string;
  message: string;
}

/**
 * The writable part of a body, checked. `lenient`: of an imported file, whose labels, names and photos were accepted elsewhere; unknown fields are kept.
 * @throws RequestValidationError with all problems · InvalidSlugError
 */
export function checkedIndex(body: unknown, { lenient = false } = {}): JsonObject {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'A workspace must be an object.' });
  assertPlain(body, 'workspace');
  const problems: Problem[] = [];
  const expect = (isOk: boolean, path: string, message: string) => void (isOk || problems.push({ path, message }));
  const fields: JsonObject = {};
  for (const [key, value] of Object.entries(body)) {
    if (value === undefined || ANSWERED.has(key)) continue;
    if (!lenient && !(WRITABLE as readonly string[]).includes(key)) problems.push({ path: key, message: 'is not a field of a workspace' });
    else fields[key] = value;
  }

  const { name, labels, customDomains, photo, config, blocks, repositories, registerWorkspace, description } = fields;
  if (name !== undefined)
    expect(
      typeof name === 'string' && (lenient ? name.length <= 200 : NAME.test(name)),
      'name',
      "must be 1 to 60 letters, digits, spaces or , . ' -",
    );
  if (description !== undefined && description !== null)
    expect(typeof description === 'string' || isPlainObject(description), 'description', 'must be a text, or texts by language');
  if (photo !== undefined && photo !== null && !lenient)
    expect(typeof photo === 'string' && (photo === '' || /^https?:\/\/\S+$/.test(photo)), 'photo', 'must be the address of an image');
  if (labels !== undefined && labels !== null)
    expect(
      Array.isArray(labels) && labels.every((label) => typeof label === 'string' && (lenient || LABEL.test(label))),
      'labels',
      `must be a list of labels matching ${LABEL.source}`,
    );
  if (customDomains !== undefined && customDomains !== null)
    expect(
      Array.isArray(customDomains) && customDomains.every((domain) => typeof domain === 'string' && DOMAIN.test(domain)),
      'customDomains',
      'must be a list of domain names',
    );
  if (registerWorkspace !== undefined && registerWorkspace !== null)
    expect(typeof registerWorkspace === 'boolean', 'registerWorkspace', 'must be true or false');
  if (blocks !== undefined && blocks !== null) expect(isPlainObject(blocks), 'blocks', 'must be a map of blocks by slug');
  if (config !== undefined && config !== null) problems.push(...configProblems(config));
  if (repositories !== undefined && repositories !== null) problems.push(...repositoryProblems(repositories));
  if (problems.length > 0)
    throw fault('RequestValidationError', {
      message: `The workspace is not valid: ${problems.map(({ path, message }) => `${path} ${message}`).join('; ')}.`,
      data: { problems },
    });
  if (fields.slug !== undefined && fields.slug !== null && fields.slug !== '' && !lenient) assertSlug(fields.slug, 'workspace');

  const bytes = Buffer.byteLength(JSON.stringify(fields));
  if (bytes > MAX_INDEX_BYTES) throw fault('PayloadTooLarge', { data: { bytes, maxBytes: MAX_INDEX_BYTES } });
  return fields;
}

/** `schema`, `block` and `value`, nothing else. */
export function configProblems(config: unknown, at = 'config'): Problem[] {
  if (!isPlainObject(config)) return [{ path: at, message: 'must be an object' }];
  const problems: Problem[] = [];
  for (const key of Object.keys(config))
    if (!['schema', 'block', 'value'].includes(key)) problems.push({ path: `${at}.${key}`, message: 'is not one of schema, block, value' });
  if (config.schema !== undefined && config.schema !== null && !isPlainObject(config.schema))
    problems.push({ path: `${at}.schema`, message: 'must be an object' });
  if (config.block !== undefined && config.block !== null && typeof config.block !== 'string')
    problems.push({ path: `${at}.block`, message: 'must be a text' });
  return problems;
}

function repositoryProblems(repositories: unknown): Problem[] {
  if (!isPlainObject(repositories)) return [{ path: 'repositories', message: 'must be a map of repositories' }];
  return Object.entries(repositories).flatMap(([id, repository]) => {
    const at = `repositories.${id}`;
    if (!isPlainObject(repository)) return [{ path: at, message: 'must be an object' }];
    const problems: Problem[] = [];
    if (typeof repository.name !== 'string') problems.push({ path: `${at}.name`, message: 'is required' });
    if (repository.mode !== undefined && !['read-write', 'read-only', 'write-only'].includes(String(repository.mode)))
      problems.push({ path: `${at}.mode`, message: 'must be read-write, read-only or write-only' });
    const type = repository.type ?? 'git';
    if (!['git', 'archive'].includes(String(type))) problems.push({ path: `${at}.type`, message: 'must be git or archive' });
    if (type === 'git') {
      const config = isPlainObject(repository.config) ? repository.config : {};
      const auth = isPlainObject(config.auth) ? config.auth : {};
      const url = typeof config.url === 'string' ? config.url : '';
      if (!url) problems.push({ path: `${at}.config.url`, message: 'is required' });
      else if (!/^(https?:\/\/|git@|ssh:\/\/)/.test(url))
        problems.push({ path: `${at}.config.url`, message: 'must be an https or ssh address' });
      else if (/^\w+:\/\/[^/]*:[^/]*@/.test(url))
        problems.push({ path: `${at}.config.url`, message: 'must not hold a password: give config.auth { user, password }' });
      else if (auth.password && !url.startsWith('http'))
        problems.push({ path: `${at}.config.url`, message: 'must start with https:// when a password is given' });
      if (typeof config.branch !== 'string') problems.push({ path: `${at}.config.branch`, message: 'is required' });
    }
    return problems;
  });
}

/** Fields of the row that repeat the index, for lists and look-ups. Absent ones are `undefined`, so that a write removes them. */
export function rowFieldsOf(index: JsonObject): Partial<WorkspaceRow> {
  const texts = (value: unknown): string[] | undefined => (Array.isArray(value) && value.length > 0 ? value.map(String) : undefined);
  return {
    name: plainText(index.name),
    slug: String(index.slug),
    photo: typeof index.photo === 'string' && index.photo ? index.photo : undefined,
    description: index.description ?? undefined,
    labels: texts(index.labels),
    customDomains: texts(index.customDomains),
    registerWorkspace: index.registerWorkspace === true ? true : undefined,
    hasSealedRepositories: isSealed(index) ? true : undefined,
  } as Partial<WorkspaceRow>;
}
