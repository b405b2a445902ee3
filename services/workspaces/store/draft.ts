/** draft — one change of a workspace while it is being prepared: reads see its own changes, nothing is written before the commit. */
import { isDeepStrictEqual } from 'node:util';
import { fault } from '../../../mixins/shared/errors.ts';
import type { EventSource } from '../../../mixins/shared/event.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { Kind } from '../dsul/layout.ts';
import { INDEX_FILE, objectFile, SECURITY_FILE } from '../dsul/layout.ts';
import { editYaml } from '../dsul/yaml.ts';
import type { WorkspaceRow } from './rows.ts';
import { audit, checksumOf, type Meta, type ObjectMeta, type Snapshot } from './snapshot.ts';
import type { Step } from './steps.ts';

export interface OutEvent {
  type: string;
  payload: JsonObject;
  source?: Partial<EventSource>;
}

/** Objects of one kind that a workspace may hold. */
export const MAX_OBJECTS = 5000;

/** Who makes the change; also the source of its events. */
export interface Author {
  userId?: string;
  source: Partial<EventSource>;
}

export interface Draft {
  /** As committed before this change. */
  readonly row: WorkspaceRow;
  /** As committed before this change. */
  readonly before: Snapshot;
  readonly now: string;
  readonly author: Author;
  has(kind: Kind, slug: string): boolean;
  get(kind: Kind, slug: string): JsonObject | undefined;
  all(kind: Kind): Readonly<Record<string, JsonObject>>;
  meta(kind: Kind, slug: string): ObjectMeta | undefined;
  readonly index: JsonObject;
  readonly security: JsonObject;
  /** Writes an object; `oldSlug` renames it. `text`: its YAML as a person wrote it. False when nothing differs. */
  put(kind: Kind, slug: string, value: JsonObject, options?: { oldSlug?: string; text?: string }): boolean;
  remove(kind: Kind, slug: string): boolean;
  putIndex(value: JsonObject, text?: string): boolean;
  putSecurity(value: JsonObject, text?: string): boolean;
  /** Gives the index, already put, the comments and order of another text. */
  restyle(name: 'index', text: string, value: JsonObject): void;
  putOrigin(origin: JsonObject): void;
  /** Fields of the row to set; `undefined` removes one. */
  setRow(fields: Partial<WorkspaceRow>): void;
  step(...steps: Step[]): void;
  event(type: string, payload: JsonObject, source?: Partial<EventSource>): void;
  /** Counts as a change of the model even without a change of files (secrets). */
  touch(): void;
}

/** What the store makes of a draft. */
export interface DraftResult {
  /** Path below the version folder → new value (text when given), or null to remove. */
  files: Map<string, { value: JsonObject; text?: string } | null>;
  snapshot: Snapshot;
  before: Snapshot;
  rowFields: Partial<WorkspaceRow>;
  steps: Step[];
  events: OutEvent[];
  /** The file that tells who changed what must be written again. */
  isMetaChanged: boolean;
  isChanged: boolean;
}

export function openDraft(row: WorkspaceRow, before: Snapshot, author: Author, now: string): Draft & { finish(): DraftResult } {
  const revision = row.revision + 1;
  const next: Snapshot = {
    ...before,
    revision,
    automations: { ...before.automations },
    pages: { ...before.pages },
    imports: { ...before.imports },
    meta: {
      ...before.meta,
      automations: { ...before.meta.automations },
      pages: { ...before.meta.pages },
      imports: { ...before.meta.imports },
    } as Meta,
  };
  const files: DraftResult['files'] = new Map();
  const steps: Step[] = [];
  const events: OutEvent[] = [];
  const rowFields: Partial<WorkspaceRow> = {};
  let isTouched = false;
  let isOriginNew = false;

  const putFile = (name: 'index' | 'security', path: string, value: JsonObject, text?: string): boolean => {
    if (isDeepStrictEqual(next[name], value) && before.revision > 0) return false;
    next[name] = value;
    next.meta[name] = { ...stamp(next.meta[name]), checksum: checksumOf(value), revision };
    files.set(path, { value, ...(text === undefined ? {} : { text }) });
    return true;
  };
  const stamp = (previous?: ObjectMeta) => ({
    ...(previous ? audit(previous) : { createdAt: now, ...(author.userId ? { createdBy: author.userId } : {}) }),
    updatedAt: now,
    ...(author.userId ? { updatedBy: author.userId } : {}),
  });

  return {
    row,
    before,
    now,
    author,
    has: (kind, slug) => Object.hasOwn(next[kind], slug),
    get: (kind, slug) => (Object.hasOwn(next[kind], slug) ? next[kind][slug] : undefined),
    all: (kind) => next[kind],
    meta: (kind, slug) => (Object.hasOwn(next.meta[kind], slug) ? next.meta[kind][slug] : undefined),
    get index() {
      return next.index;
    },
    get security() {
      return next.security;
    },
    put(kind, slug, value, { oldSlug = slug, text } = {}) {
      const previous = Object.hasOwn(next.meta[kind], oldSlug) ? next.meta[kind][oldSlug] : undefined;
      if (oldSlug === slug && Object.hasOwn(next[kind], slug) && isDeepStrictEqual(next[kind][slug], value)) return false;
      if (!Object.hasOwn(next[kind], slug) && Object.keys(next[kind]).length >= MAX_OBJECTS && oldSlug === slug)
        throw fault('LimitExceededError', {
          message: `A workspace holds at most ${MAX_OBJECTS} ${kind}.`,
          data: { kind, limit: MAX_OBJECTS },
        });
      if (oldSlug !== slug) {
        delete next[kind][oldSlug];
        delete next.meta[kind][oldSlug];
        files.set(objectFile(kind, oldSlug), null);
      }
      next[kind][slug] = value;
      next.meta[kind][slug] = { ...stamp(previous), checksum: checksumOf(value), revision };
      files.set(objectFile(kind, slug), { value, ...(text === undefined ? {} : { text }) });
      return true;
    },
    remove(kind, slug) {
      if (!Object.hasOwn(next[kind], slug)) return false;
      delete next[kind][slug];
      delete next.meta[kind][slug];
      files.set(objectFile(kind, slug), null);
      return true;
    },
    putIndex: (value, text) => putFile('index', INDEX_FILE, value, text),
    putSecurity: (value, text) => putFile('security', SECURITY_FILE, value, text),
    restyle(_name, text, value) {
      if (files.has(INDEX_FILE)) files.set(INDEX_FILE, { value, text: editYaml(text, value, INDEX_FILE) });
    },
    putOrigin(origin) {
      next.meta.origin = origin;
      isOriginNew = true;
      isTouched = true;
    },
    setRow(fields) {
      Object.assign(rowFields, fields);
    },
    step: (...more) => void steps.push(...more),
    event: (type, payload, source) => void events.push({ type, payload, ...(source ? { source } : {}) }),
    touch() {
      isTouched = true;
    },
    finish: () => ({
      files,
      snapshot: next,
      before,
      rowFields,
      steps,
      events,
      isMetaChanged: isOriginNew || files.size > 0,
      isChanged: isTouched || files.size > 0 || steps.length > 0 || events.length > 0 || Object.keys(rowFields).length > 0,
    }),
  };
}
