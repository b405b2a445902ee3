/**
 * elasticsearch — a stand-in that speaks the wire protocol of the part of Elasticsearch we use: it keeps the documents it is sent and executes the queries,
 * sorts and aggregations it is sent, with Elasticsearch's meaning of multi-valued fields. It knows nothing of Conditions.
 *
 * Not covered: analysis, refresh, shards, mapping of dynamic fields, Lucene's regular expressions (JavaScript's are used). TEST_ELASTICSEARCH_URL runs the same
 * suite on a real server.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bucketings } from '../../mixins/storage/datalake/aggregations.buckets.ts';
import { metrics } from '../../mixins/storage/datalake/aggregations.metrics.ts';
import { type AggregationTree, aggregate } from '../../mixins/storage/datalake/aggregations.ts';
import type { Column, Node } from '../../mixins/storage/datalake/aggregations.types.ts';

type Doc = Record<string, any>;
interface Stored {
  index: string;
  id: string;
  source: Doc;
}

export interface ElasticStandIn {
  url: string;
  requests: { method: string; path: string; body: any }[];
  /** Statuses that the next documents of a bulk are refused with, e.g. [429]. */
  refuseNext: number[];
  /** Index templates by name; the type `unheard_of` is refused. */
  templates: Map<string, Record<string, any>>;
  /** Mappings put on indices that are there. */
  mapped: { index: string; properties: any }[];
  indices(): string[];
  stop(): Promise<void>;
}

/** Values of a dotted field: lists are flattened, as Lucene sees them. */
function valuesAt(doc: Doc, field: string): any[] {
  let values: any[] = [doc];
  for (const segment of field.split('.')) {
    values = values
      .flatMap((value) => (Array.isArray(value) ? value : [value]))
      .flatMap((value) => (value !== null && typeof value === 'object' && Object.hasOwn(value, segment) ? [value[segment]] : []));
  }
  return values.flat(Number.POSITIVE_INFINITY).filter((value) => value !== null && value !== undefined && typeof value !== 'object');
}

const isDate = (field: string) => field === 'createdAt' || field === '@timestamp';
const comparable = (field: string, value: any) => (isDate(field) ? (typeof value === 'number' ? value : Date.parse(value)) : value);
/** `words` is analysed: one term per word. */
const termsAt = (doc: Doc, field: string): any[] =>
  (field === 'words' ? String(doc.words ?? '').split(' ') : valuesAt(doc, field)).map((value) => comparable(field, value));
const one = (body: Doc): [string, any] => Object.entries(body)[0] as [string, any];
const globRegex = (glob: string) =>
  new RegExp(
    `^${glob.replace(/\\(.)|([*?])|([.+^${}()|[\]])/gs, (_m, escaped, wild, special) => (escaped ? escaped.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') : wild === '*' ? '.*' : wild === '?' ? '.' : `\\${special}`))}$`,
    's',
  );

const CLAUSES: Record<string, (body: any, doc: Doc) => boolean> = {
  match_all: () => true,
  match_none: () => false,
  bool({ must = [], filter = [], should = [], must_not = [], minimum_should_match }, doc) {
    const list = (value: any) => (Array.isArray(value) ? value : [value]);
    const needed = minimum_should_match ?? (list(must).length + list(filter).length === 0 && list(should).length > 0 ? 1 : 0);
    return (
      [...list(must), ...list(filter)].every((clause) => accepts(clause, doc)) &&
      !list(must_not).some((clause) => accepts(clause, doc)) &&
      list(should).filter((clause) => accepts(clause, doc)).length >= needed
    );
  },
  term(body, doc) {
    const [field, given] = one(body);
    const value = comparable(field, typeof given === 'object' ? given.value : given);
    return termsAt(doc, field).some((term) => (isDate(field) ? term === value : String(term) === String(value)));
  },
  terms(body, doc) {
    const [field, values] = one(body);
    return values.some((value: any) => accepts({ term: { [field]: value } }, doc));
  },
  range(body, doc) {
    const [field, bounds] = one(body);
    const test: Record<string, (a: any, b: any) => boolean> = {
      gt: (a, b) => a > b,
      gte: (a, b) => a >= b,
      lt: (a, b) => a < b,
      lte: (a, b) => a <= b,
    };
    // One value must satisfy all the bounds.
    return termsAt(doc, field).some((value) =>
      Object.entries(bounds).every(([name, bound]) => test[name]?.(value, comparable(field, bound))),
    );
  },
  prefix(body, doc) {
    const [field, value] = one(body);
    return termsAt(doc, field).some((term) => String(term).startsWith(value));
  },
  wildcard(body, doc) {
    const [field, value] = one(body);
    const pattern = globRegex(typeof value === 'object' ? value.value : value);
    return (field === 'json' ? [doc.json] : termsAt(doc, field)).some((term) => pattern.test(String(term)));
  },
  regexp(body, doc) {
    const [field, value] = one(body);
    const pattern = new RegExp(`^(?:${value})$`, 's');
    return termsAt(doc, field).some((term) => pattern.test(String(term)));
  },
  exists: ({ field }, doc) => termsAt(doc, field).length > 0,
};

