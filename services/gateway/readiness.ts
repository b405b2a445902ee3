/**
 * readiness — whether the platform can work: each service asked on every node that offers it, so that one node with a broken store shows.
 *
 * `GET /v2/readiness`  the whole platform, remembered for READINESS_CACHE_TTL_MS.
 * `GET /sys/ready`     this gateway: its own modules, and whether each service can be reached. For balancers, which must not empty a gateway because
 *                      some other node is ill.
 */

import { moduleError, runChecks } from '../../mixins/readiness/checks.ts';
import type { Check, Module, ModuleError, Readiness } from '../../mixins/readiness/contract.ts';
import { brokerCheck, cacheCheck, databaseCheck, driverOf } from '../../mixins/readiness/stores.ts';
import { SECOND } from '../../mixins/shared/clock.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { Self } from './identity/core.mixin.ts';

export const SERVICES = ['gateway', 'workspaces', 'runtime', 'events'] as const;
type Name = (typeof SERVICES)[number];

/** Longer than a check may take, shorter than the time-out of a probe. */
const NODE_TIMEOUT_MS = 2.5 * SECOND;
/** Bad news is looked at again soon, and still not at every request of a public path. */
const REMEMBER_BAD_MS = SECOND;

export function gatewayChecks(self: Self): Check[] {
  const { config, keys } = self.core;
  return [
    databaseCheck(config, self.documents, 'users'),
    cacheCheck(config, self.cache, 'sessionsRedis'),
    {
      module: 'rateLimitsRedis',
      driver: driverOf(config.cacheUrl),
      check: () => self.cache.increment('rate:{readiness}', 0, SECOND),
    },
    brokerCheck(config, self.bus),
    {
      module: 'jwks',
      driver: 'RS256',
      async check() {
        if (keys.kids().length === 0) throw fault('ConfigurationError', { message: 'There is no signing key.' });
      },
    },
  ];
}

function nodesOf({ broker }: Self, name: string): string[] {
  const services = broker.registry.getServiceList({ onlyAvailable: true }) as unknown as { name: string; nodeID: string }[];
  return [...new Set(services.filter((service) => service.name === name).map(({ nodeID }) => nodeID))];
}

/** What a node that does not answer is told by: the way to it, not one of its modules. */
const WAY: Module = { module: 'node', driver: 'transporter' };

async function askNode(self: Self, name: Name, nodeID: string): Promise<Readiness> {
  try {
    const meta = self.systemMeta() as object;
    return await self.broker.call<Readiness, object>(`${name}.readiness`, {}, {
      nodeID,
      meta,
      timeout: NODE_TIMEOUT_MS,
      retries: 0,
    } as never);
  } catch (error) {
    self.logger.warn(`Readiness: '${name}' on ${nodeID} does not answer: ${(error as Error).message}`);
    return { status: 'error', modulesReady: [], errors: [{ ...moduleError(WAY, error), message: 'The node does not answer.' }] };
  }
}

/** One answer for all nodes: a module is ready where no node has trouble with it, and every trouble names its node. */
export function merged(answers: { node: string; answer: Readiness }[]): Readiness {
  const errors: ModuleError[] = answers.flatMap(({ node, answer }) => answer.errors.map((error) => ({ ...error, node })));
  if (answers.length === 0) errors.push({ ...moduleError(WAY, fault('ServiceUnavailable')), message: 'No node offers this service.' });
  const isIll = new Set(errors.map(({ module }) => module));
  const ready = new Map<string, Module>();
  for (const { answer } of answers)
    for (const one of answer.modulesReady) if (!isIll.has(one.module)) ready.set(`${one.module}/${one.driver}`, one);
  return { status: errors.length === 0 ? 'ready' : 'error', modulesReady: [...ready.values()], errors };
}

interface Verdict {
  status: number;
  body: JsonObject;
}

export interface PlatformReadiness {
  /** @param details drivers, nodes and errors too: for those who run the platform */
  ofPlatform(wanted: string | null, details: boolean): Promise<Verdict>;
  ofThisGateway(): Promise<Verdict>;
}

export function platformReadiness(self: Self, now = Date.now): PlatformReadiness {
  const remembered = new Map<string, { until: number; answer: Promise<Readiness> }>();

  /** Remembered from the moment it is asked: whoever comes meanwhile waits for the same answer. */
  function remember(key: string, ask: () => Promise<Readiness>): Promise<Readiness> {
    const known = remembered.get(key);
    if (known && known.until > now()) return known.answer;
    const entry = { until: Number.POSITIVE_INFINITY, answer: ask() };
    remembered.set(key, entry);
    entry.answer.then(
      ({ status }) => {
        const ttl = self.core.config.readinessCacheTtlMs;
        entry.until = now() + (status === 'ready' ? ttl : Math.min(ttl, REMEMBER_BAD_MS));
      },
      () => remembered.delete(key),
    );
    return entry.answer;
  }

  const ofService = (name: Name) =>
    remember(name, async () =>
      merged(await Promise.all(nodesOf(self, name).map(async (node) => ({ node, answer: await askNode(self, name, node) })))),
    );

  const verdict = (services: Record<string, JsonObject>): Verdict => {
    const isReady = self.broker.started && Object.values(services).every(({ status }) => status === 'ready');
    return { status: isReady ? 200 : 400, body: { status: isReady ? 'ready' : 'error', services } };
  };

  return {
    async ofPlatform(wanted, details) {
      const names = wanted?.split(',').map((name) => name.trim());
      const unknown = names?.find((name) => !SERVICES.includes(name as Name));
      if (unknown !== undefined)
        throw fault('BadParametersError', {
          message: `There is no service '${unknown.slice(0, 50)}'; there are ${SERVICES.join(', ')}.`,
          data: { services: [...SERVICES] },
        });
      const asked = SERVICES.filter((name) => !names || names.includes(name));
      const answers = await Promise.all(asked.map(async (name) => [name, await ofService(name)] as const));
      return verdict(
        Object.fromEntries(
          answers.map(([name, response]) => [name, { status: response.status, ...(details ? { response: { ...response } } : {}) }]),
        ),
      );
    },

    async ofThisGateway() {
      const own = await remember('/sys/ready', () => runChecks(gatewayChecks(self)));
      const isThere = (name: Name) => (name === 'gateway' ? own.status === 'ready' : nodesOf(self, name).length > 0);
      return verdict(Object.fromEntries(SERVICES.map((name) => [name, { status: isThere(name) ? 'ready' : 'error' }])));
    },
  };
}
