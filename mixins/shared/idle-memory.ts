/**
 * idle-memory — gives memory back to the machine while a node has nothing to do: after its start, and after each time of load. V8 alone keeps what it once
 * had, a quarter of the process, because it collects as it allocates and an idle node does not allocate.
 *
 * Needs `--expose-gc` (scripts/node-options.mjs); without it nothing happens.
 */
import { performance } from 'node:perf_hooks';
import { SECOND } from './clock.ts';

export interface IdleMemoryOptions {
  /** A full collection that also empties what V8 keeps for later; `null`: there is none. */
  collect?: (() => void) | null;
  /** Share of the time since the last call in which the event loop was at work, 0 to 1. */
  utilization?: () => number;
  everyMs?: number;
}

/** A node at work this much has made garbage; below the other it can stand still for a moment. */
const BUSY = 0.2;
const IDLE = 0.05;

function systemCollect(): (() => void) | null {
  const { gc } = globalThis;
  return gc ? () => void gc({ type: 'major', execution: 'sync', flavor: 'last-resort' }) : null;
}

function systemUtilization(): () => number {
  let before = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}

/** Collects at once, and from then on when the node comes to rest. @returns what ends it */
export function keepMemoryLow({
  collect = systemCollect(),
  utilization = systemUtilization(),
  everyMs = 5 * SECOND,
}: IdleMemoryOptions = {}): () => void {
  if (!collect) return () => {};
  collect();
  utilization();
  // What follows the start (a sample, the first sign-in) is as much garbage as what made it.
  let hasWorked = true;
  const timer = setInterval(() => {
    const share = utilization();
    if (share > BUSY) hasWorked = true;
    if (share > IDLE || !hasWorked) return;
    hasWorked = false;
    collect();
  }, everyMs).unref();
  return () => clearInterval(timer);
}
