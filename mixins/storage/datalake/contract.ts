/**
 * datalake — the contract of the event history: years of events, found by field, text and time, counted and aggregated.
 * Every sentence is a test in test/contract/datalake.suite.ts, run on every driver.
 */
import type { PrismeEvent } from '../../shared/event.ts';
import type { JsonObject } from '../../shared/json.ts';

/**
 * Condition on events: the compiled form that mixins/filters produces from subscription filters, search parameters and read rules.
 * One meaning everywhere: `matches(condition, event)` in memory and the store's query agree (shared vectors in test/fixtures/filters).
 */
export type Condition =
  | { all: Condition[] }
  | { any: Condition[] }
  | { not: Condition }
  | { field: string; op: 'eq' | 'ne' | 'gt' | 'gte' | 'lt' | 'lte'; value: string | number | boolean | null }
  | { field: string; op: 'in'; values: (string | number | boolean | null)[] }
  | { field: string; op: 'prefix' | 'suffix' | 'regex' | 'wildcard'; value: string }
  /** `exists`: present and not null; with `truthy`, `""`, 0 and false count as empty too. `empty` is the opposite. */
  | { field: string; op: 'exists' | 'empty'; truthy?: boolean }
  | { text: string };

export interface SearchRequest {
  /** undefined: all workspaces (super admin only). */
  workspaceId?: string;
  where?: Condition;
  /** Read rules, always ANDed: counts and aggregations never see more than the caller may read. */
  readable?: Condition;
  sort?: { field: string; order: 'asc' | 'desc' }[];
  limit?: number;
  page?: number;
  /** Events strictly before or after this event in the order of the sort (createdAt, then id). */
  beforeId?: string;
  afterId?: string;
  /** Aggregations in the subset of Elasticsearch's language listed in docs/events.md. */
  aggs?: Record<string, unknown>;
  /** true: counted exactly · absent: counted up to 10 000 · false: not counted, `total` is the number of events returned. */
  trackTotal?: boolean;
}

export interface SearchResult {
  total: number;
  events: PrismeEvent[];
  aggs?: Record<string, unknown>;
  nextCursor?: string;
}

export interface DatalakeDriver {
  /** Durable on resolve; storing an event again (same id) changes nothing. Returns those the store refused, with the reason. */
  store(events: PrismeEvent[]): Promise<{ refused: { event: PrismeEvent; reason: string }[] }>;
  /**
   * Types that a workspace wants fields to have in the store, for events to come: the mapping of its `events.mapping`, unchanged. What is found does not depend
   * on it. A store without types for fields ignores it. @throws SearchError when the store refuses it; events are kept all the same
   */
  declare(workspaceId: string, mapping: JsonObject): Promise<void>;
  search(request: SearchRequest): Promise<SearchResult>;
  get(workspaceId: string, id: string): Promise<PrismeEvent | null>;
  /** Removes and gives the space back; returns how many. */
  remove(selection: { workspaceId?: string; before?: string; userId?: string; types?: string[] }): Promise<number>;
  /** Writes a mark and removes it again; rejects when the store takes no writes. Nothing of it is ever found or counted. */
  probe(): Promise<void>;
  /** Events and bytes per workspace. */
  usage(workspaceId?: string): Promise<{ workspaceId: string; events: number; bytes: number }[]>;
  close(): Promise<void>;
}
