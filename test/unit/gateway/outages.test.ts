/** What Moleculer says when a part is away, in the words and with the status that clients can act on. */
import { describe, expect, it } from '@jest/globals';
import { Errors } from 'moleculer';
import { publicError } from '../../../services/gateway/http-errors.ts';

describe('an outage', () => {
  it.each([
    ['the transporter is away', new (Errors.BrokerDisconnectedError as unknown as new () => Error)(), 503, 'ServiceUnavailable'],
    ['nobody offers the action', new Errors.ServiceNotFoundError({ action: 'a' } as never), 503, 'ServiceUnavailable'],
    ['the node that was asked is gone', new Errors.RequestRejectedError({ action: 'a', nodeID: 'n' } as never), 503, 'ServiceUnavailable'],
    ['the answer does not come', new Errors.RequestTimeoutError({ action: 'a', nodeID: 'n' } as never), 408, 'TimeoutError'],
  ])('because %s is told as such, and tells nothing of the inside', (_why, error, status, name) => {
    const told = publicError(error);

    expect(told).toMatchObject({ status, body: { error: name, details: {} }, isUnknown: false });
    expect(JSON.stringify(told.body)).not.toMatch(/node|action|transporter/);
  });

  it('of the node that ran a webhook says how to ask again', () => {
    const lost = new Errors.RequestRejectedError({ action: 'runtime.webhook', nodeID: 'n' } as never);

    expect(publicError(lost, 'runtime.webhook')).toMatchObject({ status: 503, body: { error: 'RunLostError' } });
  });
});
