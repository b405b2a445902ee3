/**
 * launch — what `npm start` and `npm test` run first, on whatever Node the machine has: installs what is missing, finds the pinned Node,
 * hands over. Plain JavaScript without dependencies on purpose.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeEnvironment, nodeFlags } from './node-options.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [task, ...args] = process.argv.slice(2);

const fail = (line) => {
  console.error(line);
  process.exit(1);
};

const [major] = process.versions.node.split('.').map(Number);
if (major < 20) fail(`Node 20 or later is needed to start (this is ${process.version}); the project then brings its own Node 24.`);

/** node_modules is complete when npm's own record of it is not older than the lock file. */
function isInstalled() {
  const record = join(root, 'node_modules', '.package-lock.json');
  return existsSync(record) && statSync(record).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs - 1000;
}

function sameLock() {
  try {
    const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
    const found = JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8')).packages;
    return Object.entries(found).every(([name, { version }]) => wanted[name]?.version === version);
  } catch {
    return false;
  }
}

if (!isInstalled() && !sameLock()) {
  console.log('Installing dependencies (npm ci) …');
  // What npm has in its cache is what the lock file's digests say: asking the registry again about each package only costs minutes.
  const ci = ['ci', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
  const done = spawnSync('npm', ci, { cwd: root, stdio: 'inherit' });
  if (done.status !== 0) fail('The dependencies could not be installed: see the lines above.');
}

/** The pinned Node, or this one when it is of the right line (macOS has no pinned package). */
function findNode() {
  const pinned = join(root, 'node_modules', '.bin', 'node');
  if (existsSync(pinned)) return pinned;
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major === 24 && minor >= 21) return process.execPath;
  return fail(`Node 24.21 or later of the 24 line is needed on this platform, this is ${process.version}.`);
}

const node = findNode();
const script = { start: 'scripts/start.ts', test: 'scripts/test.ts' }[task] ?? fail(`Unknown task '${task}'.`);
const isStart = task === 'start';
const flags = isStart ? nodeFlags : ['--disable-warning=ExperimentalWarning'];
const child = spawn(node, [...flags, join(root, script), ...args], {
  cwd: root,
  stdio: 'inherit',
  env: { ...nodeEnvironment(root), PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH}` },
});
// A terminal sends Ctrl-C to both; the child stops in order and decides the exit code.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => signal === 'SIGTERM' && child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
