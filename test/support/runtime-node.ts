/**
 * runtime-node — the runtime of one node without Moleculer, gateway and language: real bus and cache, automations written as functions over
 * the world. For what must hold whatever the language does: journals, waits, recovery, schedules.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type OpenedBus, openBus } from '../../mixins/bus/bus.ts';
import { type Config, loadConfig, useConfig } from '../../mixins/shared/config.ts';
import { fault } from '../../mixins/shared/errors.ts';
import { EMIT_TOPIC } from '../../mixins/shared/event.ts';
import { hexId } from '../../mixins/shared/ids.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import { openCache } from '../../mixins/storage/cache/open.ts';
import { openDocumentsDriver } from '../../mixins/storage/documents/open.ts';
import type { CompiledAutomation, Effect, Frame, RunInput, World } from '../../services/runtime/interpreter/index.ts';
import { openRuntime, type Runtime } from '../../services/runtime/open.ts';

/** One automation: `ask` performs an effect under the next key. */
export type Program = (ask: (effect: Effect) => Promise<any>, input: RunInput) => Promise<unknown>;

export interface Automation {
  events?: string[];
  schedules?: { cron: string; timezone?: string }[];
  run: Program;
}

export interface RuntimeNode {
  runtime: Runtime;
  bus: OpenedBus;
  cache: CacheDriver;
  emit(type: string, payload?: JsonObject, id?: string): Promise<string>;
  stop(): Promise<void>;
  /** As `kill -9`: nothing more is written, nothing is handed over. */
  die(): Promise<void>;
}

export const WORKSPACE = 'ws-test';

/** An embedded cache in a folder of its own; `drop` closes and removes it. */
export async function testCache(): Promise<CacheDriver & { drop(): Promise<void> }> {
  const dataDir = mkdtempSync(join(tmpdir(), 'prisme-cache-'));
  const cache = await openCache(loadConfig({}, { dataDir }));
  return Object.assign(cache, {
    async drop() {
      await cache.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  });
}

export interface Stores {
  config: Config;
  cleanUp(): void;
}

/** Stores shared by the nodes of a test: files of a temporary folder, or a Redis. */
export function testStores(redisUrl?: string, overrides: Partial<Config> = {}): Stores {
  const dataDir = mkdtempSync(join(tmpdir(), 'prisme-runtime-'));
  const config = loadConfig(
    {},
    {
      dataDir,
      namespace: `t${hexId().slice(0, 8)}`,
      ...(redisUrl ? { busUrl: redisUrl, cacheUrl: redisUrl } : {}),
      rateLimitDisabled: true,
      ...overrides,
    },
  );
  return { config, cleanUp: () => rmSync(dataDir, { recursive: true, force: true }) };
}

export async function startNode(stores: Stores, automations: Record<string, Automation>, name = 'node'): Promise<RuntimeNode> {
  const config = { ...stores.config, nodeId: name };
  const bus = await openBus(config, { service: 'runtime', leaseMs: 2_000, tickMs: 200, drainMs: 200 });
  const opened = await openCache(config);
  const documents = await openDocumentsDriver(config);
  let isDead = false;
  const never = new Promise<never>(() => {});
  // A dead node's calls never come back and change nothing.
  const cache = new Proxy(opened, {
    get: (target, key) => {
      const method = Reflect.get(target, key) as (...args: unknown[]) => unknown;
      return typeof method === 'function' ? (...args: unknown[]) => (isDead ? never : method.apply(target, args)) : method;
    },
  });
  const answers: Record<string, (params: any) => unknown> = {
    'workspaces.model': () => ({ id: WORKSPACE, slug: 'test', name: 'Test', revision: 1, config: {}, imports: {}, automations: sources }),
    'workspaces.revisions': () => ({ [WORKSPACE]: 1 }),
    'workspaces.removed': () => null,
    'appInstances.former': () => null,
    'apps.revisions': () => ({}),
    'workspaces.resolve': () => ({ id: WORKSPACE }),
  };
  const sources = Object.fromEntries(Object.keys(automations).map((slug) => [slug, { name: slug, do: [] }]));
  const broker = {
    async call(action: string, params: unknown) {
      const answer = answers[action];
      if (!answer) throw fault('ObjectNotFoundError', { message: action });
      return answer(params);
    },
    broadcast: async () => {},
  };
  useConfig(broker as never, config);
  const runtime = await openRuntime(
    {
      broker: broker as never,
      bus,
      cache,
      documents,
      logger: { error() {}, warn() {}, info() {}, debug() {} } as never,
      abilityFor: async () => ({
        can: () => true,
        assert() {},
        explain: () => ({ allowed: true, reason: '', considered: [] }),
        covers: () => false,
        condition: () => null,
        query: () => null,
      }),
      systemMeta: () => ({}),
      delegatedMeta: () => ({}),
    },
    {
      compile: (source) => ({
        source,
        problems: [],
        automations: new Map(
          Object.entries(automations).map(([slug, { events = [], schedules = [] }]): [string, CompiledAutomation] => [
            slug,
            {
              slug,
              isPrivate: false,
              isDisabled: false,
              triggers: { events, endpoint: slug, schedules },
              secretPaths: [],
              redactPaths: { payload: [], output: [] },
              body: null,
            },
          ]),
        ),
      }),
      interpret: async (input) => ({
        output: await (automations[input.automation.slug] as Automation).run(asker(input), input),
        isBroken: false,
        throttledMs: 0,
      }),
    },
  );
  const close = async () => {
    await bus.close({ drainMs: 100 }).catch(() => {});
    await opened.close().catch(() => {});
    await documents.close().catch(() => {});
  };
  return {
    runtime,
    bus,
    cache: opened,
    async emit(type, payload = {}, id) {
      const event = await bus.send(type, payload, {
        topic: EMIT_TOPIC,
        source: { workspaceId: WORKSPACE, correlationId: hexId() },
        ...(id ? { id } : {}),
      });
      return event.id;
    },
    async stop() {
      await runtime.stop(500);
      await close();
    },
    async die() {
      isDead = true;
      for (const active of runtime.execution.actives.values()) active.world?.silence();
      await Promise.race([bus.close({ drainMs: 0 }).catch(() => {}), new Promise((done) => setTimeout(done, 300))]);
      void runtime.stop(0).catch(() => {});
      await opened.close().catch(() => {});
      await documents.close().catch(() => {});
    },
  };
}

/** Numbers the effects of one program, as the interpreter does. */
function asker({ world, automation, identity, run }: RunInput): (effect: Effect) => Promise<unknown> {
  let n = 0;
  const frame: Frame = { automationSlug: automation.slug, instance: '', depth: run.depth + 1, identity };
  return async (effect) => (world as World).perform({ key: String(++n), effect, frame });
}
