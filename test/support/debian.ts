/** debian — packages that suites need, installed when this is root on Debian. Test files that miss the same one take turns. */
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const quietly = (command: string, args: string[]): boolean => {
  try {
    execFileSync(command, args, { stdio: 'ignore', timeout: 300_000, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
    return true;
  } catch {
    return false;
  }
};

/**
 * Whether `program` is there, after an attempt to install `packages`. With CI=true its absence is a failure where packages can be installed, and
 * a loud skip elsewhere.
 */
export function hasProgram(program: string, packages: string[], what: string): boolean {
  const isThere = () => quietly('sh', ['-c', `command -v ${program}`]);
  if (isThere()) return true;
  const canInstall = process.getuid?.() === 0 && quietly('apt-get', ['--version']);
  const install = `command -v ${program} || { apt-get update && apt-get install -y --no-install-recommends ${packages.join(' ')}; }`;
  if (canInstall && quietly('flock', [join(tmpdir(), 'prisme-test-apt.lock'), 'sh', '-c', install]) && isThere()) return true;
  if (process.env.CI === 'true' && canInstall) throw new Error(`CI needs ${packages.join(', ')} for ${what}`);
  console.warn(`SKIPPED: ${what} (${program} is not on this machine and cannot be installed)`);
  return false;
}
