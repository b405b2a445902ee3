/** The order desk of examples/: imported as it is, and lived through: a payment, none, a carrier that refuses, a node that dies while an order waits. */
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { zipFolder } from '../support/archive.ts';
import { type Client, client, expectOk, newUser, signIn } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { ADMIN, type Platform, startPlatform } from '../support/platform.ts';

describe('the order desk', () => {
  let platform: Platform;
  let owner: Client;
  let desk: string;
  let carrier: Server;
  let refuses = false;
  const parcels: { reference: string; weight: number; key: unknown }[] = [];

  const at = (path: string) => `/workspaces/${desk}/webhooks/${path}`;
  const place = async (quantity = 2) => {
    const { status, body } = await client(platform.url).post(at('orders'), { sku: 'tea', quantity });
    expect(status).toBe(201);
    return body.id as string;
  };
  const state = async (id: string) => (await client(platform.url).get(at(`orders/${id}`))).body.state;
  const pay = (id: string) => client(platform.url).post(at(`orders/${id}/payment`), {});

  beforeAll(async () => {
    carrier = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk) => {
        text += chunk;
      });
      request.on('end', () => {
        if (!refuses) parcels.push({ ...JSON.parse(text), key: request.headers['idempotency-key'] });
        response.writeHead(refuses ? 422 : 201, { 'content-type': 'application/json' });
        response.end(JSON.stringify(refuses ? { why: 'full' } : { number: `P-${parcels.length}` }));
      });
    });
    await new Promise<void>((done) => carrier.listen(0, '127.0.0.1', done));
    const { port } = carrier.address() as { port: number };
    platform = await startPlatform({ mode: 'embedded', env: { FETCH_ALLOWED_PRIVATE_HOSTS: `127.0.0.1:${port}` } });
    owner = await newUser(platform.url, 'seller');
    const made = await expectOk(
      owner.upload('/workspaces/import', 'archive', 'workspace.zip', zipFolder(join(import.meta.dirname, '../../examples/order-desk'))),
    );
    expect(made.errors).toEqual([]);
    desk = made.id;
    await expectOk(owner.patch(`/workspaces/${desk}/config`, { value: { carrierUrl: `http://127.0.0.1:${port}`, paymentTimeout: 300 } }));
    await eventually(async () => (await client(platform.url).get(at('orders/none'))).status === 404);
  }, 120_000);

  afterAll(async () => {
    await platform?.stop();
    carrier?.close();
  }, 60_000);

  it('plans its one schedule', async () => {
    expect(await expectOk(owner.get(`/workspaces/${desk}/schedules`))).toEqual([
      expect.objectContaining({ automation: 'orders/count', cron: '0 7 * * *' }),
    ]);
  });

  it('ships a paid order', async () => {
    const id = await place(4);
    await eventually(async () => (await state(id)) === 'placed');

    expect(await pay(id)).toMatchObject({ status: 200, body: '' });

    await eventually(async () => (await state(id)) === 'shipped');
    expect(parcels.at(-1)).toMatchObject({ reference: id, weight: 1 });
    expect((await client(platform.url).get(at(`orders/${id}`))).body).toEqual({
      sku: 'tea',
      quantity: 4,
      state: 'shipped',
      parcel: `P-${parcels.length}`,
    });
  });

  it('takes a payment that is faster than the automation that waits for it', async () => {
    const id = await place();
    await pay(id);

    await eventually(async () => (await state(id)) === 'shipped');
  });

  it('refuses an order that is not one, and tells what is missing', async () => {
    const answer = await client(platform.url).post(at('orders'), { sku: 'tea', quantity: 0 });

    expect(answer).toMatchObject({ status: 400, body: { error: 'InvalidArgumentsError', message: expect.any(String) } });
    expect(await client(platform.url).get(at('orders/none'))).toMatchObject({ status: 404, body: { error: 'UnknownOrder' } });
  });

  it('marks an order that the carrier refuses, and says why', async () => {
    refuses = true;
    const id = await place();
    await pay(id);

    await eventually(async () => (await state(id)) === 'stuck');
    refuses = false;
    const found = await eventually(async () => {
      const { result } = await expectOk(owner.get(`/workspaces/${desk}/events?types=order.stuck`));
      return result.events.length === 1 && result.events;
    });
    expect(found[0].payload).toEqual({ id, reason: 'The carrier refused the parcel.' });
  });

  it('goes on with an order whose node was killed while it waited, and sends one parcel', async () => {
    const id = await place();
    await eventually(async () => (await state(id)) === 'placed');
    const waits = async () =>
      (await expectOk(owner.get(`/workspaces/${desk}/runs?state=waiting`))).runs.filter(
        (run: { automation: string }) => run.automation === 'orders/fulfil',
      );
    await eventually(async () => (await waits()).length > 0);

    await platform.kill(platform.nodes[0] as (typeof platform.nodes)[number]);
    const again = await platform.start('all');
    platform.url = again.url as string;
    await pay(id);

    await eventually(async () => (await state(id)) === 'shipped', { timeoutMs: 30_000 });
    expect(parcels.filter(({ reference }) => reference === id)).toHaveLength(1);
    expect((await signIn(platform.url, ADMIN)).token).toBeTruthy();
  }, 90_000);
});
