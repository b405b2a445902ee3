/** shard — what a member of a group knows of a shard it owns. */
import type { Failure, Position, Settlement } from './carrier.ts';
import type { Lane } from './lanes.ts';
import type { Window } from './window.ts';

export interface Shard {
  readonly index: number;
  readonly token: string;
  /**
   * held: leased, nothing starts yet · open: entries are read and run · draining: what runs may end, nothing starts ·
   * lost: someone else owns it, results are dropped.
   */
  state: 'held' | 'open' | 'draining' | 'lost';
  readonly window: Window;
  readonly lanes: Map<string, Lane>;
  /** Last position read. */
  position: Position;
  isReading: boolean;
  /** Something was appended during a read. */
  isStale: boolean;
  /** The log has more than what was read. */
  isBehind: boolean;
  /** Settled ahead of the cursor by earlier owners, not met yet. */
  readonly ahead: Set<Position>;
  readonly failures: Map<Position, Failure>;
  /** The former owner died: entries up to a window's length may have been in its hands. */
  suspects: number;
  /** Unsettled items. */
  open: number;
  /** Unsettled items that may have killed processes. */
  dangerous: number;
  running: number;
  /** What runs must not have company. */
  isAlone: boolean;
  /** Lanes that wait for what is running, because it or they are dangerous, in the order of their turns. */
  setAside: Lane[];
  /** Until when the lease holds for sure, on the local monotonic clock. */
  validUntil: number;
  readonly abort: AbortController;
  /** A settlement that the store did not confirm yet. */
  unconfirmed: Settlement | null;
  settling: Promise<void> | null;
  /** Called when a draining shard has nothing running any more. */
  idle?: () => void;
}
