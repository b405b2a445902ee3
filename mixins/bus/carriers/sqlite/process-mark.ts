/**
 * process-mark — names the process behind a lease, so that a restart after a crash need not wait for the lease of its own dead predecessor. A mark is judged
 * only inside the same process namespace: another container that shares the file may use the same numbers.
 */
import { readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

function namespaceOf(): string {
  try {
    return `${hostname()} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname(); // not Linux: one namespace per machine
  }
}

const namespace = namespaceOf();

/** Mark of this process. */
export const processMark = `${process.pid}@${namespace}`;

/** Whether the process of a mark is dead for sure. A reused number makes a dead one look alive: then the lease just runs out. */
export function isGone(mark: string): boolean {
  const at = mark.indexOf('@');
  if (at < 0 || mark.slice(at + 1) !== namespace) return false;
  try {
    process.kill(Number(mark.slice(0, at)), 0);
    return false;
  } catch (error) {
    return (error as { code?: string }).code === 'ESRCH';
  }
}
