/** Whom a call goes to: nodes in turn, those whose heartbeat is late only when there is no other. */
import { describe, expect, it } from '@jest/globals';
import { ServiceBroker } from 'moleculer';
import { SteadyNodes } from '../../../mixins/shared/steady-nodes.strategy.ts';

const broker = new ServiceBroker({ logger: false });
const now = () => Math.round(process.uptime());
const endpoint = (name: string, lateS: number | null, local = false) => ({
  name,
  local,
  node: { lastHeartbeatTime: lateS === null ? null : now() - lateS },
});
const turns = (list: object[], count: number) => {
  const strategy = new SteadyNodes(broker.registry, broker, {});
  return Array.from({ length: count }, () => strategy.select(list as any).name).join('');
};

describe('calls go', () => {
  it('round all nodes', () => {
    expect(turns([endpoint('a', 0), endpoint('b', 1), endpoint('c', 1)], 6)).toBe('abcabc');
  });

  it('past a node whose heartbeat is late', () => {
    expect(turns([endpoint('a', 0), endpoint('b', 4), endpoint('c', 0)], 6)).toBe('acacac');
  });

  it('to a node that is new, and to this one, whatever the beats', () => {
    expect(turns([endpoint('a', 9, true), endpoint('b', null)], 4)).toBe('abab');
  });

  it('round all nodes when all are late: then it is the network, or this node', () => {
    expect([...turns([endpoint('a', 4), endpoint('b', 5)], 6)].sort().join('')).toBe('aaabbb');
  });
});
