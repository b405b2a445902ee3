/** raw-http — requests no ordinary client would send: headers as they are written, methods and paths unchecked, nothing normalised. */
import { connect } from 'node:net';

export interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  text: string;
  body: any;
}

/** How a request is written besides. */
export interface RawOptions {
  /** The body is followed by the next request. */
  goesOn?: boolean;
  /** `false`: there is none. */
  host?: boolean;
}

/** @param head lines of the request without the empty one, `Host` and `Connection` excepted */
export function raw(url: string, head: string[], body = '', { goesOn = false, host: hasHost = true }: RawOptions = {}): Promise<RawAnswer> {
  const { hostname, port, host } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    const pieces: Buffer[] = [];
    socket.setTimeout(20_000, () => socket.destroy(new Error('no answer')));
    socket.on('data', (piece) => pieces.push(piece));
    socket.once('error', reject);
    socket.once('close', () => {
      const text = Buffer.concat(pieces).toString('utf8');
      const [top = '', ...rest] = text.split('\r\n\r\n');
      const [first = '', ...lines] = top.split('\r\n');
      const content = rest.join('\r\n\r\n');
      let parsed: unknown;
      try {
        parsed = JSON.parse(content.replace(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$/gi, ''));
      } catch {
        parsed = content;
      }
      const headers = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
      );
      resolve({ status: Number(first.split(' ')[1] ?? 0), headers, text, body: parsed });
    });
    const [request = '', ...more] = head;
    socket.write(
      [request, ...(hasHost ? [`Host: ${host}`] : []), `Connection: ${goesOn ? 'keep-alive' : 'close'}`, ...more, '', body].join('\r\n'),
    );
  });
}

/** `raw` with a JSON body. */
export const rawJson = (url: string, head: string[], value: unknown, options?: RawOptions): Promise<RawAnswer> => {
  const body = typeof value === 'string' ? value : JSON.stringify(value);
  return raw(url, [...head, 'Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`], body, options);
};
