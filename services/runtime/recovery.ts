/**
 * recovery — keeps runs going when nodes do not: signs of life, collection of the runs of dead nodes, and the list of runs that are due.
 * Every node does it; the version of a run's record decides who gets it.
 */
import type { EventBus } from '../../mixins/bus/contract.ts';
import { SECOND } from '../../mixins/shared/clock.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { Execution } from './execution.ts';
import { DUE_KEY, FINAL_STATES, NODES_KEY, nodeRunsKey, parseRef, type RunStore } from './runs.ts';

export interface RecoveryOptions {
  cache: CacheDriver;
  store: RunStore;
  execution: Execution;
  bus: Pick<EventBus, 'announce' | 'gone'>;
  owner: string;
  /** Told with the time of each sign of life that the cluster took; 0: the others may think that this node is gone. */
  onBeat: (at: number) => void;
  log: (message: string, error: unknown) => void;
  /** Milliseconds: a node silent for longer is dead. */
  aliveMs?: number;
}

const LOOK_MS = 250;
const PARALLEL = 64;
/** Looks at who is gone for each look at whose lease ran out. */
const LOOKS_PER_LEASE = 3;
/** A dead node stays on the list this long. */
const FORGET_MS = 60 * SECOND;
/** When a node was first found dead. */
const foundKey = (owner: string) => `runs:found-dead:${owner}`;
const lifeLease = (owner: string) => `runs:alive:${owner}`;

/** Of these start-ups, those that were found dead, or have left the list of nodes. */
export async function deadOf(cache: CacheDriver, owners: string[]): Promise<string[]> {
  const [nodes, found] = await Promise.all([cache.members(NODES_KEY), cache.getMany(owners.map(foundKey))]);
  const listed = new Set(nodes);
  return owners.filter((owner, i) => !listed.has(owner) || found[i] !== null);
}

