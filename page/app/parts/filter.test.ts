import { expect, test } from 'vitest';
import { completions, parseFilters, timeOf, withTimes, writeFilters, type FilterKey } from './filter.ts';

const KEYS: FilterKey[] = [{ key: 'status', values: ['failed', 'running'], isMany: true }, { key: 'action' }, { key: 'since' }];

test('filters are read from text, and a later single one replaces an earlier one', () => {
  expect(parseFilters('status:failed,running action:p.ship action:p.build', KEYS)).toEqual({
    query: { status: ['failed', 'running'], action: ['p.build'] },
    unknown: [],
  });
  expect(parseFilters('action:"two words"', KEYS).query).toEqual({ action: ['two words'] });
});

test('an unknown filter is reported by its name', () => {
  expect(parseFilters('statsu:failed word', KEYS).unknown).toEqual(['statsu', 'word']);
});

test('filters are written as they are read', () => {
  const text = 'status:failed status:running action:"two words"';
  const query = new URLSearchParams(Object.entries(parseFilters(text, KEYS).query).flatMap(([key, all]) => all.map((one) => [key, one])));
  expect(writeFilters(query, KEYS)).toBe(text);
});

test('keys and values are completed', () => {
  expect(completions('st', KEYS)).toEqual(['status:']);
  expect(completions('action:x status:f', KEYS)).toEqual(['action:x status:failed']);
  expect(completions('action:x', KEYS)).toEqual([]);
});

test('a span is a time before now, and a time stays', () => {
  const now = Date.parse('2026-03-28T12:00:00Z');
  expect(timeOf('1h', now)).toBe('2026-03-28T11:00:00.000Z');
  expect(timeOf('2026-03-01T00:00:00Z', now)).toBe('2026-03-01T00:00:00Z');
  expect(withTimes({ since: ['1h'], status: ['1h'] }, now)).toEqual({ since: ['2026-03-28T11:00:00.000Z'], status: ['1h'] });
});
