/** readiness — what a service says of the stores and neighbours it cannot work without, and what becomes of that over all its nodes. */

export interface Module {
  /** What is looked at: `database`, `cache`, `broker`, … */
  module: string;
  /** What stands behind it on this node: `sqlite`, `redis`, `mongodb`, `s3`, … */
  driver: string;
}

/** A look at one module; rejects when it does not work. */
export interface Check extends Module {
  check: () => Promise<unknown>;
}

/** For those who run the platform. `error` and `message` are words of ours: no address, no secret, no text of a client library. */
export interface ModuleError extends Module {
  error: string;
  message: string;
  /** The node whose module this is. */
  node?: string;
}

/** Answer of `<service>.readiness` (public, identity: system), of the node that is asked. */
export interface Readiness {
  status: 'ready' | 'error';
  modulesReady: Module[];
  errors: ModuleError[];
}
