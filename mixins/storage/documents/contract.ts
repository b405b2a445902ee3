/**
 * documents — the contract of the document store: small JSON records with an id, found by their fields.
 * Every sentence is a test in test/contract/documents.suite.ts, run on every driver.
 */

/** A stored record. `id` is unique in its collection; `_rev` grows by one with each write. */
export interface Stored {
  id: string;
  _rev: number;
}

export type FieldValue = string | number | boolean | null;

/**
 * Fields (dotted paths allowed) → value or operators. Arrays match when one element does. All entries must hold.
 * Only these operators exist; anything else is refused with BadParametersError before a driver sees it.
 */
export type Query = { [field: string]: FieldValue | Operators | Query[] | undefined } & { $and?: Query[]; $or?: Query[]; $nor?: Query[] };
export interface Operators {
  $eq?: FieldValue;
  $ne?: FieldValue;
  $gt?: FieldValue;
  $gte?: FieldValue;
  $lt?: FieldValue;
  $lte?: FieldValue;
  $in?: FieldValue[];
  $nin?: FieldValue[];
  $all?: FieldValue[];
  $exists?: boolean;
  /** RE2 syntax (linear time), at most 200 characters. */
  $regex?: string;
  $options?: 'i' | '';
  $size?: number;
  $not?: Operators;
  $elemMatch?: Query;
}

export interface FindOptions {
  /** Field → 1 ascending, -1 descending. Default: by id. */
  sort?: Record<string, 1 | -1>;
  /** Default and maximum: 2000. */
  limit?: number;
  skip?: number;
}

export interface Collection {
  name: string;
  /** Fields (or groups of fields) searched often. */
  indexes?: (string | string[])[];
  /** Groups of fields that no two records share; records that lack one of the fields are not concerned. */
  uniques?: (string | string[])[];
  /** Field holding an expiry as milliseconds since the epoch; expired records are never returned and removed in time. */
  expiresAt?: string;
}

/** Values to set and dotted paths to remove; a path may not be or cross `id` or `_rev`. */
export interface Patch {
  set?: Record<string, unknown>;
  unset?: string[];
}

export interface DocumentsDriver {
  /** Makes the collection and its indexes when absent; may be called again by another process. */
  open(collection: Collection): Promise<void>;
  /** The record, or `null`. */
  get<T extends Stored>(collection: string, id: string): Promise<T | null>;
  find<T extends Stored>(collection: string, query: Query, options?: FindOptions): Promise<T[]>;
  count(collection: string, query: Query): Promise<number>;
  /** @throws AlreadyUsedError with `data.fields` when the id or a unique group is taken; nothing is written */
  insert<T extends Stored>(collection: string, record: Omit<T, '_rev'>): Promise<T>;
  /**
   * Applies `patch` atomically and returns the new record.
   * @param ifRevision write only over this `_rev`
   * @throws ObjectNotFoundError · VersionConflict · AlreadyUsedError
   */
  update<T extends Stored>(collection: string, id: string, patch: Patch, ifRevision?: number): Promise<T>;
  /** Whether there was one to remove. */
  remove(collection: string, id: string): Promise<boolean>;
  /** How many were removed. An empty query removes all of the collection. */
  removeMany(collection: string, query: Query): Promise<number>;
  close(): Promise<void>;
}
