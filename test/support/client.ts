/** client — a user of the public API: REST with a bearer token, and Socket.IO. Nothing here knows the code behind. */
import { io, type Socket } from 'socket.io-client';
import { assertAnswer } from './answers.ts';

export interface Answer<T = any> {
  status: number;
  headers: Headers;
  body: T;
}

export interface SocketOptions {
  auth?: Record<string, unknown>;
  /** Gets every event from the first on. */
  hear?(type: string, event: any): void;
}

export interface Client {
  url: string;
  token?: string;
  user?: { id: string; email?: string; sessionId: string };
  request<T = any>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer<T>>;
  get<T = any>(path: string, headers?: Record<string, string>): Promise<Answer<T>>;
  post<T = any>(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer<T>>;
  patch<T = any>(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer<T>>;
  delete<T = any>(path: string, headers?: Record<string, string>): Promise<Answer<T>>;
  /** Posts a file in a multipart form. */
  upload<T = any>(path: string, field: string, name: string, content: Uint8Array, type?: string): Promise<Answer<T>>;
  /** Live events of a workspace; resolves when connected. What is replayed may come with the connection: only `hear` is sure to get it. */
  events(workspaceId: string, filters?: object, options?: SocketOptions): Promise<Socket>;
}

/** Like Client['request'], but a status of 400 or more throws with the body. */
export async function expectOk<T = any>(answer: Promise<Answer<T>>): Promise<T> {
  const { status, body } = await answer;
  if (status >= 400) throw new Error(`HTTP ${status}: ${JSON.stringify(body)}`);
  return body;
}

export function client(url: string, token?: string): Client {
  const self: Client = {
    url,
    ...(token ? { token } : {}),
    async request(method, path, body, headers = {}) {
      const isRaw = typeof body === 'string' || body instanceof Uint8Array || body instanceof FormData;
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(self.token ? { authorization: `Bearer ${self.token}` } : {}),
          ...(body !== undefined && !isRaw ? { 'content-type': 'application/json' } : {}),
          ...headers,
        },
        ...(body === undefined ? {} : { body: isRaw ? (body as string) : JSON.stringify(body) }),
      });
      const type = response.headers.get('content-type') ?? '';
      const text =
        type.includes('octet-stream') || type.includes('zip') ? new Uint8Array(await response.arrayBuffer()) : await response.text();
      const isJson = typeof text === 'string' && type.includes('json') && !type.includes('ndjson') && text !== '';
      const parsed = isJson ? JSON.parse(text) : text;
      if (isJson) await assertAnswer(url, method, path, response.status, parsed);
      return { status: response.status, headers: response.headers, body: parsed };
    },
    get: (path, headers) => self.request('GET', path, undefined, headers),
    post: (path, body, headers) => self.request('POST', path, body, headers),
    patch: (path, body, headers) => self.request('PATCH', path, body, headers),
    delete: (path, headers) => self.request('DELETE', path, undefined, headers),
    upload(path, field, name, content, type = 'application/zip') {
      const form = new FormData();
      form.append(field, new Blob([new Uint8Array(content)], { type }), name);
      return self.request('POST', path, form);
    },
    events(workspaceId, filters, { auth = {}, hear } = {}) {
      return new Promise((resolve, reject) => {
        const socket = io(`${url.replace(/\/v2$/, '')}/v2/workspaces/${workspaceId}/events`, {
          transports: ['websocket'],
          reconnection: false,
          forceNew: true,
          auth: { extraHeaders: { authorization: `Bearer ${self.token}` }, ...(filters ? { filters } : {}), ...auth },
        });
        if (hear) socket.onAny(hear);
        socket.once('connect', () => resolve(socket));
        socket.once('connect_error', (error) => {
          socket.close();
          reject(error);
        });
      });
    },
  };
  return self;
}

export async function signIn(url: string, { email, password }: { email: string; password: string }): Promise<Client> {
  const user = await expectOk(client(url).post('/login', { email, password }));
  return Object.assign(client(url, user.token), { user });
}

let serial = 0;

/** A new account, signed in. */
export async function newUser(url: string, name = 'user'): Promise<Client> {
  const email = `${name}-${process.pid}-${++serial}@example.org`;
  const password = 'a-long-password-1';
  await expectOk(client(url).post('/signup', { email, password, firstName: 'Ada', lastName: 'Lovelace' }));
  return signIn(url, { email, password });
}
