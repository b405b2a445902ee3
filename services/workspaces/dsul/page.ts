/** page — pages are stored and served as data: any field is kept, only what the platform itself reads is checked. */
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import type { Draft } from '../store/draft.ts';
import { assertPlain } from './yaml.ts';

const MAX_PAGE_BYTES = 2_000_000;
const COMPUTED = new Set([
  'events',
  'createdAt',
  'createdBy',
  'updatedAt',
  'updatedBy',
  'checksum',
  'revision',
  'permissions',
  'appInstances',
  'public',
  'apiKey',
  'clientId',
]);

/** @throws RequestValidationError · PayloadTooLarge */
export function checkedPage(body: unknown): JsonObject {
  if (!isPlainObject(body)) throw fault('RequestValidationError', { message: 'A page must be an object.' });
  assertPlain(body, 'page');
  const page = Object.fromEntries(Object.entries(body).filter(([key, value]) => !COMPUTED.has(key) && value !== undefined));
  if (
    page.blocks !== undefined &&
    page.blocks !== null &&
    (!Array.isArray(page.blocks) || page.blocks.some((block) => !isPlainObject(block)))
  )
    throw fault('RequestValidationError', {
      message: 'blocks must be a list of blocks.',
      data: { problems: [{ path: 'blocks', message: 'must be a list of blocks' }] },
    });
  const bytes = Buffer.byteLength(JSON.stringify(page));
  if (bytes > MAX_PAGE_BYTES)
    throw fault('PayloadTooLarge', {
      message: `A page may not be larger than ${MAX_PAGE_BYTES} bytes.`,
      data: { bytes, maxBytes: MAX_PAGE_BYTES },
    });
  return page;
}

/** The row of a page: what it is found and shared by. Its permissions are kept by `permissions`. */
export function assertPageRow(draft: Draft, page: JsonObject, permissions?: JsonObject): void {
  draft.step({
    do: 'merge',
    collection: 'pages',
    record: {
      id: String(page.id),
      workspaceId: draft.row.id,
      workspaceSlug: String(page.workspaceSlug ?? draft.row.slug),
      slug: String(page.slug),
      name: page.name ?? null,
      labels: Array.isArray(page.labels) ? page.labels : [],
      customDomains: draft.row.customDomains ?? [],
      updatedAt: draft.now,
      ...(permissions ? { permissions } : {}),
    },
  });
}
