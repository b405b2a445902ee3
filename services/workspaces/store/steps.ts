/**
 * steps — what a committed change still has to do to files and rows. Each step may be done again with the same result, in order:
 * that is what makes a change survive the death of the process that started it.
 */
import { isFault } from '../../../mixins/shared/errors.ts';
import type { Query, Stored } from '../../../mixins/storage/documents/contract.ts';
import type { Documents } from '../../../mixins/storage/documents/documents.mixin.ts';
import type { FilesDriver } from '../../../mixins/storage/files/contract.ts';

export type Step =
  | { do: 'write'; key: string; text: string }
  | { do: 'remove'; key: string }
  | { do: 'removeAll'; prefix: string }
  | { do: 'removeUploads'; prefix: string }
  /** Makes `to/` an exact copy of `from/`, without the file `except`. */
  | { do: 'copyAll'; from: string; to: string; except?: string[] }
  /** Sets the fields of a record, keeping its others; makes it when absent. A record of another workspace is left as it is. */
  | { do: 'merge'; collection: string; record: { id: string; [field: string]: unknown } }
  /** Makes a record exactly this. */
  | { do: 'upsert'; collection: string; record: { id: string; [field: string]: unknown } }
  | { do: 'removeRow'; collection: string; id: string }
  | { do: 'removeRows'; collection: string; query: Query };

export interface Stores {
  files: FilesDriver;
  uploads: FilesDriver;
  documents: Documents;
}

const PARALLEL = 16;

/** Does the steps; consecutive writes and removals of files go in parallel. `assertHeld` is asked before each batch. */
export async function applySteps(steps: Step[], { assertHeld, ...stores }: Stores & { assertHeld: () => void }): Promise<void> {
  for (let index = 0; index < steps.length; ) {
    assertHeld();
    const batch: Step[] = [];
    while (index < steps.length && batch.length < PARALLEL && isFileStep(steps[index] as Step)) batch.push(steps[index++] as Step);
    if (batch.length === 0) batch.push(steps[index++] as Step);
    await Promise.all(batch.map((step) => applyStep(step, stores)));
  }
}

const isFileStep = (step: Step): boolean => step.do === 'write' || step.do === 'remove';

async function applyStep(step: Step, { files, uploads, documents }: Stores): Promise<void> {
  switch (step.do) {
    case 'write':
      await files.write(step.key, step.text);
      return;
    case 'remove':
      await files.remove(step.key);
      return;
    case 'removeAll':
      await files.removeAll(step.prefix);
      return;
    case 'removeUploads':
      await uploads.removeAll(step.prefix);
      return;
    case 'copyAll':
      await files.removeAll(step.to);
      await files.copyAll(step.from, step.to);
      for (const name of step.except ?? []) await files.remove(`${step.to}/${name}`);
      return;
    case 'upsert':
      return upsert(documents, step.collection, step.record);
    case 'merge':
      return upsert(documents, step.collection, step.record, true);
    case 'removeRow':
      await documents.remove(step.collection, step.id);
      return;
    case 'removeRows':
      await documents.removeMany(step.collection, step.query);
  }
}

async function upsert(
  documents: Documents,
  collection: string,
  record: { id: string; [field: string]: unknown },
  keepsOthers = false,
): Promise<void> {
  const { id, ...fields } = record;
  const stored = await documents.get<Stored & Record<string, unknown>>(collection, id);
  if (!stored) {
    try {
      await documents.insert(collection, record as never);
      return;
    } catch (error) {
      if (!isFault(error, 'AlreadyUsedError')) throw error;
    }
  }
  if (keepsOthers && stored && stored.workspaceId !== fields.workspaceId && fields.workspaceId !== undefined) return;
  const unset = keepsOthers
    ? []
    : Object.keys(stored ?? {}).filter((field) => field !== 'id' && field !== '_rev' && !Object.hasOwn(fields, field));
  await documents.update(collection, id, { set: fields, unset });
}
