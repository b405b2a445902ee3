/** date */
import { defineFunction, refuse } from '../function.ts';
import { toKey } from '../values.ts';
import { formatDate, toTime } from './dates.ts';

const FIELDS: Record<string, (date: Date) => number | string> = {
  ts: (date) => date.getTime(),
  iso: (date) => date.toISOString(),
  year: (date) => date.getUTCFullYear(),
  month: (date) => date.getUTCMonth() + 1,
  day: (date) => date.getUTCDay(),
  date: (date) => date.getUTCDate(),
  hour: (date) => date.getUTCHours(),
  minute: (date) => date.getUTCMinutes(),
  second: (date) => date.getUTCSeconds(),
};

export const date = defineFunction({
  name: 'date',
  signature: 'date(value: text | number, format?: text, locale?: text = DEFAULT_LOCALE, timezone?: text = DEFAULT_TIMEZONE): number | text',
  summary:
    'Milliseconds since the epoch of an ISO date or time stamp (NaN when there is none); with a format the date as text (Day.js formats, `L`, `LL`, `LT`, …). Fields in UTC: ts iso year month (1–12) day (0 Sunday–6) date hour minute second.',
  examples: [
    ['date("2022-04-13T08:00:05Z").hour', 8],
    ['date("2022-04-13T08:00:05Z").day', 3],
    ['date("2022-04-13T08:00:05Z").ts', 1649836805000],
    ['date("2022-04-13T08:00:05Z", "YYYY/MM/DD HH:mm")', '2022/04/13 08:00'],
    ['date("2022-04-13T18:00:05Z", "LT", "fr", "America/New_York")', '14:00'],
    ['date("2022-04-13T08:00:05Z").century', undefined],
    ['date("2022-04-13T08:00:05Z", "LL", "xx")', undefined],
    ['date("2022-04-13T08:00:05Z", 5)', Error],
  ],
  arity: [0, 4],
  apply([value, format, locale, timezone], env) {
    const time = toTime(value);
    if (format === undefined || format === null) return time;
    if (typeof format !== 'string') refuse(date, 'the format must be a text');
    return formatDate(time, format as string, toKey(locale ?? env.locale), toKey(timezone ?? env.timezone));
  },
  field([value], name) {
    const time = toTime(value);
    const get = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    if (!get) return undefined;
    if (Number.isNaN(time) || Math.abs(time) > 8.64e15) return name === 'iso' ? undefined : Number.NaN;
    return get(new Date(time));
  },
});
