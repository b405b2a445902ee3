/** cluster — what the rows of access-control.md 11 run on: two nodes of the whole platform over one Redis, two tenants, and a key ring of the test. */
import { type Client, client } from '../../support/client.ts';
import { type Platform, startPlatform } from '../../support/platform.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { makeTenants, type Tenants } from '../../support/tenants.ts';
import { type TokenRing, tokenRing } from '../../support/token-ring.ts';

export interface Cluster extends Tenants {
  platform: Platform;
  redis: TestRedis;
  namespace: string;
  ring: TokenRing;
  /** Base addresses of both gateways. */
  urls: [string, string];
  /** The same caller at each gateway in turn. */
  everywhere(token: string | undefined, check: (at: Client) => Promise<void>): Promise<void>;
  stop(): Promise<void>;
}

export async function startCluster(): Promise<Cluster> {
  const ring = tokenRing();
  const redis = await startRedis({ appendOnly: false });
  const namespace = `rows-${process.pid}`;
  const platform = await startPlatform({
    mode: 'embedded',
    env: { TRANSPORTER: redis.url, BUS_URL: redis.url, CACHE_URL: redis.url, TOKEN_KEYS: ring.env, PRISME_NAMESPACE: namespace },
  });
  try {
    await platform.start('all');
    const urls = platform.gateways as [string, string];
    const tenants = await makeTenants(platform, ring);
    return {
      ...tenants,
      platform,
      redis,
      namespace,
      ring,
      urls,
      async everywhere(token, check) {
        for (const url of urls) await check(client(url, token));
      },
      async stop() {
        await platform.stop();
        await redis.stop();
      },
    };
  } catch (error) {
    await platform.stop();
    await redis.stop();
    throw error;
  }
}
