/** files — gives a service one area of the file store as `this.files`. Services of one node that use the same area share it. */
import type { Service, ServiceSchema } from 'moleculer';
import { configOf } from '../../shared/config.ts';
import { acquire, release } from '../../shared/resources.ts';
import type { FilesDriver } from './contract.ts';
import { openFiles } from './open.ts';

export { openFiles } from './open.ts';

export interface FilesMethods {
  /** Ready from `started` on; closed by the mixin. */
  files: FilesDriver;
}

type Self = Service & FilesMethods & { heldFiles?: string };

/** @param options.area first part of every key in the shared store: `models`, `uploads` */
export function files({ area }: { area: string }): Partial<ServiceSchema<object, any>> {
  const key = `files/${area}`;
  return {
    async started(this: Self) {
      this.files = await acquire(
        this.broker,
        key,
        () => openFiles(configOf(this.broker), area),
        (opened) => opened.close(),
      );
      this.heldFiles = key;
    },
    async stopped(this: Self) {
      if (!this.heldFiles) return;
      this.heldFiles = undefined;
      await release(this.broker, key);
    },
  };
}
