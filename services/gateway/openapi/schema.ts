/** schema — the shapes of requests and answers, by action. JSON Schema 2020-12, as OpenAPI 3.1 uses it. Unknown fields pass: clients may be newer than this node. */
import type { JsonObject } from '../../../mixins/shared/json.ts';

export interface ActionSchema {
  /** Of a JSON body. Absent: any object. `null`: any value. */
  body?: JsonObject | null;
  /** By parameter; values are texts, or lists of texts. */
  query?: Record<string, JsonObject>;
  /** Path parameters that are not just any text. */
  params?: Record<string, JsonObject>;
  /** Of a 200 answer. */
  answer?: JsonObject;
  /** Media type of the answer, when it is not JSON. */
  answerType?: string;
}

/** Adds `null`: a client that sends a field it does not know the value of means "leave it". */
const orNull = (type: string) => ({ type: [type, 'null'] });
export const text = { type: 'string' };
export const maybeText = orNull('string');
export const flag = { type: 'boolean' };
export const integer = { type: 'integer' };
export const texts = { type: 'array', items: text };
export const map = { type: 'object' };
export const maybeMap = orNull('object');
export const anything: JsonObject = {};
export const date = { type: 'string', format: 'date-time' };
export const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
export const listOf = (items: JsonObject) => ({ type: 'array', items });

export const object = (properties: Record<string, JsonObject>, required: string[] = []): JsonObject => ({
  type: 'object',
  properties,
  ...(required.length ? { required } : {}),
});

export const success = object({ success: flag }, ['success']);
export const wholeNumber = { type: 'string', pattern: '^\\d{1,9}$' };
export const truth = { type: 'string', pattern: '^(true|false|0|1|)$' };
export const paging = { page: wholeNumber, limit: wholeNumber };

/** Schemas named in the document. */
export const COMPONENTS: Record<string, JsonObject> = {
  Error: object({ error: text, message: text, details: anything }, ['error', 'message']),
  User: object(
    {
      id: text,
      email: text,
      status: { enum: ['pending', 'validated', 'deactivated'] },
      firstName: text,
      lastName: text,
      photo: text,
      language: text,
      mfa: { enum: ['totp', 'none'] },
      authData: map,
      meta: map,
      groups: texts,
      platformRole: text,
    },
    ['id', 'status', 'authData'],
  ),
  Session: object({ token: text, sessionId: text, expires: date }, ['token', 'sessionId', 'expires']),
  Contact: object({ id: text, firstName: text, lastName: text, photo: text, groups: texts }, ['id']),
  AccessToken: object({ id: text, name: text, token: text, scopes: texts, expiresAt: date, createdAt: date, lastUsedAt: date }, [
    'id',
    'name',
    'token',
  ]),
  Workspace: object({ id: text, name: text, slug: text, description: text, photo: text, labels: texts, config: map }, ['id', 'name']),
  Automation: object({
    name: text,
    slug: text,
    description: anything,
    do: listOf(anything),
    when: map,
    arguments: map,
    output: anything,
    disabled: flag,
  }),
  Event: object({ id: text, type: text, createdAt: date, source: map, payload: anything }, ['id', 'type', 'createdAt']),
  Jwks: object({ keys: listOf(map) }, ['keys']),
};
