/** emit — tells an event. */
import { fault } from '../../../../mixins/shared/errors.ts';
import { EVENT_TYPE_PATTERN, type EventOptions, type EventTarget } from '../../../../mixins/shared/event.ts';
import { isPlainObject, type JsonObject } from '../../../../mixins/shared/json.ts';
import { toKey } from '../../expressions/index.ts';
import { object } from '../instruction.ts';
import { defineSimple, withOutput } from './simple.ts';

export const emit = defineSimple({
  name: 'emit',
  summary:
    'Emits an event: kept in the history, delivered live to who may read it, and a trigger of automations. Inside an app the name gets the instance as prefix.',
  schema: object(
    {
      event: { type: 'string', description: 'Letters, digits, space, dot, dash and underscore.' },
      payload: { type: 'object', description: 'An object; nothing means {}.' },
      target: {
        type: 'object',
        properties: {
          userId: { type: 'string' },
          sessionId: { type: 'string' },
          userTopic: { type: 'string' },
          currentSocket: { type: 'boolean', default: true },
        },
        description: 'Further readers.',
      },
      options: {
        type: 'object',
        properties: { persist: { type: 'boolean', default: true }, aggPayload: { type: 'boolean' }, async: { type: 'boolean' } },
      },
      private: { type: 'boolean', description: 'Of the editor; ignored.' },
      autocomplete: { description: 'Of the editor; ignored.' },
      output: withOutput,
    },
    { required: ['event'] },
  ),
  examples: [{ title: 'tells that an order was paid', source: "- emit: { event: order.paid, payload: { id: '{{body.id}}' } }" }],
  async perform({ event, payload, target, options }, frame) {
    if (typeof event !== 'string' || !EVENT_TYPE_PATTERN.test(event))
      throw fault('InvalidEventError', {
        message: `Invalid event name '${toKey(event)}': letters, digits, space, dot, dash and underscore.`,
        data: { event },
      });
    if (payload !== undefined && payload !== null && !isPlainObject(payload)) {
      const received = Array.isArray(payload)
        ? 'Array'
        : typeof payload === 'object'
          ? 'Object'
          : (typeof payload).replace(/^./, (char) => char.toUpperCase());
      const error = {
        error: 'InvalidEventError',
        message: `Event payload must be an object, received ${received}`,
        details: { event, payload },
      };
      await frame.perform({ type: 'error', error });
      return error;
    }
    await frame.throttle('emits');
    return frame.perform({
      type: 'emit',
      event,
      payload: (payload ?? {}) as JsonObject,
      ...(isPlainObject(target) ? { target: target as EventTarget } : {}),
      ...(isPlainObject(options) ? { options: options as EventOptions } : {}),
    });
  },
});
