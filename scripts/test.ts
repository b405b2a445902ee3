/**
 * test — `npm test`: type check, lint, every suite, then one line `N passed, N failed`. Exit code 0 only when all of it is green.
 * `npm test -- unit contract` runs only these layers. Suites that need Redis install Debian's package when they may (see ensureRedis).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const LAYERS = ['unit', 'contract', 'conformance', 'integration', 'e2e', 'crash'];
const wanted = process.argv.slice(2).filter((name) => LAYERS.includes(name));
const isCI = process.env.CI === 'true';

let passed = 0;
let failed = 0;
let skipped = 0;
const summary: string[] = [];

function step(name: string, command: string, args: string[]): void {
  const started = Date.now();
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status === 0) passed++;
  else failed++;
  summary.push(`${status === 0 ? 'ok    ' : 'FAILED'} ${name} (${Math.round((Date.now() - started) / 1000)} s)`);
}

/** A Redis for the suites: REDIS_URL, an installed server, or Debian's package when this is root on Debian. */
function ensureRedis(): void {
  const found = () => process.env.REDIS_URL || spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status === 0;
  if (found()) return;
  if (process.getuid?.() === 0 && existsSync('/etc/debian_version')) {
    console.log("Installing Debian's redis-server for the suites that need it …");
    const apt = (...args: string[]) =>
      spawnSync('apt-get', ['-qq', '-y', ...args], { stdio: 'ignore', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
    // A freshly installed service must not start by itself: the suites run their own.
    apt('update');
    apt('install', '--no-install-recommends', 'redis-server');
  }
  if (!found()) {
    console.warn('SKIPPED: suites that need Redis (no REDIS_URL, no redis-server, and it cannot be installed here)');
    if (isCI) failed++;
  }
}

/** Runs one layer with Jest and counts its tests. */
function layer(name: string): void {
  const started = Date.now();
  const folder = mkdtempSync(join(tmpdir(), 'prisme-test-'));
  const report = join(folder, 'report.json');
  const jest = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules', 'node_modules/jest/bin/jest.js'];
  // Layers that start processes or measure time get the machine for themselves.
  const workers = ['unit', 'conformance', 'contract'].includes(name) ? '2' : '1';
  const { status } = spawnSync(
    process.execPath,
    [...jest, '--selectProjects', name, '--maxWorkers', workers, '--forceExit', '--json', '--outputFile', report, '--passWithNoTests'],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  const seconds = Math.round((Date.now() - started) / 1000);
  if (!existsSync(report)) {
    failed++;
    summary.push(`FAILED ${name}: the runner ended with ${status} and no report (${seconds} s)`);
    return;
  }
  const result = JSON.parse(readFileSync(report, 'utf8'));
  rmSync(folder, { recursive: true, force: true });
  passed += result.numPassedTests;
  failed += result.numFailedTests + result.numRuntimeErrorTestSuites;
  skipped += result.numPendingTests;
  summary.push(
    `${result.success ? 'ok    ' : 'FAILED'} ${name}: ${result.numPassedTests} passed, ${result.numFailedTests} failed, ${result.numPendingTests} skipped (${seconds} s)`,
  );
  if (!result.success && result.numFailedTests + result.numRuntimeErrorTestSuites === 0) failed++;
}

if (wanted.length === 0) {
  step('typecheck', 'tsc', ['--noEmit']);
  step('lint', 'biome', ['check', '--max-diagnostics=30', '.']);
  step('import rules', process.execPath, ['--disable-warning=ExperimentalWarning', 'scripts/imports.ts']);
  step('generated documents', process.execPath, ['--disable-warning=ExperimentalWarning', 'scripts/docs.ts', '--check']);
}
ensureRedis();
for (const name of LAYERS) if (wanted.length === 0 || wanted.includes(name)) layer(name);

console.log(`\n${summary.join('\n')}\n`);
if (skipped && isCI) failed++;
console.log(skipped ? `${passed} passed, ${failed} failed, ${skipped} skipped` : `${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
