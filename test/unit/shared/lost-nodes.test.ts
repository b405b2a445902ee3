import { describe, expect, it } from '@jest/globals';
import { Errors, type ServiceBroker } from 'moleculer';
import { loadConfig } from '../../../mixins/shared/config.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { brokerOptions } from '../../../moleculer.config.ts';
import { localFirst } from '../../../services/gateway/local-first.ts';

describe('a node that is lost', () => {
  const { circuitBreaker, retryPolicy } = brokerOptions(loadConfig({ TRANSPORTER: 'redis://127.0.0.1:1' }));
  const lost = new Errors.RequestRejectedError({ action: 'workspaces.access', nodeID: 'gone' });
  const nobody = new Errors.ServiceNotAvailableError({ action: 'workspaces.access' });

  it('is a reason to ask another one, and none to close the way to whoever had asked it for others', () => {
    for (const error of [lost, nobody]) {
      expect(retryPolicy?.check?.(error)).toBe(true);
      expect(circuitBreaker?.check?.(error)).toBe(false);
    }
  });

  it('is another thing than a node that fails, which opens its circuit, or refuses, which does not', () => {
    expect(circuitBreaker?.check?.(new Error('broken'))).toBe(true);
    expect(circuitBreaker?.check?.(new Errors.RequestTimeoutError({ action: 'a', nodeID: 'slow' }))).toBe(true);
    expect(circuitBreaker?.check?.(fault('ForbiddenError'))).toBe(false);
    expect(retryPolicy?.check?.(new Error('broken'))).toBe(false);
  });
});

describe('an action that this node offers', () => {
  const brokerWith = (endpoint: object | undefined) =>
    ({ nodeID: 'here', registry: { getActionEndpointByNodeId: () => endpoint } }) as unknown as ServiceBroker;

  it('is asked of this node, unless its circuit is open: then of any', () => {
    expect(localFirst(brokerWith({}), 'events.stream')).toEqual({ nodeID: 'here' });
    expect(localFirst(brokerWith(undefined), 'events.stream')).toEqual({});
  });
});
