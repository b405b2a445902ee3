/** rounding — what round, floor and ceil share */
import { refuse } from '../function.ts';

/** Shifts by powers of ten through the decimal notation, so that 1.005 is not lost to binary fractions. */
export function rounding(round: (value: number) => number, [value, decimals = 0]: unknown[], definition: { signature: string }): number {
  if (typeof value !== 'number') refuse(definition, `a number is expected, not ${value === null ? 'null' : typeof value}`);
  if (typeof decimals !== 'number' || !Number.isInteger(decimals) || Math.abs(decimals) > 20)
    refuse(definition, 'decimals must be a whole number between -20 and 20');
  const number = value as number;
  if (!Number.isFinite(number)) return number;
  if (decimals === 0) return round(number) + 0;
  const shift = (subject: number, by: number) => {
    const [digits, exponent = '0'] = String(subject).split('e');
    return Number(`${digits}e${Number(exponent) + by}`);
  };
  return shift(round(shift(number, decimals as number)), -(decimals as number)) + 0;
}
