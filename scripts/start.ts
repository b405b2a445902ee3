/**
 * start — `npm start [-- services/runtime …] [-- --no-sample]`: one node, run by moleculer-runner with moleculer.config.ts.
 * Checks what would fail later with a long trace, starts, seeds the sample workspace when this node holds the whole platform and is new,
 * and prints where to go next.
 */
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import Moleculer, { type ServiceBroker } from 'moleculer';
import { type Config, ensureDataDir, loadConfig } from '../mixins/shared/config.ts';
import { welcome } from './welcome.ts';

const PARTS = ['gateway', 'events', 'runtime', 'workspaces'];
const root = resolve(import.meta.dirname, '..');

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

/** Folders of the services this node runs, from the arguments or SERVICES. */
function selection(config: Config, args: string[]): string[] {
  const named = args
    .filter((argument) => !argument.startsWith('-'))
    .map((argument) => argument.replace(/^services\//, '').replace(/\/$/, ''));
  const parts = named.length ? named : config.services;
  for (const part of parts)
    if (!existsSync(join(root, 'services', part))) fail(`There is no service '${part}'. Known: ${PARTS.join(', ')}.`);
  return parts.length ? parts : PARTS;
}

/** One clear line instead of a trace from the middle of the start. */
function assertPortFree(config: Config): Promise<void> {
  return new Promise((done) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') fail(`Port ${config.port} of ${config.host} is busy. Set PORT to another one.`);
      fail(`Cannot listen on ${config.host}:${config.port}: ${error.message}`);
    });
    probe.listen(config.port, config.host, () => probe.close(() => done()));
  });
}

interface Runner {
  start(argv: string[]): Promise<ServiceBroker>;
  startBroker(): Promise<ServiceBroker>;
}
const MoleculerRunner = (Moleculer as unknown as { Runner: new () => Runner }).Runner;

/** moleculer-runner, except that a configuration mistake is one line and not a dump of the error. */
class PlainSpokenRunner extends MoleculerRunner {
  override async startBroker(): Promise<ServiceBroker> {
    try {
      return await super.startBroker();
    } catch (error) {
      if ((error as { type?: string }).type === 'ConfigurationError') fail((error as Error).message);
      throw error;
    }
  }
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  const config = loadConfig();
  const parts = selection(config, args);
  ensureDataDir(config);
  if (parts.includes('gateway')) await assertPortFree(config);
  if (!config.transporterUrl && parts.length < PARTS.length)
    console.warn(`Only ${parts.join(', ')} and no TRANSPORTER: this node will not find the other services.`);

  // The runner reads SERVICES itself, as paths; it was understood above.
  delete process.env.SERVICES;
  const runner = new PlainSpokenRunner();
  const folders = parts.map((part) => `services/${part}`);
  const broker = await runner.start([
    'node',
    'moleculer-runner',
    '--config',
    'moleculer.config.ts',
    '--mask',
    '**/*.service.ts',
    ...(args.includes('--repl') ? ['--repl'] : []),
    ...folders,
  ]);
  await welcome(broker, config, { parts, withSample: !config.noSample && !args.includes('--no-sample') });
}

/** Tests and supervisors that start this file through a pipe end it by closing the pipe. */
if (process.env.PRISME_EXIT_WITH_STDIN) {
  process.stdin.resume();
  process.stdin.on('end', () => process.kill(process.pid, 'SIGTERM'));
}

main().catch((error: Error & { type?: string }) =>
  fail(error.type === 'ConfigurationError' ? error.message : (error.stack ?? String(error))),
);