class BadRequest extends Error {}

function accepts(clause: Doc, doc: Doc): boolean {
  const [name, body] = one(clause);
  const execute = CLAUSES[name];
  if (!execute) throw new BadRequest(`unknown query [${name}]`);
  return execute(body, doc);
}

/** Aggregations as they come over the wire, with their queries kept as queries. */
function treeOf(aggs: Doc): AggregationTree {
  const tree: AggregationTree = new Map();
  for (const [name, { aggs: subs = {}, ...kinds }] of Object.entries(aggs)) {
    const [kind, options] = one(kinds);
    const raw = (query: unknown): Column => ({ where: query as never });
    let columns: Column[];
    if (kind === 'filter') columns = [raw(options)];
    else if (kind === 'filters') columns = (Array.isArray(options.filters) ? options.filters : Object.values(options.filters)).map(raw);
    else columns = (bucketings[kind] ?? metrics[kind])?.columns(options) ?? [];
    if (!bucketings[kind] && !metrics[kind] && !kind.endsWith('_bucket')) throw new BadRequest(`unknown aggregation [${kind}]`);
    tree.set(name, { name, kind, options, subs: treeOf(subs), columns } as Node);
  }
  return tree;
}

function docValue(doc: Doc, field: string): unknown {
  const values = valuesAt(doc, field).map((value) =>
    isDate(field) ? Date.parse(value) : field.startsWith('payload.') ? String(value) : value,
  );
  return values.length === 0 ? null : values.length === 1 ? values[0] : values;
}

function without(source: Doc, excludes: string[] = []): Doc {
  return Object.fromEntries(Object.entries(source).filter(([key]) => !excludes.includes(key)));
}

