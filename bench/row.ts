/** row — one line of the benchmark table: a figure, and the limit measured in the same run that it is compared with. */
export interface Row {
  name: string;
  value: number;
  unit: string;
  limit?: { name: string; value: number };
  /** value / limit.value, when that is the claim. */
  ratio?: number;
  goal?: string;
}

/** Middle value of an odd number of runs. */
export const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
