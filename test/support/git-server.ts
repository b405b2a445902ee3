/** git-server — a real git server on loopback: `git http-backend` behind a small CGI wrapper, with a user and a password, and repositories in a temporary folder. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { hasProgram } from './debian.ts';

export const GIT_USER = 'deploy';
export const GIT_PASSWORD = 'correct horse/battery@staple';

export interface TestGit {
  /** Host and port, for FETCH_ALLOWED_PRIVATE_HOSTS. */
  host: string;
  /** Makes a bare repository, and the first commit of `main` when files are given. */
  create(name: string, files?: Record<string, string>): { url: string; path: string };
  /** Commits files (null removes) to a branch as another person would, from a clone. */
  commit(name: string, files: Record<string, string | null>, branch?: string): string;
  /** Merges `other` into `branch` as a person who decides each conflict by giving the files' texts; the commit. */
  resolve(name: string, branch: string, other: string, files: Record<string, string>): string;
  /** Runs git in a bare repository. */
  git(name: string, ...args: string[]): string;
  /** Text of a file of a branch, `null` when it is not there. */
  file(name: string, path: string, ref?: string): string | null;
  /** Authorization headers seen. */
  seen: string[];
  stop(): Promise<void>;
}

export const gitAvailable = (): boolean => hasProgram('git', ['git'], 'pull and push with git');

const ENV = {
  PATH: process.env.PATH,
  HOME: '/nonexistent',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'Cid',
  GIT_AUTHOR_EMAIL: 'cid@example.org',
  GIT_COMMITTER_NAME: 'Cid',
  GIT_COMMITTER_EMAIL: 'cid@example.org',
};

export async function startGit(): Promise<TestGit> {
  const root = mkdtempSync(join(tmpdir(), 'git-server-'));
  const seen: string[] = [];
  const git = (cwd: string, ...args: string[]) =>
    execFileSync('git', args, { cwd, env: ENV, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();

  const server = createServer((request, response) => {
    const authorization = request.headers.authorization ?? '';
    seen.push(authorization);
    const wanted = `Basic ${Buffer.from(`${GIT_USER}:${GIT_PASSWORD}`).toString('base64')}`;
    if (authorization !== wanted) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' });
      response.end('credentials please');
      return;
    }
    const url = new URL(request.url as string, 'http://git');
    const child = spawn('git', ['http-backend'], {
      env: {
        ...ENV,
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: '1',
        REMOTE_USER: GIT_USER,
        REQUEST_METHOD: request.method,
        PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1),
        CONTENT_TYPE: request.headers['content-type'] ?? '',
        CONTENT_LENGTH: request.headers['content-length'] ?? '',
        ...(request.headers['git-protocol'] ? { GIT_PROTOCOL: String(request.headers['git-protocol']) } : {}),
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    request.pipe(child.stdin);
    child.stdin.on('error', () => {});
    const parts: Buffer[] = [];
    child.stdout.on('data', (part) => parts.push(part));
    child.on('close', () => {
      const answer = Buffer.concat(parts);
      const end = answer.indexOf('\r\n\r\n');
      const headers = Object.fromEntries(
        answer
          .toString('latin1', 0, end)
          .split('\r\n')
          .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
      );
      const { status = '200', ...others } = headers;
      response.writeHead(Number.parseInt(status, 10), others);
      response.end(answer.subarray(end + 4));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  const bare = (name: string) => join(root, `${name}.git`);
  const commit: TestGit['commit'] = (name, files, branch = 'main') => {
    const clone = mkdtempSync(join(tmpdir(), 'git-clone-'));
    try {
      git(clone, 'clone', '-q', bare(name), '.');
      const isThere = git(clone, 'branch', '-r').includes(`origin/${branch}`);
      git(clone, 'checkout', '-q', ...(isThere ? [branch] : ['-B', branch]));
      for (const [path, text] of Object.entries(files)) {
        if (text === null) git(clone, 'rm', '-q', path);
        else {
          mkdirSync(dirname(join(clone, path)), { recursive: true });
          writeFileSync(join(clone, path), text);
        }
      }
      git(clone, 'add', '-A');
      git(clone, 'commit', '-q', '-m', 'By hand');
      git(clone, 'push', '-q', 'origin', branch);
      return git(clone, 'rev-parse', 'HEAD');
    } finally {
      rmSync(clone, { recursive: true, force: true });
    }
  };
  return {
    host,
    seen,
    create(name, files) {
      mkdirSync(bare(name));
      git(bare(name), 'init', '-q', '--bare', '-b', 'main');
      git(bare(name), 'config', 'http.receivepack', 'true');
      if (files) commit(name, files);
      return { url: `http://${host}/${name}.git`, path: bare(name) };
    },
    commit,
    resolve(name, branch, other, files) {
      const clone = mkdtempSync(join(tmpdir(), 'git-clone-'));
      try {
        git(clone, 'clone', '-q', '-b', branch, bare(name), '.');
        spawnSync('git', ['merge', '-q', `origin/${other}`], { cwd: clone, env: ENV });
        for (const [path, text] of Object.entries(files)) writeFileSync(join(clone, path), text);
        git(clone, 'commit', '-q', '-a', '-m', 'Resolved');
        git(clone, 'push', '-q', 'origin', branch);
        return git(clone, 'rev-parse', 'HEAD');
      } finally {
        rmSync(clone, { recursive: true, force: true });
      }
    },
    git: (name, ...args) => git(bare(name), ...args),
    file(name, path, ref = 'main') {
      const shown = spawnSync('git', ['show', `${ref}:${path}`], { cwd: bare(name), env: ENV, encoding: 'utf8' });
      return shown.status === 0 ? shown.stdout : null;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
      rmSync(root, { recursive: true, force: true });
    },
  };
}
