/**
 * node-options — how Node is told to run the platform, for every place that starts it. Measured on the embedded cluster (docs/operations.md has the
 * variables of the platform itself). Plain JavaScript: the launcher reads it before anything is installed.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

/** Threads of V8 beside the main one, for collecting and compiling: its own number, 4, but not more than the machine has cores. */
const COLLECTORS = Math.max(2, Math.min(4, availableParallelism()));

export const nodeFlags = [
  '--disable-warning=ExperimentalWarning',
  // Less than half of the default: 271 MB under webhooks with 8 instead of 298 with 16, for 3 % of them; with 6 some MB less for nothing.
  '--max-semi-space-size=6',
  // Four threads that mark on a machine with two cores take both of them for 20 ms. With two the p99 of webhooks is half a millisecond lower; with one 1.5 ms,
  // but what is garbage stays longer: 296 MB under webhooks instead of 267.
  `--v8-pool-size=${COLLECTORS}`,
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
