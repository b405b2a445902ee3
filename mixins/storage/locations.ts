/** locations — what the URL of a storage seam means, and the one clear line when it means nothing or nobody answers there. */
import { isAbsolute, join, resolve } from 'node:path';
import { sleep } from '../shared/clock.ts';
import { type Config, ensureDataDir } from '../shared/config.ts';
import { type Fault, fault, isFault } from '../shared/errors.ts';

/** Names the variable to mend; the URL is shown without its credentials. */
export function configurationFault(variable: string, url: string, problem: string, cause?: unknown): Fault {
  return fault('ConfigurationError', { message: `${variable}: ${problem} (${withoutSecrets(url)}).`, data: { variable }, cause });
}

/** `scheme` of `scheme:rest`, lower case; '' when there is none. */
export const schemeOf = (url: string): string => (/^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1] ?? '').toLowerCase();

export const withoutSecrets = (url: string): string => url.replace(/\/\/[^@/]*@/, '//***@');

/** Path of `sqlite:<file>` or `file:<folder>`; `<scheme>:///absolute` is accepted too. Relative ones start at the working directory. */
export function localPath(variable: string, url: string): string {
  const rest = url.slice(url.indexOf(':') + 1).replace(/^\/\/(?=\/)/, '');
  if (rest === '' || rest.startsWith('//') || rest.includes('\0'))
    throw configurationFault(variable, url, 'a path is expected after the colon');
  return isAbsolute(rest) ? rest : resolve(rest);
}

/** File of an embedded database: the one of `url`, else `name` under DATA_DIR. */
export const databaseFile = (variable: string, url: string | undefined, config: Config, name: string): string =>
  url ? localPath(variable, url) : join(ensureDataDir(config), name);

/**
 * Retries `attempt` for a server that is just starting, then gives up with one line.
 * @throws ConfigurationError naming `variable`
 */
export async function reach<T>(variable: string, url: string, attempt: () => Promise<T>, withinMs: number): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, 1000)) {
    try {
      return await attempt();
    } catch (error) {
      if (isFault(error, 'ConfigurationError')) throw error;
      if (Date.now() + waitMs > deadline) throw configurationFault(variable, url, `no usable answer: ${(error as Error).message}`, error);
      await sleepReferenced(waitMs);
    }
  }
}

/** Like `sleep`, but keeps a starting process alive: nothing else may be holding it yet. */
async function sleepReferenced(ms: number): Promise<void> {
  const hold = setTimeout(() => {}, ms + 50);
  await sleep(ms).finally(() => clearTimeout(hold));
}
