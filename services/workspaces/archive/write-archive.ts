/** write-archive — a workspace as a zip: the same content always gives the same bytes (names sorted, one date). */
import { isDeepStrictEqual } from 'node:util';
import { type Zippable, zipSync } from 'fflate';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { KINDS, objectFile } from '../dsul/layout.ts';
import { editYaml, writeYaml } from '../dsul/yaml.ts';
import { withoutCredentials } from '../git/credentials.ts';
import type { Snapshot } from '../store/snapshot.ts';

/** The first date a zip file can hold; local time, as the format has no zone. */
const DATE = new Date(1980, 0, 1);

export function zip(files: Map<string, Uint8Array>): Buffer {
  const sorted: Zippable = {};
  for (const name of [...files.keys()].sort()) sorted[name] = [files.get(name) as Uint8Array, { mtime: DATE, level: 9 }];
  return Buffer.from(zipSync(sorted));
}

export interface ExportOptions {
  workspaceId: string;
  /** Name of the version, also the root folder. */
  version: string;
  app?: { slug: string; name?: unknown; description?: unknown };
  /** Text of the files as they stand on disk, by path, so that comments travel. */
  texts?: ReadonlyMap<string, string>;
  exportedAt?: string;
}

/** `<version>/index.yml`, `security.yml`, `.import.yml`, automations, pages, imports. Never secrets, uploads, permissions or API keys. */
export function archiveOf(snapshot: Snapshot, { workspaceId, version, app, texts = new Map(), exportedAt }: ExportOptions): Buffer {
  const files = new Map<string, Uint8Array>();
  const add = (path: string, value: JsonObject) => void files.set(`${version}/${path}`, Buffer.from(texts.get(path) ?? writeYaml(value)));
  const index = withoutCredentials(snapshot.index);
  // The text of the file serves only while it holds no credentials.
  if (isDeepStrictEqual(index, snapshot.index)) add('index.yml', index);
  else files.set(`${version}/index.yml`, Buffer.from(editYaml(texts.get('index.yml') ?? '', index)));
  if (Object.keys(snapshot.security).length > 0) add('security.yml', snapshot.security);
  const checksums: Record<string, Record<string, string>> = {};
  for (const kind of KINDS) {
    checksums[kind] = {};
    for (const slug of Object.keys(snapshot[kind]).sort()) {
      add(objectFile(kind, slug), snapshot[kind][slug] as JsonObject);
      checksums[kind][slug] = snapshot.meta[kind][slug]?.checksum ?? '';
    }
  }
  const origin = isPlainObject(snapshot.meta.origin) ? snapshot.meta.origin : {};
  files.set(
    `${version}/.import.yml`,
    Buffer.from(
      writeYaml({
        workspaceId,
        version: { type: 'export', name: version, ...(exportedAt ? { exportedAt } : {}) },
        ...(Array.isArray(origin.groups) ? { groups: origin.groups } : {}),
        ...(Array.isArray(origin.dependsOn) ? { dependsOn: origin.dependsOn } : {}),
        ...(app ? { app } : {}),
        checksums,
      }),
    ),
  );
  return zip(files);
}
