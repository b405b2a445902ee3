/** fetch — an HTTP request. */
import { fault } from '../../../../mixins/shared/errors.ts';
import type { FetchRequest } from '../effects.ts';
import { object } from '../instruction.ts';
import { defineSimple, withOutput } from './simple.ts';

const KEYS = [
  'url',
  'method',
  'headers',
  'query',
  'body',
  'multipart',
  'prismeaiApiKey',
  'auth',
  'allowSelfSignedCert',
  'emitErrors',
  'outputMode',
  'stream',
] as const;

export const fetchInstruction = defineSimple({
  name: 'fetch',
  summary:
    'Sends an HTTP request. Statuses of 400 and more, and network failures, are answers and never end the run; private addresses are refused.',
  schema: object(
    {
      url: { type: 'string' },
      method: { type: 'string', default: 'GET', description: 'In either case. A body needs a method other than GET.' },
      headers: { type: 'object' },
      query: { type: 'object', description: 'Added to the address; lists repeat the name.' },
      body: {
        description: 'An object is sent as JSON, or encoded when the content type is application/x-www-form-urlencoded; a text as it is.',
      },
      multipart: {
        type: 'array',
        items: object({ fieldname: { type: 'string' }, value: {}, filename: { type: 'string' }, contentType: { type: 'string' } }),
      },
      prismeaiApiKey: object({ name: { type: 'string' } }),
      auth: object({
        basic: object({ user: { type: 'string' }, password: { type: 'string' } }),
        awsv4: object({
          accessKeyId: { type: 'string' },
          secretAccessKey: { type: 'string' },
          service: { type: 'string' },
          region: { type: 'string' },
        }),
        prismeai: object({ forwardWorkspaceAuth: { type: 'boolean' } }),
      }),
      allowSelfSignedCert: { type: 'boolean', default: false },
      emitErrors: { type: 'boolean', default: true, description: 'Tell runtime.fetch.failed.' },
      outputMode: { type: 'string', enum: ['body', 'detailed_response', 'data_url', 'base64'], default: 'body' },
      stream: object(
        {
          event: { type: 'string', description: 'Emitted for each chunk: `{ index, chunk, concatenated?, additionalPayload? }`.' },
          payload: { description: 'Goes along as additionalPayload.' },
          concatenate: object({
            path: { type: 'string', description: 'What of each data item is appended to `concatenated.value`.' },
            throttle: { type: 'number', description: 'Least milliseconds between two events.' },
          }),
          endChunk: { description: 'Chunk of a last event.' },
          target: { type: 'object', description: 'As in emit.' },
          options: { type: 'object', description: 'As in emit.' },
        },
        {
          description:
            'Server-sent events. With `event` each chunk is emitted; without it `output.body` is a stream that `repeat` reads, at its pace.',
        },
      ),
      output: withOutput,
    },
    { required: ['url'] },
  ),
  examples: [
    {
      title: 'posts JSON and keeps the status',
      source:
        "- fetch: { url: 'https://api.example.org/orders', method: POST, body: { id: '{{body.id}}' }, outputMode: detailed_response, output: answer }",
    },
    {
      title: 'tells each chunk of an answer as an event',
      source:
        "- fetch:\n    url: 'https://api.example.org/chat'\n    method: POST\n    body: { question: '{{body.text}}' }\n    stream: { event: chat.chunk, payload: { id: '{{body.id}}' }, concatenate: { path: 'choices[0].delta.content', throttle: 200 } }",
    },
    {
      title: 'reads a stream chunk by chunk',
      source:
        "- fetch: { url: 'https://api.example.org/chat', stream: {}, output: answer }\n- repeat: { on: '{{answer.body}}', do: [{ set: { name: text, value: '{{text}}{{item.chunk.data[0].text}}' } }] }",
    },
  ],
  async perform(args, frame) {
    if (typeof args.url !== 'string' || args.url === '')
      throw fault('InvalidInstructionError', { message: 'Invalid fetch instruction : empty url' });
    const request: Record<string, unknown> = {};
    for (const key of KEYS) if (args[key] !== undefined && args[key] !== null) request[key] = args[key];
    return frame.perform({ type: 'fetch', request: request as unknown as FetchRequest });
  },
});
