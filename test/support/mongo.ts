/**
 * mongo — a stand-in for a MongoDB server: it speaks the wire protocol (OP_QUERY for the handshake, OP_MSG for the rest) and keeps collections in
 * memory. It proves that the client, the adapter and our driver talk to a server as they must; what a query means it takes from our own matcher, so it
 * proves nothing about MongoDB's own meaning of queries. TEST_MONGODB_URL runs the same suite on a real server.
 * @see https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
 */
import { createRequire } from 'node:module';
import { createServer, type Socket } from 'node:net';
import { compileQuery } from '../../mixins/storage/documents/matcher.ts';
import { compareText } from '../../mixins/storage/order.ts';

type Doc = Record<string, any>;

const require = createRequire(import.meta.url);
const BSON = require('bson');
const bson = new BSON();

const OP_REPLY = 1;
const OP_QUERY = 2004;
const OP_MSG = 2013;

export interface TestMongo {
  url: string;
  /** Commands received, by name. */
  commands: Map<string, number>;
  stop(): Promise<void>;
}

export async function startMongo(): Promise<TestMongo> {
  const databases = new Map<string, Collection>();
  const commands = new Map<string, number>();
  const sockets = new Set<Socket>();
  const collection = (db: string, name: string): Collection => {
    const key = `${db}.${name}`;
    let found = databases.get(key);
    if (!found) {
      found = { docs: new Map(), uniques: [] };
      databases.set(key, found);
    }
    return found;
  };
  const answer = (command: Doc): Doc => {
    const name = Object.keys(command)[0] as string;
    commands.set(name, (commands.get(name) ?? 0) + 1);
    const handler = COMMANDS[name];
    if (!handler) return { ok: 0, errmsg: `no such command: '${name}'`, code: 59 };
    return handler(command, (target) => collection(command.$db, target));
  };

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    let pending = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 4 && pending.length >= pending.readInt32LE(0)) {
        const message = pending.subarray(0, pending.readInt32LE(0));
        pending = pending.subarray(message.length);
        socket.write(reply(message, answer));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `mongodb://127.0.0.1:${port}/test`,
    commands,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

function reply(message: Buffer, answer: (command: Doc) => Doc): Buffer {
  const requestId = message.readInt32LE(4);
  const opCode = message.readInt32LE(12);
  if (opCode === OP_QUERY) {
    const nameEnd = message.indexOf(0, 20);
    const command = bson.deserialize(message.subarray(nameEnd + 9));
    const body = bson.serialize(answer({ ...command, $db: message.toString('utf8', 20, nameEnd).split('.')[0] }));
    const head = Buffer.alloc(20);
    head.writeInt32LE(1, 16);
    return frame(requestId, OP_REPLY, Buffer.concat([head, body]));
  }
  if (opCode !== OP_MSG) throw new Error(`unknown operation ${opCode}`);
  let command: Doc = {};
  for (let at = 20; at < message.length; ) {
    const kind = message[at++];
    const size = message.readInt32LE(at);
    if (kind === 0) command = { ...bson.deserialize(message.subarray(at, at + size)), ...command };
    else {
      const nameEnd = message.indexOf(0, at + 4);
      const documents: Doc[] = [];
      for (let inner = nameEnd + 1; inner < at + size; inner += message.readInt32LE(inner))
        documents.push(bson.deserialize(message.subarray(inner, inner + message.readInt32LE(inner))));
      command[message.toString('utf8', at + 4, nameEnd)] = documents;
    }
    at += size;
  }
  return frame(requestId, OP_MSG, Buffer.concat([Buffer.alloc(5), bson.serialize(answer(command))]));
}

function frame(responseTo: number, opCode: number, body: Buffer): Buffer {
  const head = Buffer.alloc(16);
  head.writeInt32LE(16 + body.length, 0);
  head.writeInt32LE(responseTo, 8);
  head.writeInt32LE(opCode, 12);
  return Buffer.concat([head, body]);
}

interface Collection {
  docs: Map<string, Doc>;
  uniques: { name: string; path: string[] }[];
}

type Handler = (command: Doc, collection: (name: string) => Collection) => Doc;

const hello: Handler = () => ({
  ok: 1,
  ismaster: true,
  isWritablePrimary: true,
  helloOk: true,
  maxBsonObjectSize: 16 * 1024 * 1024,
  maxMessageSizeBytes: 48_000_000,
  maxWriteBatchSize: 100_000,
  localTime: new Date(),
  minWireVersion: 0,
  maxWireVersion: 13,
});

/** The first command of a driver is sent whole, so each handler reads just what it needs. */
const COMMANDS: Record<string, Handler> = {
  ismaster: hello,
  isMaster: hello,
  hello,
  ping: () => ({ ok: 1 }),
  endSessions: () => ({ ok: 1 }),
  killCursors: () => ({ ok: 1 }),

  createIndexes(command, collection) {
    const target = collection(command.createIndexes);
    for (const index of command.indexes)
      if (index.unique && !target.uniques.some(({ name }) => name === index.name))
        target.uniques.push({ name: index.name, path: (Object.keys(index.key)[0] as string).split('.') });
    return { ok: 1, numIndexesBefore: 1, numIndexesAfter: 2 };
  },

  insert(command, collection) {
    const target = collection(command.insert);
    for (const [index, doc] of (command.documents as Doc[]).entries()) {
      const problem = target.docs.has(doc._id) ? duplicate('_id_') : broken(target, doc);
      if (problem) return { ok: 1, n: index, writeErrors: [{ index, ...problem }] };
      target.docs.set(doc._id, doc);
    }
    return { ok: 1, n: command.documents.length };
  },

  find(command, collection) {
    const found = select(collection(command.find), command.filter ?? {});
    found.sort(byFields(command.sort ?? {}));
    const skipped = found.slice(command.skip ?? 0);
    const page = command.limit ? skipped.slice(0, command.limit) : skipped;
    return { ok: 1, cursor: { id: BSON.Long.fromNumber(0), ns: `${command.$db}.${command.find}`, firstBatch: page } };
  },

  aggregate(command, collection) {
    const [match] = command.pipeline as Doc[];
    const n = select(collection(command.aggregate), match?.$match ?? {}).length;
    return {
      ok: 1,
      cursor: { id: BSON.Long.fromNumber(0), ns: `${command.$db}.${command.aggregate}`, firstBatch: n ? [{ _id: 1, n }] : [] },
    };
  },

  update(command, collection) {
    const target = collection(command.update);
    let n = 0;
    for (const [index, { q, u }] of (command.updates as Doc[]).entries())
      for (const doc of select(target, q)) {
        const next = { ...doc, ...u.$set };
        for (const name of Object.keys(u.$unset ?? {})) delete next[name];
        const problem = broken(target, next);
        if (problem) return { ok: 1, n, nModified: n, writeErrors: [{ index, ...problem }] };
        target.docs.set(doc._id, next);
        n++;
      }
    return { ok: 1, n, nModified: n };
  },

  delete(command, collection) {
    const target = collection(command.delete);
    let n = 0;
    for (const { q } of command.deletes as Doc[])
      for (const doc of select(target, q)) {
        target.docs.delete(doc._id);
        n++;
      }
    return { ok: 1, n };
  },
};

const select = (target: Collection, filter: Doc): Doc[] => {
  for (const part of ['$and', '$or', '$nor'])
    if (Array.isArray(filter[part]) && filter[part].length === 0) throw new Error(`${part} must be a nonempty array`);
  return [...target.docs.values()].filter(compileQuery(filter));
};

const at = (doc: unknown, path: string[]): unknown =>
  path.reduce<unknown>(
    (value, name) => (value && typeof value === 'object' && Object.hasOwn(value, name) ? (value as Doc)[name] : undefined),
    doc,
  );

const duplicate = (index: string) => ({ code: 11000, errmsg: `E11000 duplicate key error collection: test index: ${index} dup key: {}` });

function broken({ docs, uniques }: Collection, doc: Doc) {
  for (const { name, path } of uniques) {
    const value = at(doc, path);
    if (value === undefined) continue;
    for (const other of docs.values()) if (other._id !== doc._id && at(other, path) === value) return duplicate(name);
  }
  return null;
}

const rank = (value: unknown): number =>
  value === undefined || value === null ? 0 : typeof value === 'number' ? 1 : typeof value === 'string' ? 2 : 3;

function compare(a: unknown, b: unknown): number {
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (typeof a === 'number') return a - (b as number);
  return typeof a === 'string' ? compareText(a, b as string) : 0;
}

const byFields = (sort: Doc) => (a: Doc, b: Doc) => {
  for (const [path, way] of Object.entries(sort)) {
    const order = compare(at(a, path.split('.')), at(b, path.split('.'))) * way;
    if (order !== 0) return order;
  }
  return 0;
};
