/** welcome — what a start ends with: the sample workspace of a new installation, and where to go next. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { zipSync } from 'fflate';
import type { ServiceBroker } from 'moleculer';
import { identityKeysOf } from '../mixins/auth/auth.mixin.ts';
import type { Config } from '../mixins/shared/config.ts';
import { hexId } from '../mixins/shared/ids.ts';

const root = resolve(import.meta.dirname, '..');
const SAMPLE = 'hello-world';

interface Sample {
  id: string;
  endpoint: string;
}

function zipOf(folder: string): Uint8Array<ArrayBuffer> {
  const entries: Record<string, Uint8Array> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.ya?ml$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    entries[`current/${relative(folder, path)}`] = new Uint8Array(readFileSync(path));
  }
  return new Uint8Array(zipSync(entries));
}

/** Imports the sample over REST, as a user would. */
async function seed(base: string, token: string): Promise<Sample> {
  const form = new FormData();
  form.append('archive', new Blob([zipOf(join(root, 'examples', SAMPLE))], { type: 'application/zip' }), 'workspace.zip');
  const answer = await fetch(`${base}/workspaces/import`, { method: 'POST', headers: { authorization: `Bearer ${token}` }, body: form });
  const result = (await answer.json()) as { id?: string; workspace?: { id?: string }; message?: string };
  const id = result.id ?? result.workspace?.id;
  if (!answer.ok || !id) throw new Error(result.message ?? `HTTP ${answer.status}`);
  return { id, endpoint: 'hello' };
}

export async function welcome(
  broker: ServiceBroker,
  config: Config,
  { parts, withSample }: { parts: string[]; withSample: boolean },
): Promise<void> {
  if (!parts.includes('gateway')) return console.log(`Node ${config.nodeId} runs ${parts.join(', ')}.`);
  const base = `http://${config.host === '0.0.0.0' ? '127.0.0.1' : config.host}:${config.port}/v2`;
  const meta = { identity: identityKeysOf(broker).sign({ kind: 'system', service: 'start', correlationId: hexId() }) };
  const call = <T>(action: string) => broker.call<T, object>(action, {}, { meta } as never);
  const lines = [`Prisme on Moleculer answers at ${config.apiUrl} (documentation of the routes: ${base}/openapi.json)`];

  const { email, token } = await call<{ email: string; token?: string }>('identity.firstAccess');
  lines.push(
    token
      ? `Sign in as ${email}, once, within the hour: ${base}/login/once?token=${token}`
      : `Administrator: ${email}, with the password given by PRISME_ADMIN_PASSWORD or set since.`,
  );

  const marker = join(config.dataDir, 'sample.json');
  if (withSample && parts.length > 1 && existsSync(join(root, 'examples', SAMPLE))) {
    try {
      if (!existsSync(marker)) {
        const session = await call<{ token: string }>('identity.installerSession');
        writeFileSync(marker, JSON.stringify(await seed(base, session.token)), { mode: 0o600 });
      }
      const { id, endpoint } = JSON.parse(readFileSync(marker, 'utf8')) as Sample;
      lines.push(
        'Try the sample workspace:',
        `curl -s -X POST ${base}/workspaces/${id}/webhooks/${endpoint} -H 'content-type: application/json' -d '{"name":"Ada"}'`,
      );
    } catch (error) {
      lines.push(`The sample workspace could not be made: ${(error as Error).message}`);
    }
  }
  console.log(`\n${lines.join('\n')}\n`);
}
