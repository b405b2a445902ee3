/**
 * The matrix: every published route × everybody who may knock. What is expected is a table that people read and review, access-matrix.md; what the
 * platform really answers is compared with it cell by cell. `MATRIX_WRITE=1` writes the table anew, for the reviewer to look at the difference.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { routes } from '../../services/gateway/routes/index.ts';
import { type Ask, makeWorld, REQUESTS, type World } from '../support/matrix-requests.ts';
import { type Platform, startPlatform } from '../support/platform.ts';
import { makeTenants, PRINCIPALS, type Principal } from '../support/tenants.ts';
import { tokenRing } from '../support/token-ring.ts';

const FILE = join(import.meta.dirname, 'access-matrix.md');
// The gateway answers the readiness itself: it belongs to no action.
const keys = [...routes.map(({ method, path }) => `${method} ${path}`), 'GET /readiness'];
// Whoever signs out is gone for the rest.
const inOrder = [...keys].sort((a, b) => Number(a === 'POST /logout') - Number(b === 'POST /logout'));

function tableOf(text: string): Map<string, Record<string, string>> {
  const rows = text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  return new Map(
    rows.map(([key = '', ...cells]) => [key.replaceAll('`', ''), Object.fromEntries(PRINCIPALS.map((who, i) => [who, cells[i] ?? '']))]),
  );
}

function written(answers: Map<string, Record<string, string>>): string {
  const head = readFileSync(FILE, 'utf8').split('\n| Route')[0]?.trimEnd();
  const lines = keys.map((key) => `| \`${key}\` | ${PRINCIPALS.map((who) => answers.get(key)?.[who] ?? '').join(' | ')} |`);
  return `${head}\n\n| Route | ${PRINCIPALS.join(' | ')} |\n|---|${PRINCIPALS.map(() => '---|').join('')}\n${lines.join('\n')}\n`;
}

const unused = new Map<string, Ask>();

async function statusOf(world: World, key: string, principal: Principal): Promise<string> {
  const make = REQUESTS[key];
  if (!make) return 'no request';
  const ask = unused.get(key) ?? (await make(world, principal));
  const { path, body, headers, token } = ask;
  const method = key.startsWith('ANY ') ? 'POST' : (key.split(' ')[0] as string);
  const bearer = token ?? world.by[principal].token;
  const isForm = body instanceof FormData;
  const response = await fetch(`${world.url}${path}`, {
    method,
    headers: {
      ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
      ...world.headersOf(principal),
      ...(body === undefined || isForm ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
  }).catch((error: Error) => {
    throw new Error(`${key} as ${principal}: ${error.message}`, { cause: error });
  });
  await response.body?.cancel();
  // What was refused may be asked again by the next; what was done may have used its object up.
  if (response.ok || ask.isOwn) unused.delete(key);
  else unused.set(key, ask);
  return String(response.status);
}

describe('the access matrix', () => {
  let platform: Platform;
  let world: World;

  beforeAll(async () => {
    const ring = tokenRing();
    platform = await startPlatform({ mode: 'embedded', env: { TOKEN_KEYS: ring.env } });
    world = await makeWorld(await makeTenants(platform, ring), platform.url);
  });
  afterAll(() => platform?.stop());

  it('28: is answered as the reviewed table says, route by route and caller by caller', async () => {
    const expected = tableOf(readFileSync(FILE, 'utf8'));
    const answers = new Map<string, Record<string, string>>();
    for (const key of inOrder) {
      const row: Record<string, string> = {};
      for (const principal of PRINCIPALS) row[principal] = await statusOf(world, key, principal);
      answers.set(key, row);
    }
    if (process.env.MATRIX_WRITE) writeFileSync(FILE, written(answers));
    else for (const key of keys) expect({ [key]: answers.get(key) }).toEqual({ [key]: expected.get(key) ?? 'a row in access-matrix.md' });
  });

  it('tells everybody whether the platform is ready, and a super admin alone what it stands on', async () => {
    for (const principal of PRINCIPALS) {
      const bearer = world.by[principal].token;
      const response = await fetch(`${world.url}/readiness`, {
        headers: { ...(bearer ? { authorization: `Bearer ${bearer}` } : {}), ...world.headersOf(principal) },
      });
      const { status, services } = (await response.json()) as { status: string; services: Record<string, { response?: object }> };
      expect([principal, response.status, status]).toEqual([principal, 200, 'ready']);
      const detailed = Object.keys(services).filter((name) => services[name]?.response);
      expect([principal, detailed]).toEqual([principal, principal === 'superadmin' ? ['gateway', 'workspaces', 'runtime', 'events'] : []]);
    }
  });

  it('has a request and a row for every published route, and none for what is not there', () => {
    const rows = [...tableOf(readFileSync(FILE, 'utf8')).keys()];
    expect(Object.keys(REQUESTS).sort()).toEqual([...keys].sort());
    expect(rows).toEqual(keys);
  });
});
