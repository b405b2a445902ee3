/**
 * remote — a git repository as pull and push need it: its branches and tags, the history of some of them, and references moved only from the
 * commit that was seen. Two kinds: over HTTP, with the objects in a temporary folder of one operation, and on the disk of this node.
 */
import fs from 'node:fs';
import { mkdtemp, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { HOUR } from '../../../mixins/shared/clock.ts';
import { fault, isFault } from '../../../mixins/shared/errors.ts';
import { git } from '../../../mixins/shared/packages.ts';
import type { GitHttp } from './http-client.ts';

/** Where objects are read and written: what every call of isomorphic-git takes. */
export interface ObjectStore {
  fs: typeof fs;
  gitdir: string;
  cache: object;
}

export interface Remote {
  store: ObjectStore;
  /** `refs/heads/…` and `refs/tags/…` → commit, tags peeled. */
  refs: ReadonlyMap<string, string>;
  /** Makes the history of these references readable in `store`. */
  fetch(refs: string[]): Promise<void>;
  /** Moves or makes a reference. @throws VersionConflict when it is not at `from` any more (`null`: must not exist) */
  move(ref: string, to: string, from: string | null): Promise<void>;
  close(): Promise<void>;
}

const moved = (ref: string) =>
  fault('VersionConflict', {
    message: `The repository is ahead: '${ref.replace(/^refs\/\w+\//, '')}' has moved meanwhile. Pull first.`,
    data: { ref },
  });

const FOLDER = 'prisme-git-';

/** Removes what processes that died in the middle left behind; an operation never lasts an hour. */
export async function sweepTemporaryCopies(now = Date.now()): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(FOLDER)) continue;
    const path = join(tmpdir(), name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: now }));
    if (now - mtimeMs > HOUR) await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}

export async function openHttpRemote(
  url: string,
  http: GitHttp,
  auth: { username: string; password: string } | undefined,
): Promise<Remote> {
  const gitdir = await mkdtemp(join(tmpdir(), FOLDER));
  const store: ObjectStore = { fs, gitdir, cache: {} };
  // Credentials that were refused once are not tried again.
  const wire = { http, url, ...(auth ? { onAuth: () => auth, onAuthFailure: () => ({ cancel: true }) } : {}) };
  const close = () => rm(gitdir, { recursive: true, force: true });
  try {
    await git().init({ ...store, bare: true });
    await git().addRemote({ ...store, remote: 'origin', url });
    const refs = await told(url, () => refsOf(wire));
    return {
      store,
      refs,
      async fetch(names) {
        for (const ref of names)
          if (refs.has(ref))
            await told(url, () => git().fetch({ ...store, ...wire, ref, remoteRef: ref, singleBranch: true, tags: false }));
      },
      async move(ref, to, from) {
        const local = ref.startsWith('refs/tags/') ? ref : 'refs/heads/outgoing';
        await git().writeRef({ ...store, ref: local, value: to, force: true });
        let isMoved = false;
        await told(url, () =>
          git().push({
            ...store,
            ...wire,
            ref: local,
            remoteRef: ref,
            onPrePush: ({ remoteRef }) => {
              const seen = /^0+$/.test(remoteRef.oid) ? null : remoteRef.oid;
              isMoved = seen !== from;
              return !isMoved;
            },
          }),
        ).catch((error) => {
          if (isMoved || isFault(error, 'VersionConflict')) throw moved(ref);
          throw error;
        });
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function refsOf(wire: { http: GitHttp; url: string }): Promise<Map<string, string>> {
  const refs = new Map<string, string>();
  for (const { ref, oid, peeled } of await git().listServerRefs({ ...wire, protocolVersion: 1 })) {
    if (ref.endsWith('^{}')) refs.set(ref.slice(0, -3), oid);
    else if (/^refs\/(heads|tags)\//.test(ref) && !refs.has(ref)) refs.set(ref, peeled ?? oid);
  }
  return refs;
}

/** What git and HTTP say, in the words of this platform; never with the credentials. */
async function told<T>(url: string, work: () => Promise<T>): Promise<T> {
  const at = new URL(url).host;
  try {
    return await work();
  } catch (error) {
    const { code, data } = error as { code?: string; data?: { statusCode?: number } };
    const status = data?.statusCode;
    if (isFault(error, 'ForbiddenHostError') || isFault(error, 'PayloadTooLarge')) throw error;
    if (code === git().Errors.PushRejectedError.code) throw fault('VersionConflict', { data: { host: at } });
    if (code === git().Errors.UserCanceledError.code || status === 401 || status === 403)
      throw fault('ForbiddenError', {
        message: `The repository at ${at} refused our credentials.`,
        data: { action: 'synchronise', subjectType: 'repositories', host: at },
      });
    if (code === git().Errors.GitPushError.code)
      throw fault('PrismeError', {
        message: `The repository at ${at} refused the push: ${String((error as Error).message).slice(0, 300)}`,
        data: { host: at },
      });
    const reason = status ? `it answered ${status}` : reachable(error as Error & { code?: string });
    throw fault('ObjectNotFoundError', {
      message: `The repository at ${at} cannot be read: ${reason}.`,
      data: { subjectType: 'repositories', host: at },
      cause: error,
    });
  }
}

const reachable = (error: Error & { code?: string }): string =>
  error.code === git().Errors.SmartHttpError.code || error.code === git().Errors.ParseError.code
    ? 'no git server answers there'
    : `${error.code ?? error.name}: ${error.message}`.slice(0, 200);

/** A repository on this disk (bare, or the `.git` of a working copy); only operators can name one. */
export async function openLocalRemote(path: string): Promise<Remote> {
  const gitdir = fs.existsSync(join(path, '.git')) ? join(path, '.git') : path;
  const store: ObjectStore = { fs, gitdir, cache: {} };
  if (!fs.existsSync(join(gitdir, 'HEAD')))
    throw fault('ObjectNotFoundError', {
      message: 'There is no git repository at the configured path.',
      data: { subjectType: 'repositories' },
    });
  const refs = new Map<string, string>();
  for (const branch of await git().listBranches(store)) {
    const ref = `refs/heads/${branch}`;
    refs.set(ref, await git().resolveRef({ ...store, ref }));
  }
  for (const tag of await git().listTags(store)) refs.set(`refs/tags/${tag}`, await commitOf(store, `refs/tags/${tag}`));
  return {
    store,
    refs,
    fetch: async () => {},
    move: (ref, to, from) => moveLocked(store, ref, to, from),
    close: async () => {},
  };
}

async function commitOf(store: ObjectStore, ref: string): Promise<string> {
  const { object, type, oid } = await git().readObject({ ...store, oid: await git().resolveRef({ ...store, ref }) });
  return type === 'tag' ? (object as { object: string }).object : oid;
}

/** As git itself does: whoever makes `<ref>.lock` may look at the reference and replace it. */
async function moveLocked(store: ObjectStore, ref: string, to: string, from: string | null): Promise<void> {
  const path = join(store.gitdir, ref);
  fs.mkdirSync(dirname(path), { recursive: true });
  const lock = await open(`${path}.lock`, 'wx').catch(() => {
    throw moved(ref);
  });
  try {
    await lock.writeFile(`${to}\n`);
    await lock.sync();
    await lock.close();
    const loose = await readFile(path, 'utf8').catch(() => undefined);
    const present =
      loose?.trim() ??
      (await git()
        .resolveRef({ ...store, ref })
        .catch(() => null));
    if (present !== from) throw moved(ref);
    await rename(`${path}.lock`, path);
  } catch (error) {
    await rm(`${path}.lock`, { force: true });
    throw error;
  }
}
