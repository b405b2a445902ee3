/** bus-intruder — somebody on the private network with the password of the transporter: he hears every packet and may send any. No key of ours. */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { eventually } from './eventually.ts';

export interface BusAnswer {
  success: boolean;
  data?: any;
  error?: { name: string; type?: string; code?: number; message: string };
}

export interface Intruder {
  /** Ids of the nodes he has heard of. */
  nodes: Set<string>;
  /** Packets of requests he overheard. */
  overheard: { action: string; params: any; meta: any }[];
  request(nodeId: string, action: string, params: object, meta?: object): Promise<BusAnswer>;
  /** Any bytes, to the channel of a node. */
  publish(channel: string, bytes: string | Buffer): Promise<number>;
  close(): void;
}

export async function intrude(redisUrl: string, namespace: string): Promise<Intruder> {
  const prefix = `MOL-${namespace}`;
  const [listener, sender] = [new Redis(redisUrl), new Redis(redisUrl)];
  const me = `intruder-${randomBytes(4).toString('hex')}`;
  const waiting = new Map<string, (answer: BusAnswer) => void>();
  const nodes = new Set<string>();
  const overheard: Intruder['overheard'] = [];
  listener.on('pmessage', (_pattern: string, channel: string, text: string) => {
    let packet: any;
    try {
      packet = JSON.parse(text);
    } catch {
      return;
    }
    if (typeof packet !== 'object' || packet === null) return;
    if (channel.includes('.HEARTBEAT') || channel.includes('.INFO')) nodes.add(packet.sender);
    if (channel.includes('.REQ.')) overheard.push(packet);
    if (channel === `${prefix}.RES.${me}`) waiting.get(packet.id)?.(packet);
  });
  await listener.psubscribe(`${prefix}.*`);
  return {
    nodes,
    overheard,
    async request(nodeId, action, params, meta = {}) {
      const id = randomBytes(8).toString('hex');
      let answer: BusAnswer | undefined;
      waiting.set(id, (given) => (answer = given));
      const packet = {
        ver: '5',
        sender: me,
        id,
        action,
        params,
        meta,
        timeout: 5000,
        level: 1,
        tracing: false,
        parentID: null,
        requestID: id,
        caller: null,
        stream: false,
        seq: null,
      };
      await sender.publish(`${prefix}.REQ.${nodeId}`, JSON.stringify(packet));
      await eventually(() => answer !== undefined);
      return answer as BusAnswer;
    },
    publish: (channel, bytes) => sender.publish(`${prefix}.${channel}`, bytes),
    close() {
      listener.disconnect();
      sender.disconnect();
    },
  };
}
