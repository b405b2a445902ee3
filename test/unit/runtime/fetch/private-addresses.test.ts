/** Row 56: a corpus of spellings of addresses that are nobody's business, against the guarded fetch. A server of this machine counts who gets through. */
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../../../mixins/shared/config.ts';
import { checkedLookup, createGuard, type Guard, isPublicAddress } from '../../../../mixins/shared/guard.ts';
import { performFetch } from '../../../../services/runtime/fetch/index.ts';

/** `PORT` is the port of the server; without it the address is one of a service that could be there. */
const HTTP = [
  // Loopback, as dotted numbers of every length and base
  'http://127.0.0.1:PORT/',
  'http://127.0.0.2:PORT/',
  'http://127.1:PORT/',
  'http://127.0.1:PORT/',
  'http://2130706433:PORT/',
  'http://0x7f000001:PORT/',
  'http://0x7f.0.0.1:PORT/',
  'http://0x7f.1:PORT/',
  'http://0177.0.0.1:PORT/',
  'http://017700000001:PORT/',
  'http://0177.0.0.0x1:PORT/',
  'http://127.0.0.1.:PORT/',
  'http://0X7F000001:PORT/',
  'http://127.000.000.001:PORT/',
  'http://127.255.255.254:PORT/',
  // The same, in other scripts, escaped, and with what a URL may carry
  'http://１２７.０.０.１:PORT/',
  'http://①②⑦.⓪.⓪.①:PORT/',
  'http://127。0。0。1:PORT/',
  'http://127．0．0．1:PORT/',
  'http://%31%32%37.0.0.1:PORT/',
  'http://127.0.0%2e1:PORT/',
  'http://user:password@127.0.0.1:PORT/',
  'http://example.org@127.0.0.1:PORT/',
  'http://127.0.0.1:PORT#@example.org/',
  'http:127.0.0.1:PORT/',
  'http:\\\\127.0.0.1:PORT\\',
  'http:///127.0.0.1:PORT/',
  'HTTP://127.0.0.1:PORT/',
  ' http://127.0.0.1:PORT/ ',
  'http://127.0.0.1\t:PORT/',
  'http://12\n7.0.0.1:PORT/',
  // Names
  'http://localhost:PORT/',
  'http://LOCALHOST:PORT/',
  'http://localhost.:PORT/',
  'http://ｌｏｃａｌｈｏｓｔ:PORT/',
  'http://loc%61lhost:PORT/',
  'http://a.localhost:PORT/',
  // Unspecified, and this network
  'http://0.0.0.0:PORT/',
  'http://0:PORT/',
  'http://0x0:PORT/',
  'http://00000:PORT/',
  'http://0.1.2.3:PORT/',
  'http://[::]:PORT/',
  // IPv6 loopback and IPv4 inside IPv6
  'http://[::1]:PORT/',
  'http://[0:0:0:0:0:0:0:1]:PORT/',
  'http://[0000:0000::0001]:PORT/',
  'http://[::ffff:127.0.0.1]:PORT/',
  'http://[::FFFF:7f00:1]:PORT/',
  'http://[0:0:0:0:0:ffff:7f00:0001]:PORT/',
  'http://[::127.0.0.1]:PORT/',
  'http://[::7f00:1]:PORT/',
  'http://[::ffff:0:127.0.0.1]:PORT/',
  'http://[64:ff9b::127.0.0.1]:PORT/',
  'http://[64:ff9b:1::a00:1]:PORT/',
  'http://[2002:7f00:1::]:PORT/',
  'http://[2001:0:7f00:1::]:PORT/',
  'http://[::ffff:10.0.0.1]/',
  'http://[::ffff:169.254.169.254]/',
  // Private, shared, link-local, metadata
  'http://10.0.0.1/',
  'http://10.255.255.255/',
  'http://0xa000001/',
  'http://012.0.0.1/',
  'http://172.16.0.1/',
  'http://172.31.255.254/',
  'http://192.168.1.1/',
  'http://192.168.257/',
  'http://3232235777/',
  'http://100.64.0.1/',
  'http://100.100.100.200/',
  'http://169.254.169.254/latest/meta-data/',
  'http://2852039166/latest/meta-data/',
  'http://0xa9fea9fe/',
  'http://169.254.43518/',
  'http://[fe80::1]/',
  'http://[fc00::1]/',
  'http://[fd00:ec2::254]/latest/meta-data/',
  'http://[fec0::1]/',
  // Reserved, benchmark, multicast, broadcast, documentation
  'http://192.0.0.1/',
  'http://192.0.2.1/',
  'http://198.18.0.1/',
  'http://198.51.100.1/',
  'http://203.0.113.1/',
  'http://224.0.0.1/',
  'http://239.255.255.250/',
  'http://240.0.0.1/',
  'http://255.255.255.255/',
  'http://192.88.99.1/',
  'http://[ff02::1]/',
  'http://[100::1]/',
  'http://[2001:db8::1]/',
  'http://[2001:2::1]/',
];
const OTHER_SCHEMES = [
  'file:///etc/passwd',
  'gopher://127.0.0.1:PORT/_PING',
  'ftp://127.0.0.1/',
  'dict://127.0.0.1:6379/info',
  'redis://127.0.0.1:6379/',
  'ldap://127.0.0.1/',
  'data:text/plain,hello',
  'javascript:1',
  'ws://127.0.0.1:PORT/',
  'blob:http://127.0.0.1/x',
  'about:blank',
  'unix:/var/run/docker.sock',
  'http+unix://x/',
];
/** Ports of the bus, the stores and the services themselves, wherever they listen. */
const PORTS = [6379, 27017, 9200, 9000, 3001];

