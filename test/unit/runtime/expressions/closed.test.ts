/** The language makes no code from text and reaches nothing of the host: by construction, so the source itself is looked at. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { compileExpression, type Env, ExpressionError } from '../../../../services/runtime/expressions/index.ts';

const rooms = ['expressions', 'interpreter'].map((name) => resolve(import.meta.dirname, '../../../../services/runtime', name));
const env: Env = { now: () => 0, random: () => 0.5, uuid: () => '', timezone: 'UTC', locale: 'en', charge() {} };

describe('the source of the language', () => {
  const files = rooms.flatMap((room) =>
    readdirSync(room, { recursive: true, withFileTypes: true })
      // The command line tool reads the files that it is given.
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && entry.name !== 'lint-workspace.ts')
      .map((entry) => join(entry.parentPath, entry.name)),
  );

  it.each(files)('%s has no eval, no Function, no vm, no process, no file, no network', (file) => {
    const source = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');

    expect(source).not.toMatch(
      /\beval\s*\(|new Function|\bFunction\s*\(|node:(vm|fs|net|http|https|child_process|worker_threads|os)\b|\bprocess\.|globalThis|\bfetch\(/,
    );
  });
});

describe('an expression', () => {
  it.each([
    '{{constructor}}',
    '{{a.constructor.constructor}}',
    '{{a["__proto__"]}}',
    'constructor("return process")()',
    'eval("1")',
    'Function("return 1")',
    'process.exit()',
    'globalThis',
    'this',
    '(() => 1)()',
    '`${process}`',
    'json("{}").constructor',
    'split("a", "").map',
    '"a".constructor',
    'date("2020").constructor',
    '{}.constructor',
    '[].constructor',
    'import("fs")',
    'require("fs")',
  ])('%s reaches nothing', (text) => {
    try {
      const value = compileExpression(text).evaluate({ get: (name) => (name === 'a' ? {} : undefined) }, env);
      expect(['undefined', 'string']).toContain(typeof value);
    } catch (error) {
      expect(error).toBeInstanceOf(ExpressionError);
    }
  });
});
