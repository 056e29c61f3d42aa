/** What was measured, beside what it should be. */

import { writeFileSync } from 'node:fs';

interface Figure {
  what: string;
  unit: string;
  p50: number;
  p95: number;
  max: number;
  count: number;
  /** What the 95th percentile should not exceed. */
  aim: number | null;
}

/** Returns the value that this share of all values does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export class Figures {
  readonly #figures: Figure[] = [];

  add(what: string, unit: string, values: readonly number[], aim: number | null): void {
    const rounded = (value: number): number => Math.round(value * 10) / 10;
    this.#figures.push({
      what,
      unit,
      p50: rounded(quantile(values, 0.5)),
      p95: rounded(quantile(values, 0.95)),
      max: rounded(Math.max(...values)),
      count: values.length,
      aim,
    });
  }

  /** Prints all figures, and writes them to a file. A figure that misses its aim fails nothing: machines differ. */
  report(path: string): void {
    writeFileSync(path, `${JSON.stringify(this.#figures, null, 2)}\n`);
    const rows = this.#figures.map(({ what, unit, p50, p95, max, count, aim }) => ({
      what,
      p50,
      p95,
      max,
      unit,
      count,
      aim: aim ?? '',
      verdict: aim === null ? '' : p95 <= aim ? 'met' : 'missed',
    }));
    console.table(rows);
  }
}
