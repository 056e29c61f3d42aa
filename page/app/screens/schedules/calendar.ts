/** Due times by day and hour, in the reader's zone. */

import type { Due } from '../../api/types.ts';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const WEEK_MS = 7 * DAY_MS;

export interface Period {
  from: number;
  to: number;
}

/** Reads the period of an address: a week from now on, if it says nothing. */
export function periodOf(from: string | null, to: string | null, now: number): Period {
  const start = from === null ? Number.NaN : Date.parse(from);
  const begin = Number.isNaN(start) ? now : start;
  const end = to === null ? Number.NaN : Date.parse(to);
  return { from: begin, to: end > begin ? end : begin + WEEK_MS };
}

/** Returns the midnight at which the day of a time begins. Days of a change of clocks have other lengths. */
export function dayOf(time: number): number {
  return new Date(time).setHours(0, 0, 0, 0);
}

function dayAfter(day: number): number {
  const next = new Date(day);
  return next.setDate(next.getDate() + 1);
}

/** Returns the days of a period, at most eight: a week that begins within a day touches eight. */
export function daysOf({ from, to }: Period): number[] {
  const days = [];
  for (let day = dayOf(from); day < to && days.length < 8; day = dayAfter(day)) days.push(day);
  return days;
}

export interface Grid {
  days: number[];
  /** For each of the 24 hours, the number of times on each day. */
  counts: number[][];
}

export function gridOf(due: readonly Due[], period: Period): Grid {
  const days = daysOf(period);
  const counts = Array.from({ length: 24 }, () => days.map(() => 0));
  for (const { at } of due) {
    const time = Date.parse(at);
    const day = days.indexOf(dayOf(time));
    const row = counts[new Date(time).getHours()];
    if (row && day >= 0) row[day] = (row[day] ?? 0) + 1;
  }
  return { days, counts };
}

/** Returns the hour of a cell as a period. */
export function hourOf(day: number, hour: number): Period {
  const from = new Date(day).setHours(hour, 0, 0, 0);
  return { from, to: from + HOUR_MS };
}

export interface Day {
  day: number;
  due: Due[];
}

export function byDay(due: readonly Due[]): Day[] {
  const days: Day[] = [];
  for (const one of due) {
    const day = dayOf(Date.parse(one.at));
    const last = days.at(-1);
    if (last?.day === day) last.due.push(one);
    else days.push({ day, due: [one] });
  }
  return days;
}