function compareBy(sort: Doc[]): (a: Stored, b: Stored) => number {
  return (a, b) => {
    for (const key of sort) {
      const [field, { order }] = one(key);
      const read = ({ source }: Stored) => {
        const value = valuesAt(source, field)[0];
        return value === undefined ? undefined : comparable(field, field.startsWith('measures.') ? Number(value) : value);
      };
      const [left, right] = [read(a), read(b)];
      if (left === right) continue;
      if (left === undefined || right === undefined) return left === undefined ? 1 : -1;
      return left < right === (order === 'asc') ? -1 : 1;
    }
    return 0;
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

export async function startElasticStandIn(): Promise<ElasticStandIn> {
  const docs = new Map<string, Stored>();
  const requests: ElasticStandIn['requests'] = [];
  const refuseNext: number[] = [];
  const templates: ElasticStandIn['templates'] = new Map();
  const mapped: ElasticStandIn['mapped'] = [];
  const within = (pattern: string) => {
    const tests = decodeURIComponent(pattern).split(',').map(globRegex);
    return [...docs.values()].filter(({ index }) => tests.some((test) => test.test(index)));
  };

  function bulk(text: string) {
    const lines = text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    const items: Doc[] = [];
    for (let i = 0; i < lines.length; i += 2) {
      const { _index: index, _id: id } = lines[i].create;
      const key = `${index}/${id}`;
      const status = refuseNext.shift() ?? (docs.has(key) ? 409 : 201);
      if (status === 201) docs.set(key, { index, id, source: lines[i + 1] });
      items.push({
        create: { _index: index, _id: id, status, ...(status >= 400 && { error: { type: 'refused', reason: `refused with ${status}` } }) },
      });
    }
    return { took: 1, errors: items.some(({ create }) => create.status >= 400), items };
  }

  function search(pattern: string, body: Doc) {
    const found = within(pattern).filter(({ source }) => accepts(body.query ?? { match_all: {} }, source));
    const total = found.length;
    const from = body.from ?? 0;
    const size = body.size ?? 10;
    if (from + size > 10_000) throw new BadRequest('Result window is too large');
    const hits = [...found].sort(compareBy(body.sort ?? [])).slice(from, from + size);
    const capped = body.track_total_hits === true ? total : Math.min(total, Number(body.track_total_hits ?? 10_000));
    const aggregations =
      body.aggs &&
      aggregate(treeOf(body.aggs), {
        *batches(columns) {
          yield {
            size: found.length,
            batch: columns.map((column) =>
              found.map(({ source }, row) =>
                'row' in column ? row : 'where' in column ? Number(accepts(column.where as never, source)) : docValue(source, column.field),
              ),
            ),
          };
        },
        events: (handles) => handles.map((row) => found[row as number]?.source as never),
      });
    return {
      took: 1,
      timed_out: false,
      hits: {
        ...(body.track_total_hits !== false && { total: { value: capped, relation: capped < total ? 'gte' : 'eq' } }),
        hits: hits.map(({ index, id, source }) => ({ _index: index, _id: id, _source: without(source, body._source?.excludes) })),
      },
      ...(aggregations && { aggregations }),
    };
  }

  function template(method: string, name: string, body: Doc, isCreate: boolean): [number, object] {
    if (method === 'GET') {
      const found = [...templates].filter(([one]) => globRegex(name).test(one));
      if (found.length === 0 && !name.includes('*')) return [404, { error: { reason: `no template ${name}` } }];
      return [200, { index_templates: found.map(([one, index_template]) => ({ name: one, index_template })) }];
    }
    if (method === 'DELETE')
      return templates.delete(name) ? [200, { acknowledged: true }] : [404, { error: { reason: `no template ${name}` } }];
    if (isCreate && templates.has(name)) return [400, { error: { type: 'illegal_argument_exception', reason: 'already exists' } }];
    const types = JSON.stringify(body.template?.mappings ?? {}).match(/"type":"unheard_of"/);
    if (types) return [400, { error: { type: 'mapper_parsing_exception', reason: 'No handler for type [unheard_of]' } }];
    templates.set(name, body);
    return [200, { acknowledged: true }];
  }

  function handle(method: string, path: string, text: string, isCreate: boolean): [number, object] {
    const [, first = '', second = '', third = ''] = path.split('/');
    if (first === '_bulk') return [200, bulk(text)];
    const body = text ? JSON.parse(text) : {};
    if (first === '_index_template') return template(method, decodeURIComponent(second), body, isCreate);
    if (second === '_mapping') {
      mapped.push({ index: first, properties: body.properties });
      return [200, { acknowledged: true }];
    }
    if (second === '_search') return [200, search(first, body)];
    if (second === '_count')
      return [200, { count: within(first).filter(({ source }) => accepts(body.query ?? { match_all: {} }, source)).length }];
    if (second === '_delete_by_query') {
      const gone = within(first).filter(({ source }) => accepts(body.query, source));
      for (const { index, id } of gone) docs.delete(`${index}/${id}`);
      return [200, { deleted: gone.length, failures: [] }];
    }
    if (second === '_doc' && method === 'PUT') {
      docs.set(`${first}/${third}`, { index: first, id: third, source: body });
      return [201, { result: 'created' }];
    }
    if (second === '_doc' && method === 'DELETE')
      return docs.delete(`${first}/${third}`) ? [200, { result: 'deleted' }] : [404, { result: 'not_found' }];
    if (method === 'GET' && first) return [200, Object.fromEntries(within(first).map(({ index }) => [index, {}]))];
    if (method === 'DELETE' && first) {
      for (const { index, id } of within(first)) docs.delete(`${index}/${id}`);
      return [200, { acknowledged: true }];
    }
    return path === '/'
      ? [200, { version: { number: '9.0.0' }, tagline: 'You Know, for Search' }]
      : [404, { error: { reason: `no ${method} ${path}` } }];
  }

  const server = createServer((request, response) => {
    void bodyOf(request).then((text) => {
      const path = (request.url ?? '/').split('?')[0] as string;
      let answer: [number, object];
      try {
        requests.push({ method: request.method as string, path, body: text && !path.endsWith('_bulk') ? JSON.parse(text) : text });
        answer = handle(request.method as string, path, text, /[?&]create=true/.test(request.url ?? ''));
      } catch (error) {
        answer =
          error instanceof BadRequest
            ? [400, { error: { type: 'parsing_exception', reason: error.message }, status: 400 }]
            : [500, { error: { reason: String((error as Error).stack) } }];
      }
      response.writeHead(answer[0], {
        'content-type': 'application/vnd.elasticsearch+json;compatible-with=9',
        'x-elastic-product': 'Elasticsearch',
      });
      response.end(JSON.stringify(answer[1]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    refuseNext,
    templates,
    mapped,
    indices: () => [...new Set([...docs.values()].map(({ index }) => index))].sort(),
    async stop() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
