/** passwords — argon2id hashes in PHC text form, with the parameters inside so that they can be raised: an old hash is replaced at the next sign-in. */
import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(argon2) as (
  algorithm: 'argon2id',
  options: { message: Buffer; nonce: Buffer; parallelism: number; tagLength: number; memory: number; passes: number },
) => Promise<Buffer>;

/** 19 MiB, two passes, one lane. @see https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html */
const PRESENT = { memory: 19_456, passes: 2, parallelism: 1 };
const TAG_BYTES = 32;
const FORM = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([\w+/]+)\$([\w+/]+)$/;

const b64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');

export async function hashPassword(password: string): Promise<string> {
  const nonce = randomBytes(16);
  const tag = await derive('argon2id', { message: Buffer.from(password), nonce, tagLength: TAG_BYTES, ...PRESENT });
  return `$argon2id$v=19$m=${PRESENT.memory},t=${PRESENT.passes},p=${PRESENT.parallelism}$${b64(nonce)}$${b64(tag)}`;
}

/** The same work whether there is a hash or not: the time of an answer does not tell which accounts exist. */
export async function verifyPassword(password: string, stored: string | undefined): Promise<boolean> {
  const parts = FORM.exec(stored ?? '');
  if (!parts) {
    await derive('argon2id', { message: Buffer.from(password), nonce: Buffer.alloc(16), tagLength: TAG_BYTES, ...PRESENT });
    return false;
  }
  const [, memory, passes, parallelism, nonce, tag] = parts as unknown as [string, string, string, string, string, string];
  const expected = Buffer.from(tag, 'base64');
  const found = await derive('argon2id', {
    message: Buffer.from(password),
    nonce: Buffer.from(nonce, 'base64'),
    tagLength: expected.length,
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
  });
  return timingSafeEqual(found, expected);
}

/** Whether a hash was made with weaker parameters than today's. */
export function isOutdated(stored: string): boolean {
  const [, memory, passes] = FORM.exec(stored) ?? [];
  return Number(memory) < PRESENT.memory || Number(passes) < PRESENT.passes;
}
