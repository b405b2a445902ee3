/**
 * access-bindings — what a workspace has bound to people, groups and organisations. A binding is of the workspace and of the organisation in which it was
 * made: runs see and change those of the organisation that the person behind them acts in. Schedules, behind which there is nobody, have all of their
 * workspace.
 */
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { ulid } from '../../../mixins/shared/ids.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { Collection, FindOptions, Query, Stored } from '../../../mixins/storage/documents/contract.ts';
import { derivedUlid, sourceOf } from '../native-events.ts';
import type { Standing } from '../organisations.ts';
import type { Module, ModuleCall, ModuleServices } from './index.ts';

export interface Binding extends Stored {
  workspaceId: string;
  resourceType: string;
  resourceId: string;
  principalType: 'user' | 'org' | 'group';
  principalId: string;
  orgSlug: string;
  grantedBy: string;
  email?: string;
  roleSlug?: string;
  createdAt: string;
  updatedAt: string;
}

export const BINDINGS: Collection = {
  name: 'runtime_bindings',
  indexes: [['workspaceId', 'resourceType', 'principalType', 'principalId']],
  uniques: [['workspaceId', 'resourceType', 'resourceId', 'principalType', 'principalId']],
};
const MAX = 2000;
const FIELDS = [
  'id',
  'resourceType',
  'resourceId',
  'principalType',
  'principalId',
  'orgSlug',
  'grantedBy',
  'email',
  'roleSlug',
  'createdAt',
  'updatedAt',
];
const SETTABLE = ['resourceType', 'resourceId', 'principalType', 'principalId', 'email', 'roleSlug'];

const bad = (message: string) => fault('InvalidInstructionError', { message: `access-manager: ${message}` });

const opened = new WeakSet<object>();
async function store({ documents }: ModuleServices): Promise<ModuleServices['documents']> {
  if (!opened.has(documents)) {
    await documents.open(BINDINGS);
    opened.add(documents);
  }
  return documents;
}

/** Bindings of a deleted workspace go with it. */
export async function removeBindingsOf(documents: ModuleServices['documents'], workspaceId: string): Promise<void> {
  await documents.open(BINDINGS);
  await documents.removeMany(BINDINGS.name, { workspaceId });
}

function checkFields(query: unknown): void {
  if (Array.isArray(query)) {
    for (const one of query) checkFields(one);
    return;
  }
  if (!isPlainObject(query)) throw bad('query must be an object.');
  for (const [name, value] of Object.entries(query)) {
    if (name === '$and' || name === '$or' || name === '$nor') checkFields(value);
    else if (!FIELDS.includes(name)) throw bad(`bindings have no field '${name}'. Fields: ${FIELDS.join(', ')}.`);
  }
}

/** The caller's query within his workspace and his organisation. */
async function scoped({ parameters, request, services }: ModuleCall): Promise<Query> {
  const query = parameters.query ?? {};
  checkFields(query);
  const all: Query[] = [{ workspaceId: request.workspaceId }, query as Query];
  // Nobody who asks by the web is not the workspace itself.
  if (request.trigger.type !== 'schedule' || request.identity.userId !== undefined) {
    const standing = await services.organisations.of(request);
    // No slug is empty: whoever acts in no organisation finds nothing.
    all.push({ orgSlug: (standing?.org?.slug as string | undefined) ?? '' });
  }
  return { $and: all };
}

function optionsOf({ parameters }: ModuleCall): FindOptions {
  const { limit = 100, page = 0, sort } = isPlainObject(parameters.options) ? { ...parameters, ...parameters.options } : parameters;
  const count = Math.min(Math.max(Math.trunc(Number(limit)) || 100, 1), MAX);
  if (sort !== undefined) checkFields(sort);
  return {
    limit: count,
    skip: Math.max(Math.trunc(Number(page)) || 0, 0) * count,
    sort: (sort as FindOptions['sort']) ?? { createdAt: 1, id: 1 },
  };
}

const shown = ({ _rev, workspaceId: _workspace, ...binding }: Binding): JsonObject => binding;

/** Native, as the platform's own word about this workspace. */
const tell = ({ services, request, frame, operation }: ModuleCall, action: 'created' | 'deleted', payload: JsonObject) => {
  const type = `access-manager.bindings.${action}`;
  return services.bus.send(type, payload, {
    ...(operation ? { id: derivedUlid(operation.at, `${operation.key}/event`) } : {}),
    // Of who started the run, whoever it poses as: the platform's own word is believed.
    source: {
      ...sourceOf(request, { ...frame, identity: request.identity }, { withUser: true }),
      serviceTopic: type,
    },
    topic: type,
  });
};

