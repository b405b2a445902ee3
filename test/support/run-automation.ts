/** run-automation — compiles a workspace given as data and runs one of its automations in a fake world. */
import {
  type CompiledWorkspace,
  compileWorkspace,
  type Problem,
  type RunInput,
  type RunLimits,
  type RunModel,
  runAutomation,
  type WorkspaceSource,
} from '../../services/runtime/interpreter/index.ts';
import { type FakeWorld, type FakeWorldOptions, fakeWorld } from './fake-world.ts';

export interface ModelData {
  automations: Record<string, any>;
  imports?: Record<string, any>;
  config?: any;
  secrets?: any;
  globals?: any;
  /** App instances by slug. */
  apps?: Record<string, ModelData & { appSlug?: string }>;
}

export function modelOf(data: ModelData, instance = '', parents: string[] = [], appSlug?: string): RunModel & { problems: Problem[] } {
  const source = {
    id: 'wks0001',
    slug: 'test',
    name: 'Test',
    revision: 1,
    automations: data.automations,
    imports: { ...data.imports, ...Object.fromEntries(Object.keys(data.apps ?? {}).map((slug) => [slug, { appSlug: slug }])) },
    config: { value: data.config ?? {} },
  } as unknown as WorkspaceSource;
  const workspace: CompiledWorkspace = compileWorkspace(source);
  const children = new Map(
    Object.entries(data.apps ?? {}).map(([slug, app]) => [
      slug,
      modelOf(app, instance ? `${instance}.${slug}` : slug, appSlug ? [appSlug, ...parents] : parents, app.appSlug ?? slug),
    ]),
  );
  return {
    instance,
    ...(appSlug ? { appSlug } : {}),
    parentAppSlugs: parents,
    workspace,
    problems: workspace.problems,
    config: data.config ?? {},
    secrets: data.secrets ?? {},
    secretTexts: [],
    computedGlobals: { workspaceId: 'wks0001', workspaceName: 'Test', ...data.globals },
    child: (slug) => children.get(slug),
  };
}

export interface Ran {
  output: unknown;
  isBroken: boolean;
  world: FakeWorld;
  model: ReturnType<typeof modelOf>;
}

export interface RunOptions extends FakeWorldOptions {
  automation?: string;
  payload?: Record<string, unknown>;
  identity?: RunInput['identity'];
  depth?: number;
  run?: Record<string, unknown>;
  limits?: Partial<RunLimits>;
  world?: FakeWorld;
  /** Told of the world before the run begins. */
  onWorld?(world: FakeWorld): void;
  clock?: () => number;
}

/** `automation` may be `Instance.slug`. */
export async function run(data: ModelData, options: RunOptions = {}): Promise<Ran> {
  const model = modelOf(data);
  const world = options.world ?? fakeWorld(options);
  options.onWorld?.(world);
  const [first, second] = (options.automation ?? 'main').split(/\.(?=[^.]*$)/) as [string, string?];
  let target: RunModel = model;
  if (second) for (const slug of first.split('.')) target = target.child(slug) as RunModel;
  const automation = target.workspace.automations.get(second ?? first);
  if (!automation) throw new Error(`no automation ${options.automation}`);
  const result = await runAutomation({
    model: target,
    automation,
    payload: options.payload ?? {},
    trigger: { type: 'endpoint', value: automation.slug },
    identity: options.identity ?? { userId: 'u1', sessionId: 's1' },
    run: { correlationId: 'c1', depth: options.depth ?? 0, ...options.run },
    world,
    ...(options.limits ? { limits: options.limits } : {}),
    ...(options.clock ? { clock: options.clock } : {}),
  });
  return { output: result.output, isBroken: result.isBroken, world, model };
}
