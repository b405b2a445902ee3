/**
 * elasticsearch.own — indices of the workspaces that declare a mapping (`events.mapping`). Its types are nobody else's business: such a workspace gets indices
 * of its own, one per month, from a template that holds the mapping as it was given beside our fields, which it cannot change.
 *
 * The template remembers since when: an event belongs to the index of its `createdAt`, on every node and whenever it is stored again. A new field is there for
 * later events; a type that changes waits for the index of the next month.
 */
import { createHash } from 'node:crypto';
import { type Client, errors } from '@elastic/elasticsearch';
import { fault } from '../../../shared/errors.ts';
import type { PrismeEvent } from '../../../shared/event.ts';
import { isPlainObject, type JsonObject } from '../../../shared/json.ts';
import { indexTemplate } from './elasticsearch.document.ts';

export interface OwnIndices {
  /** Reads which workspaces have indices of their own. */
  load(): Promise<void>;
  /** @throws SearchError when the server refuses the mapping */
  declare(workspaceId: string, mapping: JsonObject): Promise<void>;
  /** Gives back the indices and the template of a workspace that is gone. */
  forget(workspaceId: string): Promise<void>;
  /** Name of the index without its month, for an event that belongs to such a workspace. */
  of(event: PrismeEvent): string | undefined;
}

type Declared = { workspaceId: string; since: string; mapping: string };

/** Lower case makes ids meet that differ by it alone; a digest does not. */
const nameOf = (prefix: string, workspaceId: string) =>
  `${prefix}-own-${createHash('sha256').update(workspaceId).digest('hex').slice(0, 20)}`;

/** The fields of a mapping, given as `{ properties }` or as the fields themselves, with ours above them. */
function mappingsWith(base: JsonObject, mapping: JsonObject): JsonObject {
  const given = isPlainObject(mapping.properties) ? mapping.properties : mapping;
  const ours = base.properties as JsonObject;
  const aggPayload = { ...(ours.aggPayload as JsonObject), ...(isPlainObject(given.aggPayload) ? given.aggPayload : {}) };
  return { ...base, properties: { ...given, ...ours, aggPayload } };
}

export function ownIndices(client: Client, prefix: string): OwnIndices {
  const known = new Map<string, Declared>();
  const statusOf = (error: unknown) => (error instanceof errors.ResponseError ? error.statusCode : undefined);

  async function read(name: string): Promise<Declared[]> {
    try {
      const { index_templates: found } = await client.indices.getIndexTemplate({ name });
      return found.flatMap(({ index_template: { _meta: meta } }) => (meta?.workspaceId ? [meta as unknown as Declared] : []));
    } catch (error) {
      if (statusOf(error) === 404) return [];
      throw error;
    }
  }

  return {
    async load() {
      for (const one of await read(`${prefix}-own-*`)) known.set(one.workspaceId, one);
    },
    of({ source: { workspaceId }, createdAt }) {
      const found = workspaceId === undefined ? undefined : known.get(workspaceId);
      return found && createdAt >= found.since ? nameOf(prefix, found.workspaceId) : undefined;
    },
    async forget(workspaceId) {
      const name = nameOf(prefix, workspaceId);
      if (!known.delete(workspaceId) && (await read(name)).length === 0) return;
      // Servers refuse to delete by pattern.
      const indices = Object.keys(await client.indices.get({ index: `${name}-*`, allow_no_indices: true, ignore_unavailable: true }));
      if (indices.length > 0) await client.indices.delete({ index: indices, ignore_unavailable: true });
      await client.indices.deleteIndexTemplate({ name }, { ignore: [404] });
    },
    async declare(workspaceId, mapping) {
      const text = JSON.stringify(mapping);
      const name = nameOf(prefix, workspaceId);
      if (known.get(workspaceId)?.mapping === text) return;
      const before = (await read(name))[0];
      if (before) known.set(workspaceId, before);
      if (before?.mapping === text) return;
      const meta: Declared = { workspaceId, since: before?.since ?? new Date().toISOString(), mapping: text };
      const { template, ...base } = indexTemplate(prefix) as { template: { mappings: JsonObject } } & JsonObject;
      const mappings = mappingsWith(template.mappings, mapping);
      const body = { ...base, name, index_patterns: [`${name}-*`], priority: 600, template: { ...template, mappings }, _meta: meta };
      try {
        await client.indices.putIndexTemplate({ ...body, create: before === undefined } as never);
      } catch (error) {
        if (statusOf(error) !== 400) throw error;
        // Another node was first: its moment counts.
        const [first] = before ? [] : await read(name);
        if (!first)
          throw fault('SearchError', { message: `The event history refuses the mapping of workspace '${workspaceId}'.`, cause: error });
        known.set(workspaceId, first);
        return;
      }
      known.set(workspaceId, meta);
      if (before) await extend(`${name}-*`, mappings.properties as JsonObject);
    },
  };

  /** New fields reach the index of this month too; a changed type is refused, and waits for the next. */
  async function extend(index: string, properties: JsonObject): Promise<void> {
    try {
      await client.indices.putMapping({ index, properties: properties as never, allow_no_indices: true, ignore_unavailable: true });
    } catch (error) {
      if (statusOf(error) !== 400 && statusOf(error) !== 404) throw error;
    }
  }
}
