/** instructions — the list. A new one: its file, and a line here. */
import type { InstructionDefinition } from '../instruction.ts';
import { all } from './all.ts';
import { auth } from './auth.ts';
import { breakInstruction } from './break.ts';
import { comment } from './comment.ts';
import { conditions } from './conditions.ts';
import { deleteInstruction } from './delete.ts';
import { emit } from './emit.ts';
import { fetchInstruction } from './fetch.ts';
import { rateLimit } from './rate-limit.ts';
import { repeat } from './repeat.ts';
import { run } from './run.ts';
import { runWorkflow } from './run-workflow.ts';
import { set } from './set.ts';
import { createUserTopic, joinUserTopic } from './topics.ts';
import { tryInstruction } from './try.ts';
import { wait } from './wait.ts';

const list: InstructionDefinition[] = [
  set,
  deleteInstruction,
  conditions,
  repeat,
  breakInstruction,
  all,
  tryInstruction,
  emit,
  wait,
  fetchInstruction,
  run,
  runWorkflow,
  rateLimit,
  auth,
  createUserTopic,
  joinUserTopic,
  comment,
];

export const instructions: ReadonlyMap<string, InstructionDefinition> = new Map(list.map((definition) => [definition.name, definition]));
