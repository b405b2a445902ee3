/** tcp-proxy — a network that can be cut: connections through it are dropped, refused, or go silent, as a test wishes. */

import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';

export interface TcpProxy {
  port: number;
  /** Drops every connection and refuses new ones. */
  cut(): void;
  /** Keeps connections open but passes nothing, as a network that loses every packet. */
  freeze(): void;
  heal(): void;
  /** What is connected passes nothing any more and is not told, as behind a firewall that has forgotten it; new connections work. */
  strand(): void;
  /** Drops every connection; new ones go to another port. */
  retarget(port: number): void;
  close(): Promise<void>;
}

export async function openTcpProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let stranded = new WeakSet<Socket>();
  let target = targetPort;
  let state: 'open' | 'cut' | 'frozen' = 'open';
  const server = createServer((client) => {
    if (state === 'cut') return client.destroy();
    const upstream = connect(target, '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (data) => {
        if (state === 'open' && !stranded.has(from)) to.write(data);
      });
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      state = 'cut';
      drop();
    },
    freeze() {
      state = 'frozen';
    },
    heal() {
      if (state === 'frozen') drop(); // packets lost in between never come: peers must notice
      state = 'open';
    },
    strand() {
      stranded = new WeakSet(sockets);
    },
    retarget(port) {
      target = port;
      drop();
    },
    close() {
      drop();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
