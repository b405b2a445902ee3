/**
 * swift — a private S3 server for tests: OpenStack Swift with its s3api, an implementation independent of ours. One device, one replica, loopback
 * only. Uses TEST_S3_URL when set, else Debian's packages (installed when root and missing).
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { s3Files } from '../../mixins/storage/files/drivers/s3.ts';
import { hasProgram } from './debian.ts';
import { eventually } from './eventually.ts';
import { freePort } from './redis.ts';

export interface TestS3 {
  /** For FILES_URL, with a bucket that need not exist. */
  url: string;
  stop(): Promise<void>;
}

const PACKAGES = ['swift', 'swift-proxy', 'swift-account', 'swift-container', 'swift-object'];
const SERVERS = ['object', 'container', 'account'] as const;

/** Whether suites that need S3 can run. */
export const s3Available = (): boolean =>
  Boolean(process.env.TEST_S3_URL) || hasProgram('swift-proxy-server', PACKAGES, 'files on S3 (without TEST_S3_URL)');

const ATTEMPTS = 3;
/** Rings of one device each: `folder name port name port …`. */
const RINGS = `
import sys
from swift.common.ring import RingBuilder
folder, rest = sys.argv[1], sys.argv[2:]
for name, port in zip(rest[::2], rest[1::2]):
    ring = RingBuilder(4, 1, 1)
    ring.add_dev({'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': int(port), 'device': 'd1', 'weight': 1,
                  'replication_ip': '127.0.0.1', 'replication_port': int(port), 'meta': ''})
    ring.rebalance()
    ring.get_ring().save(folder + '/' + name + '.ring.gz')
`;

/** Ready to take files. A port that another process took meanwhile is no reason to fail: it starts again with others. */
export async function startSwift(): Promise<TestS3> {
  if (process.env.TEST_S3_URL) return { url: process.env.TEST_S3_URL, stop: async () => {} };
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce();
    } catch (error) {
      if (attempt >= ATTEMPTS) throw error;
      console.warn(`Swift did not start (${(error as Error).message}); trying again`);
    }
  }
}

async function startOnce(): Promise<TestS3> {
  const folder = mkdtempSync(join(tmpdir(), 'prisme-swift-'));
  mkdirSync(join(folder, 'devices', 'd1'), { recursive: true });
  const proxyPort = await freePort();
  const common = (port: number) =>
    `[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = ${port}\nuser = ${userInfo().username}\nswift_dir = ${folder}\nworkers = 0\nlog_address = ${folder}/none\n`;
  const children: ChildProcess[] = [];
  const run = (name: string) => {
    children.push(spawn(`/usr/bin/swift-${name}-server`, [join(folder, `${name}.conf`)], { stdio: 'ignore' }));
  };

  const ports = await Promise.all(SERVERS.map(() => freePort()));
  // One process for the three rings: starting Python is what costs.
  execFileSync('/usr/bin/python3', ['-c', RINGS, folder, ...SERVERS.flatMap((name, at) => [name, String(ports[at])])], { stdio: 'ignore' });
  for (const [at, name] of SERVERS.entries()) {
    writeFileSync(
      join(folder, `${name}.conf`),
      `${common(ports[at] as number)}devices = ${folder}/devices\nmount_check = false\ndisable_fallocate = true\n[pipeline:main]\npipeline = ${name}-server\n[app:${name}-server]\nuse = egg:swift#${name}\n`,
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
  const url = `s3://${encodeURIComponent('test:tester')}:testing@127.0.0.1:${proxyPort}/prisme-test?tls=false`;
  try {
    // The proxy answers before the servers behind it do, which on a busy machine takes a while: a bucket proves them all.
    await eventually(
      async () => {
        if (children.some(({ exitCode }) => exitCode !== null)) return true;
        await (await s3Files(url, 'probe', { startWithinMs: 1 })).close();
        return true;
      },
      { timeoutMs: 120_000, everyMs: 200 },
    );
    const ended = children.findIndex(({ exitCode }) => exitCode !== null);
    if (ended >= 0) throw new Error(`the ${[...SERVERS, 'proxy'][ended]} server ended`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
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
