/** entries — stream entries as they come from Redis, and the order of their ids (`<ms>-<number>`). */
import type { Draft, Entry, Position } from '../../carrier.ts';

export type RawEntry = [id: string, fields: string[]];

export function compare(a: Position, b: Position): number {
  const [ms = '0', number = '0'] = a.split('-');
  const [otherMs = '0', otherNumber = '0'] = b.split('-');
  return Number(ms) - Number(otherMs) || Number(number) - Number(otherNumber);
}

/** The smallest position behind `position`. */
export function nextOf(position: Position): Position {
  const [ms = '0', number = '0'] = position.split('-');
  return `${ms}-${Number(number) + 1}`;
}

/** Head of an entry: id, workspace, group and topic, a line each (none may contain a line break; the topic comes last). */
export const headOf = ({ id, workspaceId, group, topic }: Draft): string => `${id}\n${workspaceId}\n${group}\n${topic}`;

/** Fields `h` head and `b` body, in this order. Whatever else stands in the stream becomes an entry with an unreadable body. */
export function entryOf(shard: number, [position, fields]: RawEntry): Entry {
  const [name, head, , body] = fields;
  if (name !== 'h') return { position, shard, id: '', topic: '', workspaceId: '', group: '', body: '' };
  const [id = '', workspaceId = '', group = '', topic = ''] = (head as string).split('\n');
  return { position, shard, id, topic, workspaceId, group, body: body ?? '' };
}

// A trimmed or deleted entry has no fields.
export const entriesOf = (shard: number, raw: RawEntry[]): Entry[] => raw.filter(([, fields]) => fields).map((one) => entryOf(shard, one));
