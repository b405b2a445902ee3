/** aggregations.time — intervals of date histograms, in UTC or at a fixed offset such as `+02:00`. */
import { DAY, HOUR, MINUTE, SECOND } from '../../shared/clock.ts';
import type { JsonObject } from '../../shared/json.ts';
import { refusedAggregation } from './aggregations.types.ts';

export interface Interval {
  /** Start of the bucket that holds a moment, milliseconds. */
  start(moment: number): number;
  /** Start of the bucket after the one that starts at `start`. */
  next(start: number): number;
}

const UNITS: Record<string, number> = { ms: 1, s: SECOND, m: MINUTE, h: HOUR, d: DAY };
const CALENDAR: Record<string, string> = {
  second: '1s',
  minute: '1m',
  hour: '1h',
  day: '1d',
  week: '1w',
  month: '1M',
  quarter: '1q',
  year: '1y',
};
const MONDAY = 4 * DAY; // 1970-01-05

function fixed(width: number, offset: number): Interval {
  return { start: (moment) => Math.floor((moment - offset) / width) * width + offset, next: (start) => start + width };
}

function months(count: number, shift: number): Interval {
  const at = (moment: number, add: number) => {
    const date = new Date(moment + shift);
    const month = (Math.floor((date.getUTCFullYear() * 12 + date.getUTCMonth()) / count) + add) * count;
    return Date.UTC(Math.floor(month / 12), month % 12) - shift;
  };
  return { start: (moment) => at(moment, 0), next: (start) => at(start, 1) };
}

function shiftOf(zone: unknown): number {
  if (zone === undefined || zone === 'UTC' || zone === 'Z') return 0;
  const found = /^([+-])(\d{2}):?(\d{2})$/.exec(String(zone));
  if (!found) throw refusedAggregation("'time_zone' is UTC or a fixed offset such as +02:00.");
  return (found[1] === '-' ? -1 : 1) * (Number(found[2]) * HOUR + Number(found[3]) * MINUTE);
}

/** From `fixed_interval`, `calendar_interval` or the older `interval`. @throws SearchError */
export function intervalOf(options: JsonObject): Interval {
  const given = String(options.fixed_interval ?? options.calendar_interval ?? options.interval ?? '');
  const text = Object.hasOwn(CALENDAR, given) ? (CALENDAR[given] as string) : given;
  const found = /^(\d+)(ms|s|m|h|d|w|M|q|y)$/.exec(text);
  const count = Number(found?.[1]);
  if (!found || count === 0) throw refusedAggregation(`'${given}' is not an interval.`);
  const unit = found[2] as string;
  const shift = shiftOf(options.time_zone);
  if (unit === 'w') return fixed(7 * DAY * count, MONDAY - shift);
  if (unit === 'M') return months(count, shift);
  if (unit === 'q') return months(3 * count, shift);
  if (unit === 'y') return months(12 * count, shift);
  return fixed(count * (UNITS[unit] as number), -shift);
}