describe('addresses that automations may not reach', () => {
  let server: Server;
  let port: number;
  let guard: Guard;
  let asked = 0;
  const config = loadConfig({}, { fetchMaxRetries: 0, fetchTimeoutMs: 2_000 });
  const fetching = async (url: string, overrides: object = {}): Promise<any> => {
    try {
      return await performFetch({ url, ...overrides } as never, guard, config, {
        signal: new AbortController().signal,
        idempotencyKey: 'k',
        now: Date.now,
        throttle: async () => {},
        platformHeaders: async () => ({}),
        onFailure: () => {},
        onItem: async () => {},
        onEnd: async () => {},
        keep: () => {},
      });
    } catch (error) {
      return { error: (error as { type?: string }).type };
    }
  };

  beforeAll(async () => {
    guard = createGuard(config);
    server = createServer((_request, response) => {
      asked++;
      response.end('reached');
    });
    await new Promise<void>((done) => server.listen(0, done));
    port = (server.address() as { port: number }).port;
  });
  afterAll(async () => {
    await guard.close();
    server.close();
  });

  it('56: are at least sixty spellings', () => expect(new Set(HTTP).size).toBeGreaterThanOrEqual(60));

  it.each(HTTP)('56: %j is refused, and reaches nobody', async (spelling) => {
    const { error } = await fetching(spelling.replaceAll('PORT', String(port)));
    // A spelling that is no URL, or no host, is as good as refused; one that would leave this machine is not.
    expect([spelling, error]).toEqual([spelling, expect.stringMatching(/^(ForbiddenHostError|InvalidInstructionError)$/)]);
    expect(asked).toBe(0);
  });

  it.each(OTHER_SCHEMES)('56: the scheme of %j is refused', async (spelling) => {
    const { error } = await fetching(spelling.replaceAll('PORT', String(port)));
    expect([spelling, error]).toEqual([spelling, expect.stringMatching(/^(ForbiddenHostError|InvalidInstructionError)$/)]);
    expect(asked).toBe(0);
  });

  it('56: an allowed host on another port is not allowed', async () => {
    const open = createGuard(loadConfig({}, { fetchAllowedPrivateHosts: ['127.0.0.1:1'] }));
    for (const other of PORTS)
      expect(() => open.dispatcherFor(new URL(`http://127.0.0.1:${other}/`))).toThrow(
        expect.objectContaining({ type: 'ForbiddenHostError' }),
      );
    expect(() => open.dispatcherFor(new URL('http://127.0.0.1:1/'))).not.toThrow();
    await open.close();
  });

  it('56: a redirect to one of them is refused as if it had been asked for', async () => {
    let redirects = 0;
    const door = createServer((_request, response) => {
      redirects++;
      response.writeHead(302, { location: `http://127.0.0.1:${port}/` }).end();
    });
    await new Promise<void>((done) => door.listen(0, '127.0.0.1', done));
    const doorPort = (door.address() as { port: number }).port;
    const half = loadConfig({}, { fetchAllowedPrivateHosts: [`127.0.0.1:${doorPort}`], fetchMaxRetries: 0 });
    const halfGuard = createGuard(half);
    try {
      const answer: any = await performFetch({ url: `http://127.0.0.1:${doorPort}/` } as never, halfGuard, half, {
        signal: new AbortController().signal,
        idempotencyKey: 'k',
        now: Date.now,
        throttle: async () => {},
        platformHeaders: async () => ({}),
        onFailure: () => {},
        onItem: async () => {},
        onEnd: async () => {},
        keep: () => {},
      });
      expect([answer.error, redirects, asked]).toEqual(['ForbiddenHostError', 1, 0]);
    } finally {
      await halfGuard.close();
      door.close();
    }
  });

  it.each([
    [['10.0.0.1']],
    [['8.8.8.8', '127.0.0.1']],
    [['::ffff:169.254.169.254']],
    [['::1']],
    [[]],
  ])('56: a name that answers %j at the moment of connecting is refused, whatever it answered before', async (addresses) => {
    const answered = (list: string[]) =>
      new Promise((done) =>
        checkedLookup(
          'rebinding.example',
          { all: true },
          (error, found) => done(error ?? found),
          (_name, _options, answer) =>
            answer(
              null,
              list.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
            ),
        ),
      );
    expect(await answered(['8.8.8.8'])).toEqual([{ address: '8.8.8.8', family: 4 }]);
    expect(await answered(addresses)).toMatchObject({ type: 'ForbiddenHostError' });
  });

  it('lets public addresses through, in every notation', () => {
    for (const address of ['8.8.8.8', '1.1.1.1', '93.184.216.34', '2606:4700:4700::1111', '2a00:1450:4001:81b::200e', '::ffff:8.8.8.8'])
      expect([address, isPublicAddress(address)]).toEqual([address, true]);
  });
});
