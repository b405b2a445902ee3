/** The first five minutes of a stranger: clone, `npm start`, paste the line it prints, stop, start again. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { client, expectOk, signIn } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { ADMIN } from '../support/platform.ts';
import { freePort } from '../support/redis.ts';

const root = join(import.meta.dirname, '../..');

interface Started {
  child: ChildProcess;
  text(): string;
  /** Its exit code, once it has ended and all it wrote was read: the end may be known before the last of it. */
  ended: Promise<number | null>;
  /** Resolves with the exit code, or with the signal: npm repeats on itself the signal that its script was sent. */
  end(signal?: NodeJS.Signals): Promise<number | string | null>;
}

/** What a stranger's shell has: the way to the network, and nothing of this run. */
const OWN =
  /^(PATH|HOME|LANG|TMPDIR|NODE_EXTRA_CA_CERTS|SSL_CERT_\w+|(https?|no|all)_proxy|npm_config_(registry|cafile|cache|userconfig))$/i;
const shell = Object.fromEntries(Object.entries(process.env).filter(([name]) => OWN.test(name)));

function start(folder: string, env: Record<string, string>, args: string[] = []): Started {
  const output: string[] = [];
  // A process group of its own: a terminal's Ctrl-C reaches npm, the launcher and the node together, and so does ours.
  const child = spawn('npm', ['start', ...(args.length ? ['--', ...args] : [])], {
    cwd: folder,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...shell, npm_config_update_notifier: 'false', ...env } as NodeJS.ProcessEnv,
  });
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => output.push(String(chunk)));
  return {
    child,
    text: () => output.join(''),
    ended: new Promise((resolve) => child.once('close', resolve)),
    end: (signal = 'SIGINT') =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve(child.exitCode ?? child.signalCode);
        child.once('exit', (code, ended) => resolve(code ?? ended));
        process.kill(-(child.pid as number), signal);
      }),
  };
}

/** The first start installs: how long that takes is up to the network. One that ended is not waited for. */
const ready = (started: Started, port: number) =>
  Promise.race([
    eventually(async () => /curl .*webhooks/.test(started.text()) && (await fetch(`http://127.0.0.1:${port}/sys/healthcheck`)).ok, {
      timeoutMs: 480_000,
      everyMs: 200,
    }),
    new Promise<never>((_, reject) => {
      started.child.once('exit', () => reject(new Error(`npm start ended:\n${started.text()}`)));
    }),
  ]);

describe('npm start on a clean clone', () => {
  const folder = mkdtempSync(join(tmpdir(), 'prisme-clone-'));
  const clone = join(folder, 'prisme');
  let port: number;
  let running: Started | undefined;

  beforeAll(async () => {
    execFileSync('git', ['clone', '--quiet', '--depth', '1', `file://${root}`, clone], { stdio: 'ignore' });
    port = await freePort();
  }, 60_000);

  afterAll(async () => {
    await running?.end('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  it('installs, boots, seeds the sample and prints a line that works when pasted', async () => {
    expect(existsSync(join(clone, 'node_modules'))).toBe(false);
    running = start(clone, { PORT: String(port) });
    await ready(running, port);

    const line = running
      .text()
      .split('\n')
      .find((text) => text.trim().startsWith('curl ')) as string;
    const pasted = spawnSync('bash', ['-c', line], { encoding: 'utf8' });

    expect(pasted.stderr).not.toMatch(/error/i);
    expect(JSON.parse(pasted.stdout)).toMatchObject({ message: expect.stringContaining('Ada') });
  }, 500_000);

  it('prints a one-time link that signs the administrator in, once', async () => {
    const link = /http:\/\/\S+\/v2\/login\/once\?token=\S+/.exec(running?.text() ?? '')?.[0] as string;
    expect(link).toBeTruthy();
    const answer = await fetch(link, { headers: { accept: 'application/json' } });

    expect(answer.status).toBe(200);
    const { token } = (await answer.json()) as { token: string };
    expect((await client(`http://127.0.0.1:${port}/v2`, token).get('/me')).status).toBe(200);
    expect((await fetch(link, { headers: { accept: 'application/json' } })).status).toBe(400);
  });

  it('stops on Ctrl-C and finds its data again', async () => {
    const url = `http://127.0.0.1:${port}/v2`;
    const email = 'first@example.org';
    const password = 'a-long-password-1';
    await expectOk(client(url).post('/signup', { email, password, firstName: 'Grace', lastName: 'Hopper' }));
    const before = await signIn(url, { email, password });
    const workspace = await expectOk(before.post('/workspaces', { name: 'Kept' }));

    expect([0, 'SIGINT']).toContain(await running?.end());
    running = start(clone, { PORT: String(port) });
    await ready(running, port);

    const after = await signIn(url, { email, password });
    expect((await after.get(`/workspaces/${workspace.id}`)).body.name).toBe('Kept');
    expect((await before.get('/me')).status).toBe(200);
    expect([0, 'SIGINT']).toContain(await running.end());
  }, 120_000);

  it('says in one line that the port is busy', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const busy = (server.address() as { port: number }).port;
    try {
      const refused = start(clone, { PORT: String(busy) });

      expect(await refused.ended).not.toBe(0);
      const lines = refused
        .text()
        .split('\n')
        .filter((line) => /busy/.test(line));
      expect(lines).toEqual([`Port ${busy} of 127.0.0.1 is busy. Set PORT to another one.`]);
      expect(refused.text()).not.toMatch(/ {4}at /);
    } finally {
      server.close();
    }
  }, 60_000);

  it('says in one line that the data folder cannot be written', async () => {
    const file = join(folder, 'a-file');
    writeFileSync(file, '');
    const refused = start(clone, { PORT: String(await freePort()), DATA_DIR: join(file, 'data') });

    expect(await refused.ended).not.toBe(0);
    expect(refused.text()).toMatch(/DATA_DIR '.*' cannot be written/);
    expect(refused.text()).not.toMatch(/ {4}at /);
  }, 60_000);

  it('says in one line that a store cannot be reached, naming the variable', async () => {
    const nowhere = `redis://127.0.0.1:${await freePort()}`;
    const refused = start(clone, { PORT: String(await freePort()), CACHE_URL: nowhere });

    expect(await refused.ended).not.toBe(0);
    expect(refused.text()).toMatch(/CACHE_URL/);
    expect(refused.text()).not.toMatch(/ {4}at /);
  }, 90_000);

  it('takes the administrator from the environment, and starts without the sample', async () => {
    const own = await freePort();
    running = start(
      clone,
      { PORT: String(own), DATA_DIR: join(folder, 'other'), PRISME_ADMIN_EMAIL: ADMIN.email, PRISME_ADMIN_PASSWORD: ADMIN.password },
      ['--no-sample'],
    );
    await eventually(async () => (await fetch(`http://127.0.0.1:${own}/sys/healthcheck`)).ok, { timeoutMs: 60_000, everyMs: 200 });

    const admin = await signIn(`http://127.0.0.1:${own}/v2`, ADMIN);

    expect((await admin.get('/workspaces')).body).toEqual([]);
    expect(running.text()).not.toContain(ADMIN.password);
    expect([0, 'SIGINT']).toContain(await running.end());
  }, 90_000);

  it('refuses an unknown service by name', () => {
    const refused = spawnSync('npm', ['start', '--', 'services/nothing'], {
      cwd: clone,
      encoding: 'utf8',
      env: { ...process.env, PORT: '0' },
    });

    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toMatch(/There is no service 'nothing'/);
  }, 60_000);
});
