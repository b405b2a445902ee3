/** version-names — names of published versions: they are folders, so they are short and plain. */
import { fault } from '../../mixins/shared/errors.ts';

const NAME = /^[a-zA-Z0-9_.-]{1,15}$/;
const RESERVED = new Set(['current', 'latest', '.', '..']);

export const isVersionName = (name: unknown): name is string => typeof name === 'string' && NAME.test(name) && !RESERVED.has(name);

/** @throws InvalidVersionError */
export function assertVersionName(name: unknown): asserts name is string {
  if (!isVersionName(name))
    throw fault('InvalidVersionError', {
      message: `A version name has 1 to 15 letters, digits, '_', '.' or '-', and is neither current nor latest.`,
      data: { version: String(name).slice(0, 40) },
    });
}

/** `3-14-2026.1-1773446400000`: the day, a count within it, and the time, so that names differ between platforms too. */
export function generatedVersionName(taken: string[], now: Date): string {
  const day = `${now.getUTCMonth() + 1}-${now.getUTCDate()}-${now.getUTCFullYear()}`;
  const ofToday = taken.filter((name) => name.startsWith(`${day}.`)).length;
  for (let n = ofToday + 1; ; n++) {
    const name = `${day}.${n}-${now.getTime()}`;
    if (!taken.includes(name)) return name;
  }
}
