/** address — the client's address: the right-most entry of X-Forwarded-For that no trusted proxy wrote, else the peer of the connection. */
import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';
import { fault } from '../../../mixins/shared/errors.ts';

type Network = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** @throws ConfigurationError naming TRUSTED_PROXIES */
export function addressReader(trustedProxies: string[]): (request: IncomingMessage) => string | undefined {
  const networks = trustedProxies.map((text): Network => {
    try {
      if (text.includes('/')) return ipaddr.parseCIDR(text);
      const address = ipaddr.parse(text);
      return [address, address.kind() === 'ipv4' ? 32 : 128];
    } catch {
      throw fault('ConfigurationError', {
        message: `TRUSTED_PROXIES: '${text}' is not an address or network.`,
        data: { variable: 'TRUSTED_PROXIES' },
      });
    }
  });
  const parse = (text: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined => (ipaddr.isValid(text) ? ipaddr.process(text) : undefined);
  const isTrusted = (address: ipaddr.IPv4 | ipaddr.IPv6) =>
    networks.some(([network, bits]) => address.kind() === network.kind() && address.match(network as never, bits));
  const peers = new Map<string, { text: string; trusted: boolean }>();

  return (request) => {
    const peer = request.socket.remoteAddress;
    if (!peer) return undefined;
    let known = peers.get(peer);
    if (!known) {
      const address = parse(peer);
      known = { text: address?.toString() ?? peer, trusted: Boolean(address && isTrusted(address)) };
      if (peers.size > 10_000) peers.clear();
      peers.set(peer, known);
    }
    const forwarded = request.headers['x-forwarded-for'];
    if (!known.trusted || forwarded === undefined) return known.text;
    let last = known.text;
    for (const entry of String(forwarded).split(',').reverse()) {
      const address = parse(entry.trim());
      if (!address) return last;
      last = address.toString();
      if (!isTrusted(address)) return last;
    }
    return last;
  };
}
