/** Rows 48–63 of access-control.md 11: what people send. */
import { readdirSync } from 'node:fs';
import { expect, it } from '@jest/globals';
import { zipSync } from 'fflate';
import { zipOf } from '../../support/archive.ts';
import { client, expectOk } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { raw, rawJson } from '../../support/raw-http.ts';
import type { Cluster } from './cluster.ts';

const fileForm = (name: string, content: string, type: string, fields: [string, string][] = []) => {
  const form = new FormData();
  for (const [key, value] of fields) form.append(key, value);
  form.append('file', new Blob([content], { type }), name);
  return form;
};

export function inputRows(given: () => Cluster): void {
  const made = async () => {
    const { owner } = given();
    const { id, slug } = await expectOk(owner.post('/workspaces', { name: 'Inputs' }));
    return { id, slug, at: `/workspaces/${id}`, owner };
  };
  const automation = async (at: string, slug: string, more: object) => {
    const { owner } = given();
    await expectOk(owner.post(`${at}/automations`, { name: slug, slug, when: { endpoint: true }, do: [], ...more }));
    await eventually(async () => (await owner.post(`${at}/webhooks/${slug}`, {})).status !== 404);
  };

  it('48: operators of a database in query strings are refused, wherever they stand', async () => {
    const { owner, everywhere, workspace } = given();
    await everywhere(owner.token, async (at) => {
      for (const path of [
        '/workspaces?name[$ne]=x',
        '/workspaces?$where=1',
        '/workspaces?labels[$regex]=.*',
        '/workspaces?sort[$gt]=1',
        '/workspaces?ids[$in][0]=a',
        `/workspaces/${workspace.id}/files?query={"name":{"$ne":1}}`,
        `/workspaces/${workspace.id}/files?name[$ne]=x`,
        `/workspaces/${workspace.id}/files?$or[0][name]=x`,
        '/apps?text[$ne]=x',
        '/apps?workspaceId[$ne]=x',
        `/workspaces/${workspace.id}/events?payload.x[$ne]=1`,
      ])
        expect([path, (await at.get(path)).status]).toEqual([path, 400]);
      for (const path of ['/workspaces?sort=permissions', '/workspaces?sort=journal', '/workspaces?sort=-constructor'])
        expect([path, (await at.get(path)).status]).toEqual([path, 400]);
    });
  });

  it('49: limits and pages that are no numbers are refused, large ones are cut', async () => {
    const { owner, workspace } = given();
    for (const path of ['/workspaces', '/apps', `/workspaces/${workspace.id}/files`, `/workspaces/${workspace.id}/events`]) {
      for (const query of ['limit=-1', 'limit=NaN', 'limit=1.5', 'page=-1', 'page=x', 'limit=1;drop'])
        expect([path, query, (await owner.get(`${path}?${query}`)).status]).toEqual([path, query, 400]);
      expect([path, [200, 400].includes((await owner.get(`${path}?limit=1e9`)).status)]).toEqual([path, true]);
    }
    for (const value of [-1, 'x', null, 1e12, { $gt: 1 }])
      expect([
        value,
        [200, 400].includes((await owner.post(`/workspaces/${workspace.id}/search`, { query: { match_all: {} }, limit: value })).status),
      ]).toEqual([value, true]);
  });

  it('50: names of prototypes are refused or plain data, and change nothing on any node', async () => {
    const { urls, owner } = given();
    const { at } = await made();
    const hostile = [
      '{"__proto__":{"polluted":1}}',
      '{"constructor":{"prototype":{"polluted":1}}}',
      '{"a":{"__proto__":{"polluted":1}}}',
      '{"prototype":{"polluted":1}}',
    ];
    await automation(at, 'echo', {
      do: [{ set: { name: '{{body.path}}', value: 1 } }],
      output: { body: '{{body}}', polluted: '{{body.none.polluted}}', own: '{{user.polluted}}' },
    });
    for (const url of urls)
      for (const text of hostile) {
        const send = (method: string, path: string) =>
          rawJson(url, [`${method} /v2${path} HTTP/1.1`, `Authorization: Bearer ${owner.token}`], text);
        for (const [method, path] of [
          ['POST', '/workspaces'],
          ['PATCH', at],
          ['PATCH', `${at}/config`],
          ['PATCH', `${at}/security/secrets`],
          ['PUT', `${at}/security`],
          ['POST', `${at}/automations`],
          ['POST', `${at}/events`],
          ['POST', `${at}/search`],
          ['POST', '/user/meta'],
          ['POST', `${at}/permissions`],
          ['POST', `${at}/apps`],
        ] as [string, string][]) {
          const answer = await send(method, path);
          expect([method, path, text, answer.status < 500, JSON.stringify(answer.body).includes('"polluted":1')]).toEqual([
            method,
            path,
            text,
            true,
            false,
          ]);
        }
        expect((await send('POST', `${at}/webhooks/echo`)).status).toBeLessThan(500);
      }
    for (const url of urls) {
      const user = client(url, owner.token);
      for (const query of ['__proto__[polluted]=1', 'constructor[prototype][polluted]=1', 'a[__proto__][polluted]=1'])
        expect((await user.get(`/workspaces?${query}`)).status).toBeLessThan(500);
      expect(
        (
          await user.post(`${at}/events`, `{"events":[{"type":"row50","payload":{"__proto__":{"polluted":1}}}]}`, {
            'content-type': 'application/json',
          })
        ).status,
      ).toBeLessThan(500);
      expect(
        (
          await user.request(
            'POST',
            `${at}/files`,
            fileForm('a.txt', 'x', 'text/plain', [
              ['__proto__', 'polluted'],
              ['metadata.__proto__', '1'],
              ['metadata.constructor', '1'],
            ]),
          )
        ).status,
      ).toBeLessThan(500);
      for (const path of [
        '__proto__.polluted',
        'user.__proto__.polluted',
        'constructor.prototype.polluted',
        'global.constructor.prototype.polluted',
      ])
        expect((await user.post(`${at}/webhooks/echo`, { path })).status).toBeLessThan(500);
      // On a node whose prototypes were changed every object would have it.
      const { body } = await user.post(`${at}/webhooks/echo`, { path: 'fine' });
      expect(body).toEqual({ body: { path: 'fine' } });
      expect('polluted' in (await user.get(at)).body).toBe(false);
    }
    const archive = zipOf({
      'index.yml': 'name: A\n__proto__:\n  polluted: 1\n',
      'automations/a.yml': 'slug: a\nname: A\ndo: []\n__proto__: { polluted: 1 }\n',
    });
    expect((await owner.upload(`${at}/import`, 'archive', 'a.zip', archive)).status).toBeLessThan(500);
    expect(({} as any).polluted).toBeUndefined();
  });

  it('51, 52: archives that climb out, repeat names or are bombs are refused, and nothing is written outside', async () => {
    const { owner, platform } = given();
    const { at } = await made();
    const text = (content: string) => new TextEncoder().encode(content);
    const base = { 'current/index.yml': text('name: A\n') };
    const before = readdirSync(platform.dataDir).sort();
    for (const name of [
      '../evil.yml',
      'current/../../../evil.yml',
      '/etc/evil.yml',
      'C:\\evil.yml',
      'current\\..\\evil.yml',
      'current/automations/../../evil.yml',
      'current/pages/\u0000evil.yml',
    ]) {
      const answer = await owner.upload(`${at}/import`, 'archive', 'a.zip', zipSync({ ...base, [name]: text('a: 1') }));
      expect([name, answer.status < 500]).toEqual([name, true]);
      expect([name, JSON.stringify(answer.body).includes('"imported":["evil')]).toEqual([name, false]);
    }
    const zeros = new Uint8Array(30_000_000);
    const bomb = await owner.upload(`${at}/import`, 'archive', 'a.zip', zipSync({ ...base, 'current/automations/b.yml': zeros }));
    expect([400, 413]).toContain(bomb.status);
    const many = Object.fromEntries(Array.from({ length: 6000 }, (_, n) => [`current/automations/a${n}.yml`, text('name: A\ndo: []\n')]));
    expect([400, 413]).toContain((await owner.upload(`${at}/import`, 'archive', 'a.zip', zipSync({ ...base, ...many }))).status);
    expect((await owner.upload(`${at}/import`, 'archive', 'a.zip', text('not a zip'))).status).toBe(400);
    expect((await owner.upload(`${at}/import`, 'archive', '../../a.sh', text('x'))).status).toBe(400);
    expect(readdirSync(platform.dataDir).sort()).toEqual(before);
    expect((readdirSync(platform.dataDir, { recursive: true }) as string[]).filter((name) => name.includes('evil'))).toEqual([]);
  });

  it('53, 54: names and paths of files stay inside, however they are written', async () => {
    const { owner, platform, by } = given();
    const { at, id } = await made();
    for (const name of [
      '../../x.txt',
      '..\\..\\x.txt',
      '/etc/passwd',
      'a\u0000b.txt',
      `${'n'.repeat(1000)}.txt`,
      '...',
      '.',
      '..',
      'a/../../b',
      '%2e%2e%2fx',
      'x\r\nset-cookie: a=b',
    ]) {
      const answer = await owner.request('POST', `${at}/files`, fileForm(name, 'x', 'text/plain'));
      expect([name, [200, 400].includes(answer.status)]).toEqual([name, true]);
      if (answer.status === 200) {
        expect(answer.body[0].path).toMatch(new RegExp(`^${id}/[\\w-]+\\.[^/\\\\]+$`));
        expect((await owner.get(`/files/${answer.body[0].path.split('/').map(encodeURIComponent).join('/')}`)).body).toBe('x');
      }
    }
    const uri = new FormData();
    uri.append('file', `data:text/plain;filename:../../evil.txt;base64,${Buffer.from('x').toString('base64')}`);
    const [viaUri] = await expectOk(owner.request('POST', `${at}/files`, uri));
    expect(viaUri.path).not.toContain('..');
    for (const path of [
      '%2e%2e%2fkeys%2fidentity.json',
      '%252e%252e%252fkeys%252fidentity.json',
      '..%2f..%2fkeys/identity.json',
      '../../keys/identity.json',
      `${id}/..%2f..%2fkeys/identity.json`,
      '%00',
      `${id}/`,
      'keys/identity.json',
      '..\\keys\\identity.json',
    ])
      for (const who of [owner, by.superadmin])
        expect([path, (await raw(platform.url, [`GET /v2/files/${path} HTTP/1.1`, `Authorization: Bearer ${who.token}`])).status]).toEqual([
          path,
          404,
        ]);
    for (const path of ['..%2F..%2Fkeys', '%252e%252e', 'a%2F..%2Fb'])
      for (const method of ['GET', 'DELETE', 'PATCH'])
        expect([
          method,
          path,
          [400, 404].includes((await owner.request(method, `${at}/files/${path}`, method === 'PATCH' ? {} : undefined)).status),
        ]).toEqual([method, path, true]);
    expect((await owner.request('POST', `${at}/files`, fileForm('a.txt', 'x', 'text/plain', [['id', '../../x']]))).status).toBe(400);
    expect(
      (readdirSync(platform.dataDir, { recursive: true }) as string[]).filter(
        (name) => /evil/.test(name) && !/^(\.types\/)?uploads\//.test(name),
      ),
    ).toEqual([]);
  });

  it('55: pages and pictures with scripts are not run on the address of the platform', async () => {
    const { owner } = given();
    const { at } = await made();
    for (const [name, type] of [
      ['a.html', 'text/html'],
      ['a.svg', 'image/svg+xml'],
      ['a.xhtml', 'application/xhtml+xml'],
      ['a.xml', 'text/xml'],
      ['a.js', 'text/javascript'],
    ] as [string, string][]) {
      const answer = await owner.request('POST', `${at}/files`, fileForm(name, '<script>1</script>', type, [['public', 'true']]));
      if (answer.status !== 200) continue;
      const { headers } = await fetch(answer.body[0].url);
      expect([name, headers.get('content-disposition'), headers.get('x-content-type-options')]).toEqual([
        name,
        expect.stringMatching(/^attachment/),
        'nosniff',
      ]);
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    }
  });

  it('57: addresses of repositories that are commands or paths of this machine are refused', async () => {
    const { owner } = given();
    const { at } = await made();
    for (const url of [
      '--upload-pack=touch /tmp/x',
      'ext::sh -c touch% /tmp/x',
      '/etc',
      'file:///etc',
      '../..',
      'ssh://-oProxyCommand=x/y',
      'fd::17',
      'git://127.0.0.1/x',
      'https://127.0.0.1/a.git',
      'https://169.254.169.254/a.git',
      'http://localhost:6379/a.git',
    ]) {
      const repositories = { origin: { name: 'r', type: 'git', mode: 'read-write', config: { dirpath: '', branch: 'main', url } } };
      const patched = await owner.patch(at, { repositories });
      if (patched.status === 400) continue;
      // Accepted as text, it is refused when it would be used.
      const pulled = await owner.post(`${at}/versions`, { description: 'x', repository: { id: 'origin' } });
      expect([url, pulled.status >= 400 && pulled.status < 500]).toEqual([url, true]);
    }
  });

  it('58: patterns that take others for ever take this platform no time', async () => {
    const { owner } = given();
    const { at } = await made();
    const long = `${'a'.repeat(20_000)}!`;
    await automation(at, 'matches', { output: '{{body.text matches body.pattern}}' });
    for (const pattern of ['(a+)+$', '(a|aa)+$', '(.*)*x', '^(([a-z])+.)+[A-Z]([a-z])+$'])
      expect((await owner.post(`${at}/webhooks/matches`, { text: long, pattern })).status).toBeLessThan(500);
    expect(await owner.get(`/workspaces?name=${encodeURIComponent('(a+)+$'.repeat(20))}`)).toMatchObject({ status: 200, body: [] });
    expect((await owner.get(`${at}/events?text=${encodeURIComponent('(a+)+$'.repeat(20))}`)).status).toBeLessThan(500);
    expect((await owner.post(`${at}/search`, { query: { regexp: { type: '(a+)+$' } } })).status).toBeLessThan(500);
    await expectOk(
      owner.request('PUT', `${at}/security`, {
        authorizations: {
          roles: {},
          rules: [{ action: 'create', subject: 'events', conditions: { 'payload.text': { $regex: '^(a+)+$' } } }],
        },
      }),
    );
    expect((await given().by.stranger.post(`${at}/events`, { events: [{ type: 'row58', payload: { text: long } }] })).status).toBe(403);
    expect((await owner.get('/me')).status).toBe(200);
  });

  it('59: YAML that multiplies itself or is too large is refused, file by file, and a tag runs nothing', async () => {
    const { owner } = given();
    const { at } = await made();
    const lines = Array.from({ length: 12 }, (_, n) => `a${n + 1}: &a${n + 1} [${Array(10).fill(`*a${n}`).join(',')}]`).join('\n');
    const files = {
      'index.yml': 'name: A\n',
      'automations/bomb.yml': `name: B\ndo: []\na0: &a0 x\n${lines}\n`,
      'automations/tag.yml': 'name: !!js/function "function(){return 1}"\ndo: []\n',
      'automations/merge.yml': 'name: M\ndo: []\na: &a\n  <<: *a\n',
      'automations/deep.yml': `name: D\ndo: []\na: ${'['.repeat(500)}${']'.repeat(500)}\n`,
    };
    const imported = await expectOk(owner.upload(`${at}/import`, 'archive', 'a.zip', zipOf(files)));
    expect(imported.errors.map(({ filepath }: any) => filepath).sort()).toEqual([
      'automations/bomb.yml',
      'automations/deep.yml',
      'automations/merge.yml',
    ]);
    // A tag nobody knows is not followed: what stands behind it is text.
    const { automations } = await expectOk(owner.get(at));
    expect(Object.keys(automations)).toEqual(['tag']);
    expect(automations.tag.name).toBe('function(){return 1}');
    const large = await owner.upload(
      `${at}/import`,
      'archive',
      'a.zip',
      zipOf({ 'index.yml': 'name: A\n', 'automations/large.yml': `name: "${'x'.repeat(10_000_000)}"\ndo: []\n` }),
    );
    expect([400, 413]).toContain(large.status);
  });

  it('60: bodies, headers and nesting beyond the limits are refused, with a length or without', async () => {
    const { platform, owner } = given();
    const large = JSON.stringify({ name: 'x'.repeat(3_000_000) });
    expect((await owner.post('/workspaces', large, { 'content-type': 'application/json' })).status).toBe(413);
    const authorization = `Authorization: Bearer ${owner.token}`;
    const chunk = 'x'.repeat(65_536);
    const chunks = `${Array.from({ length: 60 }, () => `10000\r\n${chunk}\r\n`).join('')}0\r\n\r\n`;
    const chunked = await raw(
      platform.url,
      ['POST /v2/workspaces HTTP/1.1', authorization, 'Content-Type: application/json', 'Transfer-Encoding: chunked'],
      chunks,
    ).catch(() => ({ status: 413 }));
    expect(chunked.status).toBe(413);
    expect((await owner.post('/workspaces', `${'['.repeat(150)}${']'.repeat(150)}`, { 'content-type': 'application/json' })).status).toBe(
      400,
    );
    expect(
      (await owner.post('/workspaces', `${'{"a":'.repeat(150)}1${'}'.repeat(150)}`, { 'content-type': 'application/json' })).status,
    ).toBe(400);
    const headers = Array.from({ length: 10_000 }, (_, n) => `x-h${n}: 1`);
    const many = await raw(platform.url, ['GET /v2/me HTTP/1.1', ...headers]).catch(() => ({ status: 431 }));
    expect([400, 401, 431]).toContain(many.status);
    expect((await raw(platform.url, [`GET /v2/me?${'a'.repeat(20_000)} HTTP/1.1`])).status).toBe(400);
    // Two framings of one body are how requests are smuggled.
    for (const lines of [
      ['Content-Length: 3', 'Transfer-Encoding: chunked'],
      ['Content-Length: 3', 'Content-Length: 4'],
      ['Transfer-Encoding: xchunked'],
      ['Transfer-Encoding : chunked'],
    ]) {
      const answer = await raw(
        platform.url,
        ['POST /v2/login HTTP/1.1', 'Content-Type: application/json', ...lines],
        '0\r\n\r\nGET /v2/me HTTP/1.1\r\n\r\n',
      ).catch(() => ({ status: 400, text: '' }));
      expect([lines, answer.status]).toEqual([lines, 400]);
    }
    expect((await owner.get('/me')).status).toBe(200);
  });

  it('61: line breaks make no headers: in correlation ids, file names, and what automations answer', async () => {
    const { platform, owner } = given();
    const { at } = await made();
    const { headers } = await raw(platform.url, [
      'GET /v2/jwks HTTP/1.1',
      'x-correlation-id: a%0d%0aset-cookie: x=1',
      'x-correlation-id: b',
    ]);
    expect([headers['set-cookie'], headers['x-correlation-id']?.includes('set-cookie')]).toEqual([undefined, expect.anything()]);
    await automation(at, 'headers', {
      do: [{ set: { name: '$http', value: { headers: { 'x-mine': 'a\r\nset-cookie: y=1', 'bad\r\nname': 'x', 'content-length': '1' } } } }],
      output: 'ok',
    });
    const answer = await raw(platform.url, [`POST /v2${at}/webhooks/headers HTTP/1.1`, 'Content-Length: 0']);
    expect([answer.status < 600, answer.headers['set-cookie']]).toEqual([true, undefined]);
    const [file] = await expectOk(
      owner.request('POST', `${at}/files`, fileForm('a"\r\nset-cookie: z=1\r\n.html', '<b>', 'text/html', [['public', 'true']])),
    );
    expect((await fetch(file.url)).headers.get('set-cookie')).toBeNull();
  });

  it('62, 63: expressions reach nothing of the machine, and what people send is never an expression', async () => {
    const { owner } = given();
    const { at } = await made();
    await expectOk(owner.patch(`${at}/config`, { value: { token: 'config-secret' } }));
    const attempts = [
      'process.env',
      'global.process',
      'this',
      'constructor',
      "body.constructor.constructor('return process')()",
      'body.__proto__',
      'require',
      'body.toString',
      "[].constructor.constructor('return 1')()",
      'globalThis',
      'import',
      'user.constructor.prototype',
    ];
    await automation(at, 'reach', {
      do: attempts
        .map((text, n) => ({ try: { do: [{ set: { name: `out.a${n}`, value: `{{${text}}}` } }], catch: [] } }))
        .filter(() => false),
      output: 'x',
    });
    for (const [n, text] of attempts.entries()) {
      const created = await owner.post(`${at}/automations`, {
        name: `r${n}`,
        slug: `r${n}`,
        when: { endpoint: true },
        do: [],
        output: { value: `{{${text}}}` },
      });
      if (created.status !== 200) continue;
      await eventually(async () => (await owner.post(`${at}/webhooks/r${n}`, {})).status !== 404);
      const { body } = await owner.post(`${at}/webhooks/r${n}`, {});
      const shown = JSON.stringify(body);
      expect([text, /PATH|node_modules|\[native|function/.test(shown)]).toEqual([text, false]);
    }
    await automation(at, 'echo', {
      do: [{ set: { name: 'copy', value: '{{body.text}}' } }, { set: { name: 'again', value: 'x {{copy}}' } }],
      output: '{{again}}',
    });
    for (const text of ['{{config.token}}', '${config.token}', '{{{{config.token}}}}', '{{{config.token}}}', '{% config.token %}'])
      expect([text, JSON.stringify((await owner.post(`${at}/webhooks/echo`, { text })).body).includes('config-secret')]).toEqual([
        text,
        false,
      ]);
  });
}
