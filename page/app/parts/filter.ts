/** Filters as one text: `status:failed action:p.ship since:1h`. All of them must hold. */

export interface FilterKey {
  key: string;
  /** The values, if the API has a closed list of them. */
  values?: readonly string[];
  /** Whether it may be there several times. */
  isMany?: boolean;
}

export interface Filters {
  query: Record<string, string[]>;
  /** The keys that are not known. */
  unknown: string[];
}

const PART = /([^\s:"]+):("[^"]*"?|\S*)|(\S+)/g;

/** Reads the text of a filter field. */
export function parseFilters(text: string, keys: readonly FilterKey[]): Filters {
  const filters: Filters = { query: {}, unknown: [] };
  for (const [, key, value, bare] of text.matchAll(PART)) {
    const known = keys.find((one) => one.key === key);
    if (!known || value === undefined || key === undefined) {
      filters.unknown.push(key ?? bare ?? '');
      continue;
    }
    const plain = value.replace(/^"|"$/g, '');
    if (plain === '') continue;
    const values = known.isMany ? plain.split(',') : [plain];
    filters.query[key] = known.isMany ? [...(filters.query[key] ?? []), ...values] : values;
  }
  return filters;
}

/** Writes the filters of an address as text. */
export function writeFilters(query: URLSearchParams, keys: readonly FilterKey[]): string {
  const parts: string[] = [];
  for (const { key } of keys) {
    for (const value of query.getAll(key)) parts.push(/\s/.test(value) ? `${key}:"${value}"` : `${key}:${value}`);
  }
  return parts.join(' ');
}

/** Returns what can follow the text before the caret: `status:fa` becomes `status:failed`. */
export function completions(text: string, keys: readonly FilterKey[]): string[] {
  const last = /\S*$/.exec(text)?.[0] ?? '';
  const before = text.slice(0, text.length - last.length);
  const [key, value] = last.split(':', 2);
  const known = keys.find((one) => one.key === key);
  if (value === undefined) return keys.filter((one) => one.key.startsWith(last)).map((one) => `${before}${one.key}:`);
  return (known?.values ?? []).filter((one) => one.startsWith(value) && one !== value).map((one) => `${before}${key}:${one}`);
}

const SPANS: Record<string, number> = { s: 1, m: 60, min: 60, h: 3_600, d: 86_400, w: 604_800 };

/** Returns a query in which `since:1h` is the time an hour before `now`, so that it is the same for all pages of a list. */
export function withTimes(query: Record<string, string[]>, now: number): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(query).map(([key, values]) => [key, key === 'since' || key === 'until' ? values.map((value) => timeOf(value, now)) : values]),
  );
}

/** Turns `1h` into the time an hour ago; other texts stay. */
export function timeOf(text: string, now: number): string {
  const [, amount, unit] = /^(\d+)(s|m|min|h|d|w)$/.exec(text) ?? [];
  return amount && unit ? new Date(now - Number(amount) * (SPANS[unit] ?? 0) * 1000).toISOString() : text;
}
