/** redis-cluster — one Redis server in cluster mode that owns every slot: commands over several slots are refused, as in any Redis Cluster. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { eventually } from './eventually.ts';
import { freePort } from './redis.ts';
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts';

/** @param isProxied clients reach it only through `proxy` */
export async function startRedisCluster({
  isProxied = false,
} = {}): Promise<{ url: string; port: number; proxy?: TcpProxy; stop(): Promise<void> }> {
  // The cluster bus listens on the port plus 10000.
  let port = await freePort();
  while (port > 55_000) port = await freePort();
  const proxy = isProxied ? await openTcpProxy(port) : undefined;
  const announced = proxy?.port ?? port;
  const dir = mkdtempSync(join(tmpdir(), 'prisme-cluster-'));
  const child = spawn(
    'redis-server',
    [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      dir,
      '--save',
      '',
      '--appendonly',
      'no',
      '--cluster-enabled',
      'yes',
      '--cluster-announce-ip',
      '127.0.0.1',
      '--cluster-announce-port',
      String(announced),
    ],
    { stdio: 'ignore' },
  );
  const client = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on('error', () => {});
  await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  await eventually(async () => String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'));
  client.disconnect();
  return {
    url: `redis+cluster://127.0.0.1:${announced}`,
    port,
    proxy,
    stop: async () => {
      await proxy?.close();
      await new Promise<void>((resolve) => {
        child.once('exit', () => {
          rmSync(dir, { recursive: true, force: true });
          resolve();
        });
        child.kill('SIGTERM');
      });
    },
  };
}
