/** Configuration → Moleculer broker options; nothing else. Settings and their variables: mixins/shared/config.ts, docs/configuration.md. */
import { inspect } from 'node:util';
import type { BrokerOptions } from 'moleculer';
import { identityMiddleware } from './mixins/auth/identity.middleware.ts';
import { causesMiddleware } from './mixins/shared/causes.middleware.ts';
import { SECOND } from './mixins/shared/clock.ts';
import { type Config, loadConfig, useConfig } from './mixins/shared/config.ts';
import { isFault } from './mixins/shared/errors.ts';
import { keepMemoryLow } from './mixins/shared/idle-memory.ts';
import { SteadyNodes } from './mixins/shared/steady-nodes.strategy.ts';
import { watchNodesMiddleware } from './mixins/shared/watch-nodes.middleware.ts';
import { pacedMiddleware } from './mixins/streams/paced.middleware.ts';
import { consoleCommands } from './scripts/console/commands.ts';

/** Options of a node; tests and tools make their own brokers with it. */
export function brokerOptions(config: Config): BrokerOptions {
  const isCluster = Boolean(config.transporterUrl);
  return {
    namespace: config.namespace,
    nodeID: config.nodeId,
    transporter: (config.transporterUrl ?? null) as BrokerOptions['transporter'],
    logger: {
      type: 'Console',
      options: { level: config.logLevel, formatter: 'short', colors: false, objectPrinter: print },
    } as BrokerOptions['logger'],
    // Long runs give their own time-out; a call without one must not wait for ever.
    requestTimeout: 30 * SECOND,
    maxCallLevel: 100,
    // A dead node is noticed after five to seven seconds; with the defaults calls fail for up to a minute (docs/operations.md). Shorter, and a node that
    // stands still for a moment would be taken for dead.
    heartbeatInterval: 1,
    heartbeatTimeout: 5,
    // Calls in flight finish before a node leaves.
    tracking: { enabled: true, shutdownTimeout: 10 * SECOND },
    // Work spreads over every instance; with the default a node would keep all of it for itself.
    registry: { strategy: SteadyNodes as unknown as string, preferLocal: !isCluster },
    // Nothing is repeated unless the action (mixins/shared/repeatable.ts) or its caller (`retries`) says so: only they know that doing a thing twice does no
    // harm. Without other nodes none can be lost.
    retryPolicy: { enabled: isCluster, retries: 0, delay: 100, maxDelay: SECOND, factor: 2, check: isLostNode },
    circuitBreaker: {
      enabled: isCluster,
      threshold: 0.5,
      windowTime: 30,
      minRequestCount: 20,
      halfOpenTime: 5 * SECOND,
      check: (error) => isOutage(error),
    },
    // The context, and so the identity in its meta, is never shared between calls; parameters are not cloned: actions do not change them.
    contextParamsCloning: false,
    validator: true,
    metrics: { enabled: false },
    tracing: { enabled: false },
    middlewares: [causesMiddleware(), identityMiddleware(), ...(isCluster ? [watchNodesMiddleware(), pacedMiddleware()] : [])],
    replOptions: { delimiter: 'prisme $', customCommands: consoleCommands() } as unknown as NonNullable<BrokerOptions['replOptions']>,
    created(broker) {
      useConfig(broker, config);
    },
  };
}

/** A fault says what is wrong in its own words; only what nobody expected is worth a trace. */
function print(value: unknown): string {
  if (isFault(value)) return `${value.type}: ${value.message}`;
  return inspect(value, { depth: 4, breakLength: 140 });
}

/** The node that was asked is gone, or nobody offers the action at the moment: another attempt reaches another node. */
function isLostNode(error: Error): boolean {
  return ['RequestRejectedError', 'ServiceNotAvailableError', 'QueueIsFullError'].includes(error.name);
}

/**
 * Only failures of the far side open a circuit: a refused request says nothing about the node that refused it. Nor does a lost node: it is not asked any more,
 * and whoever had asked it on behalf of others is as good as before.
 */
function isOutage(error: Error): boolean {
  const code = (error as { code?: unknown }).code;
  return (typeof code !== 'number' || code >= 500) && !isLostNode(error);
}

/** The runner copies these options; several nodes of one process are a matter of `brokerOptions`. */
export default {
  ...brokerOptions(checked(loadConfig())),
  started() {
    keepMemoryLow();
  },
} satisfies BrokerOptions;

function checked(config: Config): Config {
  const wantsInstances = process.argv.some((argument) => argument === '--instances' || argument.startsWith('-i'));
  if (wantsInstances && !config.transporterUrl) {
    console.error('--instances needs TRANSPORTER: without it every instance would be a separate, unconnected platform.');
    process.exit(1);
  }
  return config;
}
