/**
 * documents — gives a service its collections of records as `this.documents`. One connection per node, shared; each service reaches only the
 * collections it declares. Policy (operators, limits, names) is in policy.ts, so it holds for every driver.
 */
import type { Service, ServiceSchema } from 'moleculer';
import { configOf } from '../../shared/config.ts';
import { acquire, release } from '../../shared/resources.ts';
import type { Collection, DocumentsDriver } from './contract.ts';
import { openDocumentsDriver } from './open.ts';
import { guarded } from './policy.ts';

export { openDocuments } from './open.ts';

/** The methods of the contract; opening and closing belong to the mixin. */
export type Documents = Omit<DocumentsDriver, 'open' | 'close'>;

export interface DocumentsMethods {
  /** Ready from `started` on. Queries are checked: unknown operators, hostile names and deep nesting are BadParametersError. */
  documents: Documents;
}

const KEY = 'documents';
type Self = Service & DocumentsMethods & { holdsDocuments?: boolean };

export function documents({ collections }: { collections: Collection[] }): Partial<ServiceSchema<object, any>> {
  return {
    async started(this: Self) {
      const driver = await acquire(
        this.broker,
        KEY,
        () => openDocumentsDriver(configOf(this.broker)),
        (opened) => opened.close(),
      );
      this.holdsDocuments = true;
      const own = guarded(driver);
      for (const collection of collections) await own.open(collection);
      this.documents = own;
    },
    async stopped(this: Self) {
      if (!this.holdsDocuments) return;
      this.holdsDocuments = false;
      await release(this.broker, KEY);
    },
  };
}
