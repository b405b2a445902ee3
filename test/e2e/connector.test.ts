/** A real workspace of today's product, imported over REST: every row of "Expected results" in test/fixtures/workspaces/README.md. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { zipFolder } from '../support/archive.ts';
import { type Client, expectOk, newUser } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Platform, startPlatform } from '../support/platform.ts';
import { freePort } from '../support/redis.ts';

const fixtures = join(import.meta.dirname, '../fixtures/workspaces');

interface Seen {
  method: string;
  url: string;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

describe('the Salesforce connector', () => {
  let platform: Platform;
  let owner: Client;
  let connectorId: string;
  let functions: ChildProcess;
  let stub: Server;
  const seen: Seen[] = [];
  let answer: { status: number; body: unknown } = { status: 200, body: {} };

  beforeAll(async () => {
    const functionsPort = await freePort();
    functions = spawn(process.execPath, [join(fixtures, 'custom-code-standin/functions-stub.mjs'), String(functionsPort)], {
      stdio: 'ignore',
    });
    stub = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        seen.push({ method: request.method as string, url: request.url as string, headers: request.headers, body });
        response.writeHead(answer.status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(answer.body));
      });
    });
    await new Promise<void>((done) => stub.listen(0, '127.0.0.1', done));
    const stubPort = (stub.address() as { port: number }).port;
    platform = await startPlatform({
      mode: 'embedded',
      env: { FETCH_ALLOWED_PRIVATE_HOSTS: `127.0.0.1:${functionsPort},127.0.0.1:${stubPort}` },
    });
    owner = await newUser(platform.url, 'integrator');

    const app = await expectOk(owner.post('/workspaces', { name: 'Custom Code' }));
    await expectOk(
      owner.upload(`/workspaces/${app.id}/import`, 'archive', 'workspace.zip', zipFolder(join(fixtures, 'custom-code-standin'))),
    );
    await expectOk(
      owner.patch(`/workspaces/${app.id}/config`, { value: { functionsUrl: `http://127.0.0.1:${functionsPort}`, functions: {} } }),
    );
    await expectOk(owner.post('/apps', { workspaceId: app.id, slug: 'Custom Code', name: 'Custom Code', description: 'Runs functions' }));

    const connector = await expectOk(owner.post('/workspaces', { name: 'Connector' }));
    connectorId = connector.id;
    const result = await expectOk(
      owner.upload(
        `/workspaces/${connectorId}/import?prune=true`,
        'archive',
        'workspace.zip',
        zipFolder(join(fixtures, 'salesforce-next')),
      ),
    );
    expect(result.errors ?? []).toEqual([]);
    const { value } = await expectOk(owner.get(`/workspaces/${connectorId}/config`));
    await expectOk(
      owner.patch(`/workspaces/${connectorId}/config`, {
        value: {
          ...value,
          authMode: 'accessToken',
          accessToken: 'tok-1',
          instanceUrl: `http://127.0.0.1:${stubPort}`,
          apiVersion: 'v60.0',
        },
      }),
    );
    await eventually(
      async () =>
        (await owner.post(`/workspaces/${connectorId}/test/formatToolOutput`, { payload: { operation: 'action' } })).status === 200,
    );
  }, 120_000);

  afterAll(async () => {
    await platform?.stop();
    functions?.kill();
    stub?.close();
  }, 60_000);

  const call = async (slug: string, payload: object, stubbed = { status: 200, body: {} as unknown }) => {
    seen.length = 0;
    answer = stubbed;
    const { status, body } = await owner.post(`/workspaces/${connectorId}/test/${slug}`, { payload });
    expect({ status, body }).toMatchObject({ status: 200 });
    return body;
  };

  it('imports all 31 automations, the import and the security', async () => {
    const workspace = await expectOk(owner.get(`/workspaces/${connectorId}`));

    expect(Object.keys(workspace.automations)).toHaveLength(31);
    expect(workspace.automations['v1/status']).toBeDefined();
    expect(Object.keys(workspace.imports)).toEqual(['Custom Code']);
  });

  it('createRecord posts the record with the token and returns the answer', async () => {
    const created = { id: '003A', success: true, errors: [] };

    expect(await call('createRecord', { sObjectName: 'Contact', body: { LastName: 'Doe' } }, { status: 201, body: created })).toEqual(
      created,
    );

    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({
      method: 'POST',
      url: '/services/data/v60.0/sobjects/Contact',
      headers: { authorization: 'Bearer tok-1', 'content-type': 'application/json' },
      body: '{"LastName":"Doe"}',
    });
  });

  it('getRecord asks for the fields and returns that JSON', async () => {
    const record = { Id: '001', Name: 'Acme' };

    expect(await call('getRecord', { sObjectName: 'Account', recordId: '001', fields: 'Id,Name' }, { status: 200, body: record })).toEqual(
      record,
    );
    expect(seen[0]).toMatchObject({ method: 'GET', url: '/services/data/v60.0/sobjects/Account/001?fields=Id%2CName' });
  });

  it('getRecord without id calls nothing and says which parameter is missing', async () => {
    expect(await call('getRecord', { sObjectName: 'Account' })).toEqual({
      error: {
        isError: true,
        content: [{ type: 'text', text: 'Salesforce request build failed for getRecord: Missing required path param: recordId' }],
      },
    });
    expect(seen).toEqual([]);
  });

  it('getRecord translates a 404 of the service', async () => {
    const gone = { status: 404, body: [{ message: 'gone', errorCode: 'NOT_FOUND' }] };

    expect(await call('getRecord', { sObjectName: 'Account', recordId: 'x' }, gone)).toEqual({
      error: { isError: true, content: [{ type: 'text', text: 'Resource not found while getRecord. Detail: NOT_FOUND: gone' }] },
    });
  });

  it('uploadIngestData sends the CSV byte for byte', async () => {
    expect(await call('uploadIngestData', { jobId: '750', rawBody: 'Name,Qty\nAcme,1\n' }, { status: 200, body: { ok: true } })).toEqual({
      ok: true,
    });
    expect(seen[0]).toMatchObject({ method: 'PUT', url: '/services/data/v60.0/jobs/ingest/750/batches', body: 'Name,Qty\nAcme,1\n' });
    expect(seen[0]?.headers['content-type']).toMatch(/^text\/csv/);
  });

  it('formatToolOutput tells an empty list and an action', async () => {
    expect(await call('formatToolOutput', { operation: 'list', itemType: 'contacts', location: 'org 1', items: [] })).toEqual({
      content: [{ type: 'text', text: 'No contacts found in org 1.' }],
    });
    expect(await call('formatToolOutput', { operation: 'action' })).toEqual({
      content: [{ type: 'text', text: 'Action completed successfully.' }],
    });
  });

  it('handleApiError is an empty object over HTTP when there is no error', async () => {
    expect(await call('handleApiError', { response: { status: 204 }, operation: 'op' })).toEqual({});
  });

  it('answers its webhook of two path segments', async () => {
    const status = await owner.get(`/workspaces/${connectorId}/webhooks/v1/status`);

    expect(status.status).toBe(200);
    expect((await owner.get(`/workspaces/slug:salesforce-next/webhooks/v1/status`)).status).toBe(
      (await owner.get(`/workspaces/${connectorId}`)).body.slug === 'salesforce-next' ? 200 : 404,
    );
  });
});
