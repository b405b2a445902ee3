/** connections — which connections of the server are at work, so that a gateway that stops waits for those and for no others. */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface Connections {
  /** The answer goes on until one side ends it: the server does when it stops. */
  endless(response: ServerResponse): void;
  /**
   * Ends endless answers and closes what is not answering, also connections that browsers open ahead of need and that never asked for anything.
   * Those at work are closed once they have answered.
   */
  release(): void;
}

export function trackConnections(server: Server): Connections {
  const open = new Set<Socket>();
  /** Requests under way. A property of the connection: a set that changes with each request is work for the garbage collector. */
  const busy = Symbol('requests under way');
  type Counted = Socket & { [busy]?: number };
  const streams = new Set<ServerResponse>();
  let isReleased = false;
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  server.on('request', ({ socket }, response) => {
    const counted = socket as Counted;
    counted[busy] = (counted[busy] ?? 0) + 1;
    response.once('close', () => {
      counted[busy] = (counted[busy] as number) - 1;
      if (isReleased) socket.destroySoon(); // kept alive for a next request that must not come
    });
  });

  return {
    endless(response) {
      streams.add(response);
      response.once('close', () => streams.delete(response));
    },
    release() {
      isReleased = true;
      for (const response of streams) response.end();
      for (const socket of open) if (!(socket as Counted)[busy]) socket.destroy();
    },
  };
}
