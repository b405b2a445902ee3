/** The console of a node (`npm run repl`), typed into as an operator would. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { client, expectOk, signIn } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { ADMIN } from '../support/platform.ts';
import { freePort } from '../support/redis.ts';

describe('the console', () => {
  const home = mkdtempSync(join(tmpdir(), 'prisme-console-'));
  let node: ChildProcess;
  let url: string;
  let shown = '';

  beforeAll(async () => {
    const port = await freePort();
    url = `http://127.0.0.1:${port}/v2`;
    node = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', 'scripts/start.ts', '--repl'], {
      cwd: join(import.meta.dirname, '../..'),
      stdio: ['pipe', 'pipe', 'inherit'],
      env: {
        PATH: process.env.PATH,
        HOME: home,
        PORT: String(port),
        DATA_DIR: join(home, 'data'),
        LOG_LEVEL: 'warn',
        PRISME_ADMIN_EMAIL: ADMIN.email,
        PRISME_ADMIN_PASSWORD: ADMIN.password,
      } as NodeJS.ProcessEnv,
    });
    node.stdout?.on('data', (chunk) => {
      shown += chunk;
    });
    await eventually(() => /curl .*webhooks/.test(shown), { timeoutMs: 60_000 });
  }, 90_000);

  afterAll(async () => {
    const ended = new Promise((resolve) => node.once('exit', resolve));
    node.stdin?.write('exit\n');
    expect(await ended).toBe(0);
    rmSync(home, { recursive: true, force: true });
  }, 30_000);

  beforeEach(() => {
    shown = '';
  });

  const type = (line: string) => node.stdin?.write(`${line}\n`);
  const shows = (what: string | RegExp) => eventually(() => expect(shown).toMatch(what), { timeoutMs: 15_000 });

  it('calls an action as a person, with that person’s rights', async () => {
    await expectOk(client(url).post('/signup', { email: 'guest@example.org', password: 'a-long-password-1' }));

    type(`as ${ADMIN.email} workspaces.list '{"query":{}}'`);
    await shows(/"slug": "hello-world"/);
    shown = '';
    type(`as guest@example.org workspaces.get '{"workspaceId":"slug:hello-world"}'`);
    await shows(/ForbiddenError/);
    type(`as nobody@example.org workspaces.list '{}'`);
    await shows(/ObjectNotFoundError: Nobody has the e-mail address nobody@example\.org/);
  });

  it('tells which rule lets somebody do something', async () => {
    type(`explain slug:hello-world read workspaces`);
    await shows(/denied: No rule allows 'read' on workspaces\.|denied: /);
    shown = '';
    type(`explain slug:hello-world execute automations '{"id":"hello"}'`);
    await shows(/allowed: Allowed by the platform, for everybody/);
    await shows(/> allows the platform, for everybody when \{"authorizations\.action":null\}/);
  });

  it('shows what starts what', async () => {
    type('triggers slug:hello-world');

    await shows(/"kind":"endpoint","value":"hello","automation":"hello"/);
    await shows(/"kind":"event","value":"visitor\.greeted","automation":"count"/);
  });

  it('follows the events of a workspace until it is told to stop', async () => {
    const admin = await signIn(url, ADMIN);
    type('tail slug:hello-world visitor.*');
    await shows(/Following visitor\.\* of/);

    await expectOk(admin.post('/workspaces/slug:hello-world/webhooks/hello', { name: 'Ada' }));
    await shows(/visitor\.greeted \(hello\) .*"Ada"/);
    expect(shown).not.toMatch(/runtime\.automations\.executed/);

    type('untail');
    await shows(/is not followed any more/);
  });

  it('answers rubbish with a line and goes on', async () => {
    type(`as ${ADMIN.email} workspaces.list '{"query":'`);
    await shows(/JSON/);
    type('triggers zzzzzzz');
    await shows(/ObjectNotFoundError/);
  });

  it('lists runs that left a trace', async () => {
    // The run that the event of another test started may be under way.
    await eventually(
      async () => {
        type('runs slug:hello-world');
        await eventually(() => expect(shown).toMatch(/"automation":"count","trigger":\{"type":"event","value":"visitor\.greeted"/), {
          timeoutMs: 2_000,
        });
      },
      { timeoutMs: 15_000 },
    );
  });
});
