/** snapshot — everything of one version of a workspace (or app), read from its folder. Never changed: a change makes the next one. */
import { createHash } from 'node:crypto';
import { toPublicError } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject, parseJson } from '../../../mixins/shared/json.ts';
import type { FilesDriver } from '../../../mixins/storage/files/contract.ts';
import { breather } from '../breath.ts';
import { classify, FOLDER_INDEX, KINDS, type Kind } from '../dsul/layout.ts';
import { readYaml } from '../dsul/yaml.ts';

export interface ObjectMeta {
  createdAt?: string;
  createdBy?: string;
  updatedAt?: string;
  updatedBy?: string;
  /** Of the content: the object's ETag. */
  checksum: string;
  /** Revision of the workspace at which it last changed. */
  revision: number;
}

export interface Meta {
  automations: Record<string, ObjectMeta>;
  pages: Record<string, ObjectMeta>;
  imports: Record<string, ObjectMeta>;
  index?: ObjectMeta;
  security?: ObjectMeta;
  /** Checksums and version recorded by the last import or export: what `status` compares with. */
  origin?: JsonObject;
}

export interface Snapshot {
  revision: number;
  index: JsonObject;
  security: JsonObject;
  automations: Record<string, JsonObject>;
  pages: Record<string, JsonObject>;
  imports: Record<string, JsonObject>;
  meta: Meta;
  /** Files that could not be read. They stay on disk and are left out. */
  errors: { file: string; error: string; message: string }[];
}

const PARALLEL = 32;
const MAX_META_BYTES = 50_000_000;

/** Hash of a value's JSON text with sorted keys: 32 hexadecimal characters. */
export function checksumOf(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex').slice(0, 32);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (isPlainObject(value))
    return `{${Object.keys(value)
      .filter((key) => value[key] !== undefined)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)
      .join(',')}}`;
  return JSON.stringify(value) ?? 'null';
}

export const emptySnapshot = (): Snapshot => ({
  revision: 0,
  index: {},
  security: {},
  automations: {},
  pages: {},
  imports: {},
  meta: { automations: {}, pages: {}, imports: {} },
  errors: [],
});

/** Reads a version folder. `null` when it holds no index. */
export async function readFolder(files: FilesDriver, folder: string, revision: number): Promise<Snapshot | null> {
  const keys: string[] = [];
  for await (const { key } of files.list(folder)) keys.push(key.slice(folder.length + 1));
  if (!keys.some((key) => classify(key)?.type === 'index')) return null;

  const texts = new Map<string, string>();
  const wanted = keys.filter((key) => classify(key) !== null || isFolderIndex(key));
  for (let start = 0; start < wanted.length; start += PARALLEL) {
    await Promise.all(
      wanted.slice(start, start + PARALLEL).map(async (path) => {
        const file = await files.read(`${folder}/${path}`);
        if (file) texts.set(path, file.body.toString('utf8'));
      }),
    );
  }
  return fromTexts(texts, revision);
}

const isFolderIndex = (path: string): boolean => KINDS.some((kind) => path === `${kind}/${FOLDER_INDEX}.yml`);

/** The snapshot that files (path below the version folder → text) describe. */
export async function fromTexts(texts: ReadonlyMap<string, string>, revision: number): Promise<Snapshot> {
  const breathe = breather();
  const snapshot = { ...emptySnapshot(), revision };
  for (const [path, text] of [...texts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const file = classify(path);
    if (!file || file.type === 'import') continue;
    await breathe();
    try {
      if (file.type === 'meta') {
        if (text.length <= MAX_META_BYTES) snapshot.meta = { ...snapshot.meta, ...parseJson<Partial<Meta>>(text) };
        continue;
      }
      const value = readYaml(text, path);
      if (file.type === 'object') snapshot[file.kind][file.slug] = value;
      else snapshot[file.type] = value;
    } catch (error) {
      const { error: type, message } = toPublicError(error);
      snapshot.errors.push({ file: path, error: type, message });
    }
  }
  completeMeta(snapshot, texts);
  return snapshot;
}

/** Objects the meta file does not know (a tree of the reference product, a file added by hand) get theirs from the folder index or the content. */
function completeMeta(snapshot: Snapshot, texts: ReadonlyMap<string, string>): void {
  for (const kind of KINDS) {
    const known = isPlainObject(snapshot.meta[kind]) ? snapshot.meta[kind] : {};
    const complete: Record<string, ObjectMeta> = {};
    let legacy: JsonObject | undefined;
    for (const [slug, value] of Object.entries(snapshot[kind])) {
      if (Object.hasOwn(known, slug)) {
        complete[slug] = known[slug] as ObjectMeta;
        continue;
      }
      legacy ??= legacyIndex(texts, kind);
      const entry = isPlainObject(legacy[slug]) ? (legacy[slug] as JsonObject) : {};
      complete[slug] = { ...audit(entry), checksum: checksumOf(value), revision: snapshot.revision };
    }
    snapshot.meta[kind] = complete;
  }
  for (const name of ['index', 'security'] as const) {
    snapshot.meta[name] ??= { checksum: checksumOf(snapshot[name]), revision: snapshot.revision };
  }
}

function legacyIndex(texts: ReadonlyMap<string, string>, kind: Kind): JsonObject {
  const text = texts.get(`${kind}/${FOLDER_INDEX}.yml`);
  try {
    return text ? readYaml(text, `${kind}/${FOLDER_INDEX}.yml`) : {};
  } catch {
    return {};
  }
}

const AUDIT = ['createdAt', 'createdBy', 'updatedAt', 'updatedBy'] as const;

/** The four fields that tell who made and changed an object, and when; only those that are texts. */
export const audit = (from: object): Pick<ObjectMeta, (typeof AUDIT)[number]> =>
  Object.fromEntries(AUDIT.flatMap((name) => (typeof (from as JsonObject)[name] === 'string' ? [[name, (from as JsonObject)[name]]] : [])));
