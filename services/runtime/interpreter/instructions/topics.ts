/** topics — createUserTopic and joinUserTopic: named audiences of events. */
import { fault } from '../../../../mixins/shared/errors.ts';
import { object } from '../instruction.ts';
import { defineSimple, withOutput } from './simple.ts';

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string' && item !== '') : [];

const schema = object({
  topic: { type: 'string' },
  userTopic: { type: 'string', description: 'Same as topic.' },
  userIds: { type: 'array', items: { type: 'string' } },
  output: withOutput,
});

export const createUserTopic = defineSimple({
  name: 'createUserTopic',
  summary: 'Creates a topic; events whose `target.userTopic` names it are readable by who joined it. Nothing happens when it exists.',
  schema,
  examples: [{ title: 'opens a room', source: "- createUserTopic: { topic: 'room:{{body.id}}', userIds: ['{{user.id}}'] }" }],
  async perform({ topic, userTopic, userIds }, frame) {
    const name = topic ?? userTopic;
    if (typeof name !== 'string' || name === '')
      throw fault('PrismeError', { message: 'Invalid createUserTopic instruction : missing topic name' });
    return frame.perform({ type: 'topic.create', topic: name, userIds: texts(userIds) });
  },
});

export const joinUserTopic = defineSimple({
  name: 'joinUserTopic',
  summary: 'Adds users to a topic: the current one, or `userIds`.',
  schema: object({ ...schema.properties, create: { type: 'boolean', default: true, description: 'false: the topic must exist.' } }),
  examples: [{ title: 'enters a room', source: "- joinUserTopic: { topic: 'room:{{body.id}}' }" }],
  async perform({ topic, userTopic, userIds, create }, frame) {
    const name = topic ?? userTopic;
    const own = frame.view.current.identity.userId;
    const ids = Array.isArray(userIds) ? texts(userIds) : own ? [own] : [];
    if (typeof name !== 'string' || name === '' || ids.length === 0)
      throw fault('PrismeError', { message: 'Invalid joinUserTopic instruction : missing topic name or userId' });
    return frame.perform({ type: 'topic.join', topic: name, userIds: ids, create: create !== false });
  },
});
