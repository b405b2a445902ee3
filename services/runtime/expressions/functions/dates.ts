/** dates — reading and writing dates, for date() and elapsed() */

import { createRequire } from 'node:module';
import dayjs from 'dayjs';
import advancedFormat from 'dayjs/plugin/advancedFormat.js';
import localizedFormat from 'dayjs/plugin/localizedFormat.js';
import timezonePlugin from 'dayjs/plugin/timezone.js';
import utc from 'dayjs/plugin/utc.js';

dayjs.extend(utc);
dayjs.extend(timezonePlugin);
dayjs.extend(localizedFormat);
dayjs.extend(advancedFormat);

const load = createRequire(import.meta.url);
const known = new Map<string, boolean>([['en', true]]);

/** Loads a locale of dayjs the first time it is asked for; names are checked, since they become a file name. */
function hasLocale(name: string): boolean {
  const found = known.get(name);
  if (found !== undefined) return found;
  let isKnown = false;
  if (/^[a-z]{2,3}(-[a-z]{2,4})?$/.test(name)) {
    try {
      load(`dayjs/locale/${name}.js`);
      isKnown = true;
    } catch {
      isKnown = false;
    }
  }
  if (known.size < 500) known.set(name, isKnown);
  return isKnown;
}

/** Ends in a zone: `Z`, `GMT`, `+02:00`, `PST`, `(CET)`. */
const HAS_ZONE = /(?:[zZ]|[A-Z]{2,4}|[+-]\d\d:?\d\d|\([^)]*\))$/;

/**
 * Milliseconds since the epoch of an ISO text or time stamp; NaN when there is none. A text without a zone is in UTC: the zone of the
 * machine must not decide.
 */
export function toTime(value: unknown): number {
  if (typeof value === 'number') return value;
  if (value instanceof Date) return value.getTime();
  if (typeof value !== 'string' || value === '') return Number.NaN;
  const text = value.trim();
  if (/^-?\d+$/.test(text) && text.length > 4) return Number(text);
  // Date.parse reads ISO dates without a time as UTC, everything else without a zone as local.
  if (/^\d{4}(-\d\d(-\d\d)?)?$/.test(text) || HAS_ZONE.test(text)) return Date.parse(text);
  return /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?$/.test(text)
    ? Date.parse(`${text.replace(' ', 'T').replace(',', '.')}Z`)
    : Date.parse(`${text} UTC`);
}

/** Text in a locale and time zone, or undefined when the date, locale or zone is unknown. @see https://day.js.org/docs/en/display/format */
export function formatDate(time: number, format: string, locale: string, timezone: string): string | undefined {
  const name = locale.toLowerCase();
  if (Number.isNaN(time) || !hasLocale(name)) return undefined;
  try {
    return dayjs(time).tz(timezone).locale(name).format(format);
  } catch {
    return undefined;
  }
}
