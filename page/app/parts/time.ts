/** Times and durations in words. */

import { words } from '../words/en.ts';
import { dates } from '../words/language.svelte.ts';
import { number } from '../words/localized.ts';

const UNITS: [string, number][] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
];

/** Writes a duration: `2 h 03 min`, `4.2 s`, `2.5 ms`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '0 ms';
  if (seconds < 1) return `${trimmed(seconds * 1000)} ms`;
  if (seconds < 60) return `${trimmed(seconds)} s`;
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  const [unit, size] = UNITS[at] ?? ['min', 60];
  const whole = Math.floor(seconds / size);
  const [lower, lowerSize] = UNITS[at + 1] ?? ['s', 1];
  const rest = Math.floor((seconds - whole * size) / lowerSize);
  return rest === 0 ? `${whole} ${unit}` : `${whole} ${unit} ${String(rest).padStart(2, '0')} ${lower}`;
}

function trimmed(value: number): string {
  return number(value >= 10 ? Math.round(value) : Math.round(value * 10) / 10);
}

/** Writes a time relative to now: `4 min ago`, `in 2 h`. */
export function relative(time: number, now: number): string {
  const seconds = Math.abs(time - now) / 1000;
  if (seconds < 1) return words.time.now;
  const span = duration(Math.floor(seconds));
  return time <= now ? words.time.ago(span) : words.time.in(span);
}

const full = dates({ dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' });
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Writes a time in full, with its zone. */
export function absolute(time: number): string {
  return `${full(time)} ${ZONE}`;
}

const OF_DAY = new Intl.DateTimeFormat('en', { timeStyle: 'short', hourCycle: 'h23' });

const WITH_DAY = new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const DAY_MS = 86_400_000;

/** Writes a time as short as the span that it is a part of allows: `09:07`, and with its day if that is a day or longer. */
export function shortTime(at: number, spanMs: number): string {
  return (spanMs >= DAY_MS ? WITH_DAY : OF_DAY).format(at);
}

export function secondsBetween(from: string | null | undefined, to: string | null | undefined, now: number): number | null {
  if (!from) return null;
  return ((to ? Date.parse(to) : now) - Date.parse(from)) / 1000;
}