async function insertBinding(call: ModuleCall): Promise<JsonObject> {
  const { parameters, request, services, operation } = call;
  const { data } = parameters;
  if (!isPlainObject(data)) throw bad('insertBinding needs data.');
  const standing = await services.organisations.of(request);
  const orgSlug = standing?.org?.slug as string | undefined;
  if (!standing || !orgSlug) throw fault('ForbiddenError', { message: 'Only somebody who acts in an organisation can bind things in it.' });
  if (data.orgSlug !== undefined && data.orgSlug !== orgSlug)
    throw fault('ForbiddenError', { message: `This run acts in '${orgSlug}', not in '${String(data.orgSlug)}'.`, data: { orgSlug } });
  const given: JsonObject = {};
  for (const name of SETTABLE) {
    const value = data[name];
    if (value === undefined || value === null) continue;
    if (typeof value !== 'string' || value === '' || value.length > 200) throw bad(`data.${name} must be a text of 1 to 200 characters.`);
    given[name] = value;
  }
  for (const name of ['resourceType', 'resourceId', 'principalType', 'principalId'])
    if (given[name] === undefined) throw bad(`data.${name} is required.`);
  if (/[:*]/.test(given.resourceType as string)) throw bad('data.resourceType holds no colon and no star.');
  if (!['user', 'org', 'group'].includes(given.principalType as string)) throw bad('data.principalType is user, org or group.');
  const documents = await store(services);
  const now = new Date(operation?.at ?? Date.now()).toISOString();
  const id = operation ? derivedUlid(operation.at, operation.key) : ulid();
  const row = {
    ...given,
    id,
    workspaceId: request.workspaceId,
    orgSlug,
    grantedBy: standing.userId,
    createdAt: now,
    updatedAt: now,
  } as Omit<Binding, '_rev'>;
  let binding: Binding;
  try {
    binding = await documents.insert<Binding>(BINDINGS.name, row);
  } catch (error) {
    // Done before this node took the run over.
    const done = operation && isFault(error, 'AlreadyUsedError') ? await documents.get<Binding>(BINDINGS.name, id) : null;
    if (!done) throw error;
    binding = done;
  }
  await tell(call, 'created', shown(binding));
  return shown(binding);
}

async function updateBinding(call: ModuleCall): Promise<JsonObject | null> {
  const { data } = call.parameters;
  if (!isPlainObject(data) || Object.keys(data).some((name) => name !== 'roleSlug')) throw bad('updateBinding changes roleSlug only.');
  const { roleSlug } = data;
  if (roleSlug !== null && (typeof roleSlug !== 'string' || roleSlug === '' || roleSlug.length > 200))
    throw bad('data.roleSlug must be a text, or null.');
  const documents = await store(call.services);
  const [found] = await documents.find<Binding>(BINDINGS.name, await scoped(call), { limit: 1, sort: { createdAt: 1, id: 1 } });
  if (!found) return null;
  const set = { updatedAt: new Date().toISOString(), ...(roleSlug === null ? {} : { roleSlug }) };
  return shown(await documents.update<Binding>(BINDINGS.name, found.id, { set, ...(roleSlug === null ? { unset: ['roleSlug'] } : {}) }));
}

async function remove(call: ModuleCall, limit: number): Promise<number> {
  const { query } = call.parameters;
  if (!isPlainObject(query) || Object.keys(query).length === 0) throw bad('a deletion needs a query that says which bindings.');
  const documents = await store(call.services);
  const within = await scoped(call);
  let deleted = 0;
  for (;;) {
    const found = await documents.find<Binding>(BINDINGS.name, within, { limit: Math.min(limit, 500), sort: { createdAt: 1, id: 1 } });
    const gone: Binding[] = [];
    for (const binding of found) if (await documents.remove(BINDINGS.name, binding.id)) gone.push(binding);
    deleted += gone.length;
    if (gone.length > 0)
      await tell({ ...call, operation: undefined } as ModuleCall, 'deleted', { bindings: gone.map(shown), count: gone.length });
    if (limit === 1 || found.length < 500) return deleted;
  }
}

async function find(call: ModuleCall): Promise<JsonObject[]> {
  const documents = await store(call.services);
  return (await documents.find<Binding>(BINDINGS.name, await scoped(call), optionsOf(call))).map(shown);
}
const count = async (call: ModuleCall): Promise<number> => (await store(call.services)).count(BINDINGS.name, await scoped(call));

export const bindingFunctions: Module = {
  findBindings: find,
  findAndCountBindings: async (call) => ({ items: await find(call), total: await count(call) }),
  countBindings: count,
  insertBinding,
  updateBinding,
  deleteOneBinding: async (call) => ({ deletedCount: await remove(call, 1) }),
  deleteManyBindings: async (call) => ({ deletedCount: await remove(call, MAX) }),
};

/** The bindings of one thing (or of all of a type) that are for somebody, and whether others than his organisation have bound it and it has not. */
export async function bindingsOf(
  { services, request }: ModuleCall,
  { userId, org }: Standing,
  resourceType: string,
  resourceId: string | undefined,
): Promise<{ own: Binding[]; isOfOthers: boolean }> {
  const documents = await store(services);
  const orgSlug = String(org?.slug);
  const thing: Query = { workspaceId: request.workspaceId, resourceType, ...(resourceId === undefined ? {} : { resourceId }) };
  const groups = Array.isArray(org?.groups) ? (org.groups as string[]) : [];
  // A group is of one organisation, and so is what somebody may do as a member of it; only a whole organisation is bound by others.
  const principals: Query[] = [
    { principalType: 'user', principalId: userId, orgSlug },
    ...(groups.length ? [{ principalType: 'group', principalId: { $in: groups }, orgSlug } as Query] : []),
    { principalType: 'org', principalId: orgSlug },
  ];
  const own = await documents.find<Binding>(
    BINDINGS.name,
    { $and: [thing, { $or: principals }] },
    { limit: MAX, sort: { createdAt: 1, id: 1 } },
  );
  if (resourceId === undefined) return { own, isOfOthers: false };
  const [all, ours] = [await documents.count(BINDINGS.name, thing), await documents.count(BINDINGS.name, { $and: [thing, { orgSlug }] })];
  return { own, isOfOthers: all > 0 && ours === 0 };
}
