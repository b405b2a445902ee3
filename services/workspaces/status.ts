/** status — how a workspace differs from its last import or export, and which of its files cannot be read. */
import { isPlainObject, type JsonObject, readPath } from '../../mixins/shared/json.ts';
import { KINDS } from './dsul/layout.ts';
import type { Snapshot } from './store/snapshot.ts';

export function statusOf(snapshot: Snapshot): JsonObject {
  const origin = isPlainObject(snapshot.meta.origin) ? snapshot.meta.origin : {};
  const changes = KINDS.flatMap((kind) => {
    const expected = readPath(origin, ['checksums', kind]);
    const known = isPlainObject(expected) ? expected : {};
    const slugs = new Set([...Object.keys(snapshot[kind]), ...Object.keys(known)]);
    return [...slugs].flatMap((slug) => {
      const meta = snapshot.meta[kind][slug];
      const expectedChecksum = Object.hasOwn(known, slug) ? known[slug] : undefined;
      if (meta?.checksum === expectedChecksum) return [];
      return [
        {
          type: kind,
          slug,
          currentChecksum: meta?.checksum ?? null,
          expectedChecksum: expectedChecksum ?? null,
          updatedAt: meta?.updatedAt,
          updatedBy: meta?.updatedBy,
        },
      ];
    });
  });
  return {
    version: origin.version ?? null,
    errors: snapshot.errors,
    changes: isPlainObject(origin.checksums) ? changes : [],
    automations: Object.keys(snapshot.automations),
    imports: Object.keys(snapshot.imports),
    pages: Object.keys(snapshot.pages),
  };
}
