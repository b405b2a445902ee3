/** entries — stream entries as they come from Redis, and the order of their ids (`<ms>-<number>`). */
import type { Draft, Entry, Position } from '../../carrier.ts';

export type RawEntry = [id: string, fields: string[]];

export function compare(a: Position, b: Position): number {
  const [ms = '0', number = '0'] = a.split('-');
  const [otherMs = '0', otherNumber = '0'] = b.split('-');
  return Number(ms) - Number(otherMs) || Number(number) - Number(otherNumber);
}

/** Fields of an entry: i id, t topic, w workspace, b body, g group. Whatever else stands in the stream becomes an unreadable body. */
export function fieldsOf({ id, topic, workspaceId, group, body }: Draft): string[] {
  const fields = ['i', id, 't', topic, 'w', workspaceId, 'b', body];
  if (group) fields.push('g', group);
  return fields;
}

export function entryOf(shard: number, [position, fields]: RawEntry): Entry {
  const entry: Entry = { position, shard, id: '', topic: '', workspaceId: '', group: '', body: '' };
  for (let i = 0; i < fields.length; i += 2) {
    const value = fields[i + 1] as string;
    switch (fields[i]) {
      case 'i':
        entry.id = value;
        break;
      case 't':
        entry.topic = value;
        break;
      case 'w':
        entry.workspaceId = value;
        break;
      case 'b':
        entry.body = value;
        break;
      case 'g':
        entry.group = value;
        break;
    }
  }
  return entry;
}

// A trimmed or deleted entry has no fields.
export const entriesOf = (shard: number, raw: RawEntry[]): Entry[] => raw.filter(([, fields]) => fields).map((one) => entryOf(shard, one));
