/** elapsed */
import { defineFunction, refuse } from '../function.ts';
import { toKey } from '../values.ts';
import { toTime } from './dates.ts';

const SECOND = 1000;
const DAY = 24 * 3600 * SECOND;
const UNITS: Record<string, number> = {
  second: SECOND,
  minute: 60 * SECOND,
  hour: 3600 * SECOND,
  day: DAY,
  week: 7 * DAY,
  month: 30 * DAY,
  year: 365 * DAY,
};

export const elapsed = defineFunction({
  name: 'elapsed',
  signature:
    'elapsed(date: text | number, unit: second | minute | hour | day | week | month | year (also in the plural), value: number): boolean',
  summary: 'Whether that much time has passed since the date. A month counts as 30 days, a year as 365.',
  examples: [
    ['elapsed("2020-01-01T00:00:00Z", "days", 1)', true],
    ['elapsed("2999-01-01T00:00:00Z", "second", 1)', false],
    ['elapsed("2020-01-01T00:00:00Z", "fortnight", 1)', Error],
  ],
  arity: [3, 3],
  isVolatile: true,
  apply([value, unit, count], env) {
    const name = toKey(unit).toLowerCase().replace(/s$/, '');
    if (!Object.hasOwn(UNITS, name)) refuse(elapsed, `unknown unit '${toKey(unit)}'`);
    if (typeof count !== 'number') refuse(elapsed, 'the value must be a number');
    return env.now() - toTime(value) >= (count as number) * (UNITS[name] as number);
  },
});
