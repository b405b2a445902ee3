/**
 * swift — a private S3 server for tests: OpenStack Swift with its s3api, an implementation independent of ours. One device, one replica, loopback
 * only. Uses TEST_S3_URL when set, else Debian's packages (installed when root and missing).
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { freePort } from './redis.ts';

export interface TestS3 {
  /** For FILES_URL, with a bucket that need not exist. */
  url: string;
  stop(): Promise<void>;
}

const PACKAGES = ['swift', 'swift-proxy', 'swift-account', 'swift-container', 'swift-object'];
const SERVERS = ['object', 'container', 'account'] as const;

const quietly = (command: string, args: string[], timeout = 300_000): boolean => {
  try {
    execFileSync(command, args, { stdio: 'ignore', timeout, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
    return true;
  } catch {
    return false;
  }
};

const isInstalled = (): boolean =>
  ['proxy', ...SERVERS].every((name) => existsSync(`/usr/bin/swift-${name}-server`)) && existsSync('/etc/swift/swift.conf');

/** Whether suites that need S3 can run. With CI=true the absence is a failure where packages can be installed, and a loud skip elsewhere. */
export function s3Available(): boolean {
  if (process.env.TEST_S3_URL || isInstalled()) return true;
  const canInstall = process.getuid?.() === 0 && quietly('apt-get', ['--version']);
  // Two test files may find it missing at the same time: one installs, the other waits and finds it.
  const install = `test -x /usr/bin/swift-proxy-server || { apt-get update && apt-get install -y --no-install-recommends ${PACKAGES.join(' ')}; }`;
  if (canInstall && quietly('flock', [join(tmpdir(), 'prisme-test-apt.lock'), 'sh', '-c', install]) && isInstalled()) return true;
  if (process.env.CI === 'true' && canInstall) throw new Error(`CI needs ${PACKAGES.join(', ')} or TEST_S3_URL`);
  console.warn('SKIPPED: files on S3 (no Swift on this machine, it cannot be installed, and no TEST_S3_URL)');
  return false;
}

export async function startSwift(): Promise<TestS3> {
  if (process.env.TEST_S3_URL) return { url: process.env.TEST_S3_URL, stop: async () => {} };
  const folder = mkdtempSync(join(tmpdir(), 'prisme-swift-'));
  mkdirSync(join(folder, 'devices', 'd1'), { recursive: true });
  const proxyPort = await freePort();
  const common = (port: number) =>
    `[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = ${port}\nuser = ${userInfo().username}\nswift_dir = ${folder}\nworkers = 0\nlog_address = ${folder}/none\n`;
  const children: ChildProcess[] = [];
  const run = (name: string) => {
    children.push(spawn(`/usr/bin/swift-${name}-server`, [join(folder, `${name}.conf`)], { stdio: 'ignore' }));
  };

  for (const name of SERVERS) {
    const port = await freePort();
    const builder = join(folder, `${name}.builder`);
    execFileSync('swift-ring-builder', [builder, 'create', '4', '1', '1'], { stdio: 'ignore' });
    execFileSync('swift-ring-builder', [builder, 'add', `r1z1-127.0.0.1:${port}/d1`, '1'], { stdio: 'ignore' });
    execFileSync('swift-ring-builder', [builder, 'rebalance'], { stdio: 'ignore' });
    writeFileSync(
      join(folder, `${name}.conf`),
      `${common(port)}devices = ${folder}/devices\nmount_check = false\ndisable_fallocate = true\n[pipeline:main]\npipeline = ${name}-server\n[app:${name}-server]\nuse = egg:swift#${name}\n`,
    );
    run(name);
  }
  writeFileSync(join(folder, 'proxy.conf'), common(proxyPort) + PROXY);
  run('proxy');

  const stop = async () => {
    for (const child of children) {
      const ended = new Promise((resolve) =>
        child.exitCode === null && child.signalCode === null ? child.once('exit', resolve) : resolve(null),
      );
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    // 412 is how the proxy answers a path without an account: it runs.
    await eventually(async () => (await fetch(`http://127.0.0.1:${proxyPort}/`)).status > 0, { timeoutMs: 30_000 });
    for (const name of SERVERS) if (children[SERVERS.indexOf(name)]?.exitCode != null) throw new Error(`swift-${name}-server ended`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `s3://${encodeURIComponent('test:tester')}:testing@127.0.0.1:${proxyPort}/prisme-test?tls=false`, stop };
}

/** tempauth insists on a cache; nobody listens at this address, and it does without. */
const PROXY = `
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
`;
