import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from '@jest/globals';
import { eventWords, indexedText } from '../../../mixins/filters/condition.ts';

describe('the text of an event that the full-text index gets', () => {
  /** What an index like that of the history makes of a text. */
  function termsOf(text: string): string[] {
    const db = new DatabaseSync(':memory:');
    db.exec("CREATE VIRTUAL TABLE words USING fts5(word, content = '', contentless_delete = 1, detail = none, tokenize = ascii)");
    db.exec("CREATE VIRTUAL TABLE terms USING fts5vocab('words', 'row')");
    db.prepare('INSERT INTO words (rowid, word) VALUES (1, ?)').run(text);
    const found = (db.prepare('SELECT term FROM terms').all() as { term: string }[]).map(({ term }) => term);
    db.close();
    return found.sort();
  }
  const everyCharacter = Array.from({ length: 128 }, (_, code) => `a${String.fromCharCode(code)}B`);

  it.each([
    ['plain', { name: 'Ada_Lovelace', mail: 'ada@example.org', n: 12.5, yes: true, at: '2026-11-27T07:06:20.855Z' }],
    ['every ASCII character', { list: everyCharacter }],
    ['NUL among words', { text: 'before\0after end' }],
    ['a long word', { text: `${'x'.repeat(70)} y` }],
    ['accents', { text: 'Élodie Œuvre straße Ⅷ 日本' }],
  ])('has the words of the event: %s', (_name, payload) => {
    const event = { id: 'E1', type: 'some.Type', source: { correlationId: '01a21bec-5126' }, payload };

    expect(termsOf(indexedText(event))).toEqual([...eventWords(event)].sort());
  });
});
