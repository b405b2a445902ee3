/** dates — moments as search parameters write them: ISO 8601, milliseconds, or date math such as `now-7d/d` and `2024-06-01||+1M`. UTC. */
import { fault } from '../shared/errors.ts';

const STEP = /([+-])(\d+)([yMwdhHms])|\/([yMwdhHms])/g;

function add(date: Date, count: number, unit: string): void {
  if (unit === 'y') date.setUTCFullYear(date.getUTCFullYear() + count);
  else if (unit === 'M') date.setUTCMonth(date.getUTCMonth() + count);
  else if (unit === 'w') date.setUTCDate(date.getUTCDate() + 7 * count);
  else if (unit === 'd') date.setUTCDate(date.getUTCDate() + count);
  else if (unit === 'h' || unit === 'H') date.setUTCHours(date.getUTCHours() + count);
  else if (unit === 'm') date.setUTCMinutes(date.getUTCMinutes() + count);
  else date.setUTCSeconds(date.getUTCSeconds() + count);
}

function floor(date: Date, unit: string): void {
  date.setUTCMilliseconds(0);
  date.setUTCSeconds(unit === 's' ? date.getUTCSeconds() : 0);
  if (unit === 's') return;
  if (unit !== 'm') date.setUTCMinutes(0);
  if (unit === 'm' || unit === 'h' || unit === 'H') return;
  date.setUTCHours(0);
  if (unit === 'w') date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7));
  if (unit === 'M' || unit === 'y') date.setUTCDate(1);
  if (unit === 'y') date.setUTCMonth(0);
}

/** Milliseconds since the epoch. @throws BadParametersError naming the parameter */
export function parseMoment(value: unknown, name: string, now: number = Date.now()): number {
  const text = String(value).trim();
  const refused = () => fault('BadParametersError', { message: `'${name}' is not a date: ${text.slice(0, 60)}` });
  if (typeof value === 'number') {
    if (Number.isNaN(new Date(value).getTime())) throw refused();
    return value;
  }
  const isNow = text.startsWith('now');
  const [base, math] = isNow ? ['now', text.slice(3)] : text.includes('||') ? text.split('||') : [text, ''];
  const start = isNow ? now : /^\d{12,}$/.test(base as string) ? Number(base) : Date.parse(base as string);
  const isMath = (math ?? '').replace(STEP, '') === '';
  if (!isMath) throw refused();
  const date = new Date(start);
  for (const [, sign, count, unit, rounding] of (math ?? '').matchAll(STEP)) {
    if (rounding) floor(date, rounding);
    else add(date, (sign === '-' ? -1 : 1) * Number(count), unit as string);
  }
  // Not a date to begin with, or beyond the ends of the calendar.
  if (Number.isNaN(date.getTime())) throw refused();
  return date.getTime();
}

export const isoMoment = (value: unknown, name: string, now?: number): string => new Date(parseMoment(value, name, now)).toISOString();
