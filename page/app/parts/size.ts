/** Sizes in words. */

import { number } from '../words/localized.ts';

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB'];

/** Writes a size: `812 B`, `256 KiB`, `1.5 MiB`. */
export function sizeInWords(bytes: number): string {
  let [value, unit] = [bytes, 'B'];
  for (const larger of UNITS) {
    if (value < 1024) break;
    [value, unit] = [value / 1024, larger];
  }
  return `${number(value < 10 ? Math.round(value * 10) / 10 : Math.round(value))} ${unit}`;
}
