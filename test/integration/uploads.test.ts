/** Uploads through a gateway to the service that owns files, on another node. */
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ServiceBroker } from 'moleculer';
import { brokerOptions } from '../../moleculer.config.ts';
import files from '../../services/workspaces/files.service.ts';
import workspaces from '../../services/workspaces/workspaces.service.ts';
import { type Client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';

describe('a file on its way from a gateway to another node', () => {
  let gateways: Gateways;
  let other: ServiceBroker;
  let admin: Client;
  let path: string;

  beforeAll(async () => {
    gateways = await startGateways({}, { transporterUrl: 'Fake', uploadMaxBytes: 5_000_000 });
    const config = gateways.nodes[0]?.config as (typeof gateways.nodes)[number]['config'];
    other = new ServiceBroker({ ...brokerOptions({ ...config, nodeId: 'other' }), logger: false } as never);
    for (const service of [workspaces, files]) other.createService({ ...service });
    await other.start();
    await gateways.nodes[0]?.broker.waitForServices(['workspaces', 'files'], 30_000);
    admin = await gateways.admin();
    path = `/workspaces/${(await expectOk(admin.post('/workspaces', { name: 'Uploads' }))).id}/files`;
  });
  afterAll(async () => {
    await other?.stop();
    await gateways?.stop();
  });

  const waiting = () => (gateways.nodes[0]?.broker.getLocalService('gateway') as any).spool.count as number;
  const kept = async (): Promise<string[]> => (await expectOk<any[]>(admin.get(path))).map(({ name }) => name).sort();

  it('arrives as it was sent, and waits nowhere afterwards', async () => {
    const content = randomBytes(1_700_001);
    const [file] = await expectOk<any[]>(admin.upload(path, 'file', 'random.bin', content, 'application/octet-stream'));
    expect(file).toMatchObject({ name: 'random.bin', size: content.length });
    const answer = await fetch(file.url, { headers: { authorization: `Bearer ${admin.token}` } });
    expect(Buffer.from(await answer.arrayBuffer()).equals(content)).toBe(true);
    expect([waiting(), readdirSync(join(gateways.dataDir, 'spool'))]).toEqual([0, []]);
  });

  it('replaces another one', async () => {
    const [file] = await expectOk<any[]>(admin.upload(path, 'file', 'old.txt', Buffer.from('old'), 'text/plain'));
    const form = new FormData();
    form.append('file', new Blob(['the new content'], { type: 'text/plain' }), 'new.txt');
    expect((await expectOk(admin.request('PUT', `${path}/${file.id}`, form))).size).toBe(15);
    const answer = await fetch(file.url, { headers: { authorization: `Bearer ${admin.token}` } });
    expect(await answer.text()).toBe('the new content');
    await expectOk(admin.delete(`${path}/${file.id}`));
  });

  it('leaves nothing when it is too large, not wanted, or left in the middle', async () => {
    const before = await kept();
    expect(await admin.upload(path, 'file', 'large.bin', new Uint8Array(5_100_000))).toMatchObject({ status: 413 });
    expect(await admin.upload(path, 'file', 'evil.bin', new Uint8Array(10), 'model/evil')).toMatchObject({
      status: 400,
      body: { error: 'InvalidUploadError' },
    });
    const stranger = await newUser(gateways.url, 'stranger');
    const place = path.replace(/workspaces\/[^/]+/, 'workspaces/nowhere');
    expect((await stranger.upload(place, 'file', 'x.bin', new Uint8Array(10))).status).toBeGreaterThanOrEqual(403);

    const sending = request(`${gateways.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${admin.token}`, 'content-type': 'multipart/form-data; boundary=b' },
    });
    sending.on('error', () => {});
    sending.write('--b\r\ncontent-disposition: form-data; name="file"; filename="half.bin"\r\n\r\n');
    sending.write(Buffer.alloc(100_000));
    await eventually(() => expect(sending.socket?.writableLength).toBe(0));
    const isGone = new Promise((done) => sending.on('close', done));
    sending.destroy();
    await isGone;

    await eventually(() => expect(waiting()).toBe(0));
    expect(await kept()).toEqual(before);
  });

  it('is not fetched because a client says that it waits somewhere', async () => {
    const before = await kept();
    for (const node of [gateways.nodes[0]?.broker.nodeID, 'nobody']) {
      const spooled = { node, ref: 'f'.repeat(32), size: 10 };
      const answer = await admin.post(path, { files: [{ originalname: 'x.txt', mimetype: 'text/plain', spooled }] });
      expect([answer.status, answer.body.error]).toEqual([400, 'InvalidUploadError']);
    }
    expect(await kept()).toEqual(before);
  });
});