export function createRecovery({ cache, store, execution, bus, owner, onBeat, log, aliveMs = 3 * SECOND }: RecoveryOptions) {
  const timers: NodeJS.Timeout[] = [];
  let isStopped = false;
  let wasTakenForDead = false;
  /** The others may take this node for dead at any moment. */
  let isMissed = false;
  const working = new Set<Promise<unknown>>();

  const every = (ms: number, work: () => Promise<void>, name: string) => {
    let isBusy = false;
    const timer = setInterval(() => {
      if (isBusy || isStopped) return;
      isBusy = true;
      const job = work()
        .catch((error) => log(`runs: ${name} failed`, error))
        .finally(() => {
          isBusy = false;
          working.delete(job);
        });
      working.add(job);
    }, ms);
    timer.unref();
    timers.push(timer);
  };

  async function beat(): Promise<void> {
    const at = Date.now();
    // Whoever was silent for a while may have been taken for dead, and off the list.
    await cache.addMembers(NODES_KEY, [owner]);
    const isAlive = await cache.lease(lifeLease(owner), owner, aliveMs);
    if (isAlive && !isMissed) onBeat(at);
    if (isAlive && wasTakenForDead) await cache.delete(foundKey(owner));
    wasTakenForDead = !isAlive;
  }

  const resume = (ref: string, isRecovery: boolean) => {
    const [workspaceId, id] = parseRef(ref);
    // Not awaited: a long run must not hold up the look at the others.
    const job = execution
      .resume(workspaceId, id, { isRecovery })
      .catch((error) => log(`run ${id} could not be continued`, error))
      .finally(() => working.delete(job));
    working.add(job);
    return job;
  };

  /** Nodes whose end the bus has noticed: their leases are not waited for. */
  let gone = new Set<string>();
  let looks = 0;

  /** Whether there is somebody to collect from: a node that has gone since the last look, or, less often, one whose lease may have run out. */
  async function lookForDead(): Promise<void> {
    const nodes = (await cache.members(NODES_KEY)).filter((node) => node !== owner);
    const found = new Set(await bus.gone(nodes));
    const fresh = [...found].filter((node) => !gone.has(node));
    gone = found;
    for (const node of fresh) await cache.releaseLease(lifeLease(node), node);
    if (fresh.length > 0 || ++looks % LOOKS_PER_LEASE === 0) await collect(nodes);
  }

  /** Takes over what a dead node had taken. Whoever gets its lease collects. */
  async function collect(nodes: string[]): Promise<void> {
    for (const node of nodes) {
      if (isStopped || !(await cache.lease(lifeLease(node), owner, 2 * aliveMs))) continue;
      const refs = await cache.members(nodeRunsKey(node));
      for (const ref of refs) {
        const [workspaceId, id] = parseRef(ref);
        const held = await store.find(workspaceId, id);
        if (held && held.record.owner === node && !FINAL_STATES.includes(held.record.state)) resume(ref, true);
        // Put to sleep in the node's last moment: it could not look any more whether an event had come meanwhile.
        else if (held?.record.state === 'waiting') await store.due(ref, Date.now());
      }
      // Claims by this node are in its own set before anything runs, so nothing is lost between the two.
      await settleClaims(refs, node);
    }
  }

  /** Refs that the last look found in this node's set and nobody working on. */
  let leftBefore = new Set<string>();

  /** Takes up what this node could not hand back, because the store was away. Seen twice: a run is named in the set before it begins. */
  async function collectOwn(): Promise<void> {
    const left = (await cache.members(nodeRunsKey(owner))).filter((ref) => !execution.actives.has(parseRef(ref)[1]));
    for (const ref of left) {
      if (isStopped || !leftBefore.has(ref)) continue;
      const [workspaceId, id] = parseRef(ref);
      const held = await store.find(workspaceId, id);
      if (held?.record.owner === owner && held.record.state === 'running' && !execution.actives.has(id)) resume(ref, true);
    }
    leftBefore = new Set(left);
  }

  /**
   * Forgets what of a dead node has another owner or none, and in the end the node. One that was only slow goes on taking runs until it notices,
   * so for a while it stays on the list, and so do runs it has announced and not yet written down.
   */
  async function settleClaims(refs: string[], node: string): Promise<void> {
    const found = (await cache.get<number>(foundKey(node)))?.value;
    if (found === undefined) await cache.set(foundKey(node), Date.now(), { ttlMs: 60 * FORGET_MS });
    const isForgotten = found !== undefined && Date.now() - found > FORGET_MS;
    const moved: string[] = [];
    for (const ref of refs) {
      const [workspaceId, id] = parseRef(ref);
      const held = await store.find(workspaceId, id);
      if (held ? held.record.owner !== node : isForgotten) moved.push(ref);
    }
    if (moved.length) await cache.removeMembers(nodeRunsKey(node), moved);
    if (isForgotten && moved.length === refs.length) await cache.removeMembers(NODES_KEY, [node]);
    if (moved.length === refs.length) await cache.releaseLease(lifeLease(node), owner);
    // The rest at the next look: the lease runs out or is prolonged by this node.
    else await cache.lease(lifeLease(node), owner, LOOK_MS);
  }

  /** Runs whose time has come: woken, timed out, accepted or handed back. */
  async function lookAtDue(): Promise<void> {
    if (execution.actives.size > 50 * PARALLEL) return;
    for (const { member } of await cache.scoredUpTo(DUE_KEY, Date.now(), PARALLEL)) {
      const [workspaceId, id] = parseRef(member);
      const held = await store.find(workspaceId, id);
      if (!held || FINAL_STATES.includes(held.record.state) || held.record.state === 'running') {
        // Running ones belong to a node, alive or to be collected.
        await cache.removeScored(DUE_KEY, member);
        // Put to sleep in between: what was removed may have been the time it is to be woken.
        if ((await store.find(workspaceId, id))?.record.state === 'waiting') await store.due(member, Date.now());
        continue;
      }
      // Seen by several nodes at once: the claim lets one through. Looked at again in a while, should this node die now.
      await store.due(member, Date.now() + 2 * aliveMs);
      resume(member, false);
    }
  }

  return {
    async start(): Promise<void> {
      bus.announce(owner, (isSeen) => {
        isMissed = !isSeen;
        if (isMissed) onBeat(0);
      });
      await beat();
      await cache.addMembers(NODES_KEY, [owner]);
      every(aliveMs / 3, beat, 'the sign of life');
      every(aliveMs / 3 / LOOKS_PER_LEASE, lookForDead, 'the collection of lost runs');
      every(aliveMs, collectOwn, 'the look at runs left behind');
      every(LOOK_MS, lookAtDue, 'the look at due runs');
      every(LOOK_MS, async () => execution.suspendIdle(), 'the suspension of waiting runs');
    },
    /** Continues a run now, if it is waiting. */
    wake: (ref: string) => resume(ref, false),
    /** What this node still works on is collected by the others at once. */
    async stop(): Promise<void> {
      isStopped = true;
      for (const timer of timers) clearInterval(timer);
      if (execution.actives.size === 0) await cache.removeMembers(NODES_KEY, [owner]);
      await cache.releaseLease(lifeLease(owner), owner);
    },
  };
}

export type Recovery = ReturnType<typeof createRecovery>;
