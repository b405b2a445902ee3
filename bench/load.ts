/**
 * load — an HTTP client that costs as little as possible, in a process of its own: raw sockets, one request in flight per connection.
 * Run as a script it reads its job from the arguments and prints one line of JSON; `load()` starts it and reads that line.
 */
import { spawn } from 'node:child_process';
import { connect } from 'node:net';

export interface Job {
  port: number;
  connections: number;
  seconds: number;
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: string;
}

export interface Measured {
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  requests: number;
  /** Answers whose status is not 200, by status. */
  refused: Record<string, number>;
}

export function load(job: Job): Promise<Measured> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', import.meta.filename, JSON.stringify(job)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    child.on('exit', (code) => (code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`the load process ended with ${code}`))));
  });
}

async function run(job: Job): Promise<Measured> {
  const head = [`${job.method} ${job.path} HTTP/1.1`, `host: 127.0.0.1:${job.port}`, 'connection: keep-alive'];
  for (const [name, value] of Object.entries(job.headers ?? {})) head.push(`${name}: ${value}`);
  if (job.body !== undefined) head.push('content-type: application/json', `content-length: ${Buffer.byteLength(job.body)}`);
  const request = Buffer.from(`${head.join('\r\n')}\r\n\r\n${job.body ?? ''}`);

  const times: number[] = [];
  const refused: Record<string, number> = {};
  const started = performance.now();
  const end = started + job.seconds * 1000;

  await Promise.all(
    Array.from(
      { length: job.connections },
      () =>
        new Promise<void>((done, fail) => {
          const socket = connect(job.port, '127.0.0.1');
          socket.setNoDelay(true);
          let sent = 0;
          let buffer = '';
          const next = () => {
            sent = performance.now();
            if (sent >= end) return socket.end();
            socket.write(request);
          };
          socket.on('connect', next);
          socket.on('error', fail);
          socket.on('close', () => done());
          socket.on('data', (chunk) => {
            buffer += chunk.toString('latin1');
            const split = buffer.indexOf('\r\n\r\n');
            if (split < 0) return;
            const header = buffer.slice(0, split);
            const length = /content-length: (\d+)/i.exec(header);
            const isWhole = length ? buffer.length >= split + 4 + Number(length[1]) : buffer.endsWith('0\r\n\r\n');
            if (!isWhole) return;
            const status = header.slice(9, 12);
            if (status !== '200') refused[status] = (refused[status] ?? 0) + 1;
            times.push(performance.now() - sent);
            buffer = '';
            next();
          });
        }),
    ),
  );

  const seconds = (performance.now() - started) / 1000;
  times.sort((a, b) => a - b);
  const at = (share: number) => Number((times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0).toFixed(2));
  return { requestsPerSecond: Math.round(times.length / seconds), p50Ms: at(0.5), p99Ms: at(0.99), requests: times.length, refused };
}

if (process.argv[1] === import.meta.filename) console.log(JSON.stringify(await run(JSON.parse(process.argv[2] as string))));
