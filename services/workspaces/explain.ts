/** explain — why somebody may or may not do a thing in a workspace: the rule that decided, where it is written, and those it was stronger than. */
import type { Caller } from '../../mixins/auth/abilities/build.ts';
import type { Explanation, SubjectType } from '../../mixins/auth/contract.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { findApiKey } from './api-keys.ts';
import type { Call, Self } from './editing.mixin.ts';
import type { FileRow, PageRow, WorkspaceRow } from './store/rows.ts';

const SUBJECTS = new Set(['workspaces', 'apps', 'pages', 'files', 'secrets', 'secure_secrets', 'events', 'automations', 'roles']);

export interface Question {
  action: string;
  subject: SubjectType;
  /** About whom; absent: about nobody, a visitor without credential. */
  userId?: string;
  sessionId?: string;
  authData?: JsonObject;
  /** Id of an API key that goes with the request. */
  apiKey?: string;
  /** Object of that kind, by id; secrets and automations by name. */
  id?: string;
  /** Fields of an object that is only imagined. */
  object?: JsonObject;
}

export type ExplainAnswer = Explanation & { action: string; subject: string; id?: string; role?: string };

function checked(body: unknown): Question {
  const problems: { path: string; message: string }[] = [];
  const given: JsonObject = isPlainObject(body) ? body : {};
  for (const name of ['action', 'subject', 'userId', 'sessionId', 'apiKey', 'id'])
    if (given[name] !== undefined && (typeof given[name] !== 'string' || given[name] === '' || given[name].length > 300))
      problems.push({ path: name, message: 'must be a text' });
  for (const name of ['authData', 'object'])
    if (given[name] !== undefined && !isPlainObject(given[name])) problems.push({ path: name, message: 'must be an object' });
  if (given.action === undefined) problems.push({ path: 'action', message: 'is required' });
  if (!SUBJECTS.has(String(given.subject))) problems.push({ path: 'subject', message: `must be one of ${[...SUBJECTS].join(', ')}` });
  if (problems.length > 0)
    throw fault('RequestValidationError', {
      message: `The question must be { action, subject, userId?, apiKey?, id?, object? }: ${problems.map(({ path, message }) => `${path} ${message}`).join('; ')}.`,
      data: { problems },
    });
  return given as unknown as Question;
}

/** The object in question as the services judge it. @throws ObjectNotFoundError */
async function objectOf(self: Self, row: WorkspaceRow, { subject, id, object = {} }: Question): Promise<JsonObject> {
  const missing = () =>
    fault('ObjectNotFoundError', { message: `There is no ${subject} '${id}' here.`, data: { subjectType: subject, id } });
  const own = { workspaceId: row.id };
  switch (subject) {
    case 'workspaces':
      return { id: row.id, slug: row.slug, name: row.name, permissions: row.permissions };
    case 'events':
      return {
        ...object,
        source: { serviceTopic: EMIT_TOPIC, ...(isPlainObject(object.source) ? object.source : {}), workspaceId: row.id },
      };
    case 'automations': {
      const { snapshot } = await self.store.current(row.id);
      const automation = id === undefined ? object : Object.hasOwn(snapshot.automations, id) ? snapshot.automations[id] : undefined;
      if (!automation) throw missing();
      return {
        ...(isPlainObject(automation.authorizations) ? { authorizations: automation.authorizations } : {}),
        runningWorkspaceId: row.id,
      };
    }
    case 'roles':
      return { subjectId: row.id, subjectType: 'workspaces' };
    case 'pages': {
      if (id === undefined) return { ...object, ...own };
      const { snapshot } = await self.store.current(row.id);
      const page =
        Object.values(snapshot.pages).find((one) => one.id === id) ?? (Object.hasOwn(snapshot.pages, id) ? snapshot.pages[id] : undefined);
      if (!page) throw missing();
      const shared = await self.store.documents.get<PageRow>('pages', String(page.id));
      return { ...page, ...own, permissions: (shared?.workspaceId === row.id && shared.permissions) || {} };
    }
    case 'files': {
      if (id === undefined) return { ...object, ...own };
      const file = await self.store.documents.get<FileRow>('files', id);
      if (file?.workspaceId !== row.id) throw missing();
      const { shareToken: _token, _rev, ...shown } = file;
      return shown;
    }
    default:
      return { ...object, ...own, ...(id === undefined ? {} : { name: id }) };
  }
}

/** @throws RequestValidationError · ObjectNotFoundError */
export async function explainAccess(self: Self, ctx: Call<any>, row: WorkspaceRow, body: unknown): Promise<ExplainAnswer> {
  const question = checked(body);
  const { userId, sessionId, authData } = question;
  const key = question.apiKey === undefined ? undefined : await findApiKey(self.store, row.id, question.apiKey);
  const caller: Caller = {
    kind: userId ? 'user' : 'none',
    correlationId: self.identityOf(ctx).correlationId,
    ...(userId ? { userId } : {}),
    ...(sessionId ? { sessionId } : {}),
    // What he asks about he states: it is judged as if it had been proven.
    ...(authData ? { authData, emailVerified: true } : {}),
    ...(key && !key.disabled ? { apiKeyHash: key.hash } : {}),
  };
  const ability = await self.abilityFor(caller, row.id);
  const object = await objectOf(self, row, question);
  return {
    action: question.action,
    subject: question.subject,
    ...(question.id ? { id: question.id } : {}),
    ...(ability.role ? { role: ability.role } : {}),
    ...ability.explain(question.action, question.subject, object),
  };
}
