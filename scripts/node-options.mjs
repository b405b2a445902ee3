/**
 * node-options — how Node is told to run the platform, for every place that starts it. Measured on the embedded cluster (docs/operations.md has the
 * variables of the platform itself). Plain JavaScript: the launcher reads it before anything is installed.
 */
import { join } from 'node:path';

export const nodeFlags = [
  '--disable-warning=ExperimentalWarning',
  // A quarter of the default: 271 MB under webhooks instead of 298 with 16, for 3 % of them.
  '--max-semi-space-size=8',
  // Allocation sites that were once found long-lived put their objects straight into the old generation, where they keep alive what they point to: a third
  // more webhooks without it, and half the time in the garbage collector.
  '--no-allocation-site-pretenuring',
  // Memory is given back to the machine while a node is idle (mixins/shared/idle-memory.ts).
  '--expose-gc',
  // The old generation may grow by 40 % before it is collected; left alone it doubles and more.
  '--heap-growing-percent=40',
];

/** What is already set wins. */
export const nodeEnvironment = (root, given = process.env) => ({
  // Compiled code and stripped types are kept from start to start: faster, and without what the stripper takes. Node goes without it where the
  // folder cannot be written.
  NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compile'),
  // Password hashes take 19 MB each on whatever thread is free; glibc would keep one such block per thread for ever.
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '1048576',
  MALLOC_TRIM_THRESHOLD_: '1048576',
  ...given,
});
