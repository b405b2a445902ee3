/** slugs — names that become file names and URLs: what is accepted, and how one is made when none is given. */
import { randomInt } from 'node:crypto';
import { fault } from '../../../mixins/shared/errors.ts';
import { isHostileName } from '../../../mixins/shared/json.ts';
import { FOLDER_INDEX } from './layout.ts';

const OBJECT_SLUG = /^[/a-zA-Z0-9 _-]+$/;
const WORKSPACE_SLUG = /^[/a-z0-9-]+$/;
/** Characters that clients of app instances do not encode in paths. */
const INSTANCE_SLUG = /^[a-zA-Z0-9 _-]+$/;
export const MAX_SLUG_CHARS = 200;
const GENERATED_CHARS = 20;

/** Why `slug` cannot name an object, or `null`. */
export function slugProblem(slug: unknown, what: 'object' | 'workspace' | 'instance' = 'object'): string | null {
  if (typeof slug !== 'string' || slug === '') return 'must be a text';
  if (slug.length > MAX_SLUG_CHARS) return `is longer than ${MAX_SLUG_CHARS} characters`;
  const pattern = what === 'workspace' ? WORKSPACE_SLUG : what === 'instance' ? INSTANCE_SLUG : OBJECT_SLUG;
  if (!pattern.test(slug)) return `must match ${pattern.source}`;
  const segments = slug.split('/');
  if (segments.some((segment) => segment.trim() === '')) return 'has an empty segment';
  if (slug !== slug.trim()) return 'starts or ends with a space';
  if (segments.some((segment) => isHostileName(segment) || segment === FOLDER_INDEX)) return 'uses a reserved name';
  return null;
}

/** @throws InvalidSlugError */
export function assertSlug(slug: unknown, what: 'object' | 'workspace' | 'instance' = 'object'): asserts slug is string {
  const problem = slugProblem(slug, what);
  if (problem)
    throw fault('InvalidSlugError', {
      message: `The slug '${String(slug).slice(0, 80)}' ${problem}.`,
      data: { slug: String(slug).slice(0, 80) },
    });
}

/** First text of a localized one. */
export const plainText = (text: unknown): string => {
  if (typeof text === 'string') return text;
  if (text && typeof text === 'object') return String(Object.values(text).find((value) => typeof value === 'string') ?? '');
  return '';
};

/** A slug for `name`: its letters without accents, at most 20 characters, then `-1`, `-2`, … until it is free. */
export function slugFromName(name: unknown, isTaken: (slug: string) => boolean): string {
  const base =
    plainText(name)
      .normalize('NFD')
      .replace(/[^a-zA-Z0-9 _-]/g, '')
      .trim()
      .slice(0, GENERATED_CHARS)
      .trim() || 'automation';
  const start = isHostileName(base) || base === FOLDER_INDEX ? `${base}-1` : base;
  if (!isTaken(start)) return start;
  for (let n = 1; ; n++) {
    const suffix = `-${n}`;
    const candidate = base.slice(0, GENERATED_CHARS - suffix.length).trim() + suffix;
    if (!isTaken(candidate)) return candidate;
  }
}

const ADJECTIVES =
  'amber brave bright calm clever cosmic eager early fair fluffy gentle golden happy honest jolly keen kind lively lucky mellow merry mighty misty noble polite proud quick quiet rapid silent silver smart snowy solid steady sunny swift tidy vivid warm wise witty'.split(
    ' ',
  );
const ANIMALS =
  'ant badger bear beaver bee bison crane crow deer dove duck eagle falcon finch fox frog goose hare hawk heron horse ibis jay koala lark lion lynx magpie mole moose otter owl panda puffin rabbit raven robin seal sparrow swan tiger toad trout turtle whale wolf wren yak'.split(
    ' ',
  );
const pick = (words: string[]): string => words[randomInt(words.length)] as string;

/** `brave-otter-12`: for workspaces and pages without a slug. */
export const randomSlug = (): string => `${pick(ADJECTIVES)}-${pick(ANIMALS)}-${randomInt(1, 10_000)}`;
