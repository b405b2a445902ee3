/** The configuration file of policies: what it may say, and how a mistake in it is told. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { compileConfiguration } from '../../../services/gateway/configuration/compile.ts';
import { interpolate } from '../../../services/gateway/configuration/interpolate.ts';
import { readConfiguration } from '../../../services/gateway/configuration/read.ts';
import { targetUrl } from '../../../services/gateway/policies/proxy.ts';

const FILE = `
services:
  catalogue: { url: "\${CATALOGUE_URL:-http://catalogue:4100/base}" }
  events: { moleculer: events }
endpoints:
  reports:
    paths: ["/v2/workspaces/:workspaceId/reports", "/v2/reports*"]
    methods: [get, post]
  archive: { pathRegexp: "^/v2/archive/\\\\d+$", hosts: ["^archive\\\\."] }
pipelines:
  - name: reports
    endpoints: [reports, archive]
    policies:
      - match: { paths: ["/v2/workspaces/:workspaceId/reports"], methods: [POST] }
        rateLimit: { name: newReport, key: userId, window: 60, limit: 5 }
      - match: { paths: ["/v2/archive"] }
        blacklist: { paths: ["secret"] }
      - authentication: { csrf: { validateToken: true } }
      - proxy: { service: catalogue, timeout: 30000 }
`;

const problemsOf = (text: string) => {
  try {
    readConfiguration(text, () => undefined);
  } catch (error) {
    return (error as { data: { problems?: Record<string, string[]> } }).data.problems;
  }
  return undefined;
};

describe('the configuration of policies', () => {
  it('finds the pipeline of a request, with the policies that apply to it', () => {
    const compiled = compileConfiguration(readConfiguration(FILE, () => undefined));
    const policiesOf = (method: string, path: string, host = 'api.example.org') =>
      compiled.find(method, path, host)?.policies.map((policy) => Object.keys(policy).find((name) => name !== 'match'));

    expect(policiesOf('POST', '/v2/workspaces/w1/reports')).toEqual(['rateLimit', 'authentication', 'proxy']);
    expect(policiesOf('GET', '/V2/workspaces/w1/reports/')).toEqual(['authentication', 'proxy']);
    expect(policiesOf('GET', '/v2/reports/2026/11')).toEqual(['authentication', 'proxy']);
    expect(policiesOf('DELETE', '/v2/reports')).toBeUndefined();
    expect(policiesOf('GET', '/v2/workspaces/w1/reports/more')).toBeUndefined();
    expect(compiled.find('GET', '/v2/workspaces/w1/reports', '')?.params).toEqual({ workspaceId: 'w1' });
  });

  it('applies conditions to every endpoint of a pipeline, and endpoints to their hosts', () => {
    const compiled = compileConfiguration(readConfiguration(FILE, () => undefined));
    expect(compiled.find('GET', '/v2/archive/12', 'archive.example.org')?.policies).toHaveLength(3);
    expect(compiled.find('GET', '/v2/archive/12', 'api.example.org')).toBeUndefined();
  });

  it('names the key of every mistake, all at once', () => {
    expect(
      problemsOf(`
services: { a: { url: "not an address" } }
endpoints: { e: { methods: [FETCH], path: /x }, none: {}, bad: { pathRegexp: "(" } }
pipelines:
  - endpoints: [e, unknown]
    policies: []
  - name: second
    endpoints: [e]
    policies:
      - auth: {}
      - rateLimit: { name: x, key: cookie, window: 0 }
      - proxy: { service: nobody }
      - authentication: { optional: "yes" }
        rateLimit: {}
limits: { signup: { limit: -1 } }
extra: true
`),
    ).toMatchObject({
      'services.a.url': ['must be an http(s) address'],
      'endpoints.e.methods.0': ["'FETCH' is not a method"],
      'endpoints.none': ['needs path, paths or pathRegexp'],
      'endpoints.bad.pathRegexp': ['is not a regular expression'],
      'pipelines.0.name': ['is required'],
      'pipelines.0.endpoints.1': ["there is no endpoint 'unknown'"],
      'pipelines.0.policies': ['must be a list of at least one policy'],
      'pipelines.1.endpoints.0': ["the endpoint 'e' belongs to pipelines.0 already"],
      'pipelines.1.policies.0.auth': [expect.stringContaining('is not a policy')],
      'pipelines.1.policies.1.rateLimit.key': ['must be userId, ip or workspaceId'],
      'pipelines.1.policies.1.rateLimit.window': ['must be a number of at least 1'],
      'pipelines.1.policies.1.rateLimit.limit': ['is required'],
      'pipelines.1.policies.2.proxy.service': ["there is no service 'nobody'"],
      'pipelines.1.policies.3': ['must hold exactly one policy'],
      'limits.signup.limit': ['must be a number of at least 0'],
      'file.extra': [expect.stringContaining('is not known')],
    });
  });

  it('says what is not YAML, and which variable is not set', () => {
    expect(() => readConfiguration('a: [')).toThrow(expect.objectContaining({ type: 'ConfigurationError' }) as never);
    expect(() => interpolate('${MISSING} ${ALSO}', () => undefined)).toThrow('The file uses MISSING, ALSO, which is not set.');
  });

  it('replaces variables before it reads: an empty one is unset, a default begins after the first `:-`', () => {
    const values: Record<string, string> = { A: 'a', EMPTY: '' };
    expect(interpolate('${A} ${B:-b:-c} ${EMPTY:-e} $A', (name) => values[name])).toBe('a b:-c e $A');
    expect(readConfiguration('limits: { signup: { limit: ${N} } }', () => '3').limits).toEqual({ signup: { limit: 3 } });
  });
});

describe('the example', () => {
  it('is a configuration', () => {
    const text = readFileSync(new URL('../../../examples/gateway.config.yml', import.meta.url), 'utf8');
    const compiled = compileConfiguration(readConfiguration(text, () => undefined));
    expect(compiled.find('POST', '/v2/workspaces/w1/search', '')?.pipeline).toBe('searches');
    expect(compiled.find('GET', '/v2/me', '')?.pipeline).toBe('everything');
  });
});

describe('the address a proxy asks for', () => {
  const ask = (url: string, more: object = {}, host = 'api.example.org') =>
    targetUrl(
      {
        target: { url: 'http://catalogue:4100/base' },
        policy: { service: 'c', websockets: false, timeout: 1, pathRewrite: [], router: [], ...more },
      },
      url,
      host,
    ).href;

  it('is the path of the request below that of the service, with its query', () => {
    expect(ask('/v2/reports/1?a=b&a=c')).toBe('http://catalogue:4100/base/v2/reports/1?a=b&a=c');
    expect(ask('/v2/reports', { pathRewrite: [['^/v2', '']] })).toBe('http://catalogue:4100/base/reports');
    expect(ask('/v2/reports', { router: [['/v2/reports', 'https://other.example.org']] })).toBe('https://other.example.org/v2/reports');
    expect(ask('/v2/reports', { router: [['api.example.org', 'https://by-host.example.org']] })).toBe(
      'https://by-host.example.org/v2/reports',
    );
  });

  it.each([
    '/../../etc/passwd',
    '/%2e%2e/%2E%2e/admin',
    '/v2/../../x',
    '//evil.example.com/x',
    '/\\evil.example.com/',
    '/@evil.example.com',
  ])('never leaves the service: %s', (path) => {
    let found: string;
    try {
      found = ask(path);
    } catch (error) {
      expect((error as { type?: string }).type).toBe('BadParametersError');
      return;
    }
    expect(found.startsWith('http://catalogue:4100/base/')).toBe(true);
  });
});
