/**
 * commands — what `npm run repl` knows beyond Moleculer's own commands: act as somebody, follow events, see what starts what. Each command prints
 * what it found and never throws: a mistake at the prompt must not end the node.
 */
import type { ServiceBroker } from 'moleculer';
import { identityKeysOf } from '../../mixins/auth/auth.mixin.ts';
import type { Explanation } from '../../mixins/auth/contract.ts';
import type { Identity } from '../../mixins/auth/identity.ts';
import { bus } from '../../mixins/bus/bus.mixin.ts';
import type { BusMethods, Subscription } from '../../mixins/bus/contract.ts';
import { toPublicError } from '../../mixins/shared/errors.ts';
import { hexId } from '../../mixins/shared/ids.ts';

type Params = Record<string, string | undefined> & { options?: Record<string, unknown> };
type Print = (line: string) => void;

export interface ConsoleCommand {
  command: string;
  description: string;
  action(broker: ServiceBroker, params: Params): Promise<void>;
}

/** Answer of `security.explain`. */
type Explained = Explanation & { role?: string };

const CONSOLE = 'console';
const MAX_SHOWN_CHARS = 400;

const shortened = (value: unknown): string => {
  const text = JSON.stringify(value) ?? '';
  return text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}…` : text;
};

const systemIdentity = (broker: ServiceBroker): Identity =>
  identityKeysOf(broker).sign({ kind: 'system', service: CONSOLE, correlationId: hexId() });

const call = <T>(broker: ServiceBroker, action: string, params: object, identity = systemIdentity(broker)): Promise<T> =>
  broker.call<T, object>(action, params, { meta: { identity, correlationId: identity.correlationId } } as never);

/** The identity of a person, known by e-mail. */
async function identityOf(broker: ServiceBroker, email: string): Promise<Identity> {
  const claims = await call<Parameters<ReturnType<typeof identityKeysOf>['sign']>[0]>(broker, 'operators.claims', { email });
  return identityKeysOf(broker).sign(claims);
}

/** The bus of this node, opened by a service of its own so that a node without other services can follow events too. */
async function consoleBus(broker: ServiceBroker): Promise<BusMethods['bus']> {
  const known = broker.getLocalService(CONSOLE) as unknown as BusMethods | undefined;
  if (known) return known.bus;
  const service = broker.createService({ name: CONSOLE, mixins: [bus()] } as never);
  await broker.waitForServices(CONSOLE);
  return (service as unknown as BusMethods).bus;
}

/** @param print where a command writes; tests collect it */
export function consoleCommands(print: Print = console.log): ConsoleCommand[] {
  const following = new Map<string, Subscription>();

  const guarded =
    (action: ConsoleCommand['action']): ConsoleCommand['action'] =>
    async (broker, params) => {
      try {
        await action(broker, params);
      } catch (error) {
        const { error: name, message } = toPublicError(error);
        // Whoever has this prompt has the node: nothing is kept back.
        print(name === 'InternalServiceError' ? String(error) : `${name}: ${message}`);
      }
    };

  const commands: ConsoleCommand[] = [
    {
      command: 'as <email> <action> [json]',
      description: `Calls an action as that person: as ada@example.org workspaces.list '{"query":{}}'`,
      async action(broker, { email = '', action = '', json }) {
        const params = json === undefined ? {} : JSON.parse(json);
        print(JSON.stringify(await call(broker, action, params, await identityOf(broker, email)), null, 2));
      },
    },
    {
      command: 'tail <workspaceId> [type]',
      description: 'Prints the events of a workspace as they happen (`*` in a type stands for anything), until `untail`',
      async action(broker, { workspaceId = '', type }) {
        const id = await call<{ id: string }>(broker, 'workspaces.access', { workspaceId }).then((access) => access.id);
        const isWanted = typePattern(type);
        await following.get(id)?.stop({ drainMs: 0 });
        const eventBus = await consoleBus(broker);
        const subscription = await eventBus.on(
          '*',
          (event) => {
            if (event.source.workspaceId !== id || !isWanted(event.type)) return;
            const where = event.source.automationSlug ? ` (${event.source.automationSlug})` : '';
            print(`${event.createdAt} ${event.type}${where} ${event.source.correlationId ?? ''} ${shortened(event.payload)}`);
          },
          { mode: 'broadcast' },
        );
        following.set(id, subscription);
        print(`Following ${type ?? 'every event'} of ${id}; \`untail ${id}\` ends it.`);
      },
    },
    {
      command: 'untail [workspaceId]',
      description: 'Ends `tail` of a workspace, or of all',
      async action(_broker, { workspaceId }) {
        for (const [id, subscription] of following) {
          if (workspaceId !== undefined && id !== workspaceId) continue;
          await subscription.stop({ drainMs: 0 });
          following.delete(id);
          print(`${id} is not followed any more.`);
        }
      },
    },
    {
      command: 'explain <workspaceId> <action> <subject> [json]',
      description: `Which rule decides: explain abc123 read pages '{"userId":"u1","id":"home"}' (without userId: about a visitor)`,
      async action(broker, { workspaceId = '', action = '', subject = '', json }) {
        const question = { ...(json === undefined ? {} : JSON.parse(json)), action, subject };
        const answer = await call<Explained>(broker, 'security.explain', { workspaceId, body: question });
        print(`${answer.allowed ? 'allowed' : 'denied'}${answer.role ? ` (role ${answer.role})` : ''}: ${answer.reason}`);
        for (const { origin, effect, matches, conditions } of answer.considered)
          print(`  ${matches ? '>' : ' '} ${effect} ${origin}${conditions ? ` when ${shortened(conditions)}` : ''}`);
      },
    },
    {
      command: 'policies reload',
      description: 'Puts the gateway policies of GATEWAY_CONFIG_PATH in force on this node, as SIGHUP does',
      async action(broker) {
        const { pipelines, limits } = await call<{ pipelines: string[]; limits: string[] }>(broker, 'gateway.reload', {});
        print(`In force: pipelines ${pipelines.join(', ') || 'none'}; limits ${limits.join(', ') || 'as built in'}.`);
      },
    },
    {
      command: 'triggers <workspaceId>',
      description: 'What starts which automation of a workspace',
      async action(broker, { workspaceId = '' }) {
        const rows = await call<object[]>(broker, 'runtime.triggers', { workspaceId });
        if (rows.length === 0) print('Nothing starts an automation of this workspace.');
        for (const row of rows) print(shortened(row));
      },
    },
    {
      command: 'runs <workspaceId>',
      description: 'Runs of a workspace that left a trace: at work, waiting, failed, or ended after effects',
      async action(broker, { workspaceId = '' }) {
        const { runs } = await call<{ runs: object[] }>(broker, 'runtime.runs.list', { workspaceId });
        if (runs.length === 0) print('No run of this workspace left a trace.');
        for (const run of runs) print(shortened(run));
      },
    },
  ];
  return commands.map((command) => ({ ...command, action: guarded(command.action) }));
}

function typePattern(type: string | undefined): (given: string) => boolean {
  if (type === undefined || type === '*') return () => true;
  const parts = type.split('*');
  if (parts.length === 1) return (given) => given === type;
  return (given) => {
    const [first = '', ...rest] = parts;
    if (!given.startsWith(first)) return false;
    let from = first.length;
    for (const [i, part] of rest.entries()) {
      const at = i === rest.length - 1 ? (part === '' ? given.length : given.lastIndexOf(part)) : given.indexOf(part, from);
      if (at < from) return false;
      from = at + part.length;
    }
    return parts.at(-1) === '' || from === given.length;
  };
}
