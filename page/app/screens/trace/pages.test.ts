import { expect, test } from 'vitest';
import type { Trace } from '../../api/types.ts';
import { joined } from './pages.ts';

test('pages of a trace are one trace, with the counts of folded steps added', () => {
  const trace = (nodes: string[], items: number, next: number | null): Trace =>
    ({
      root: 'root',
      asked: 'root',
      began_at: '2026-01-01T00:00:00Z',
      nodes: nodes.map((id) => ({ id })),
      folded: [{ parent: 'flow', step: 'ship', items, below: 1, statuses: { succeeded: items - 1, failed: 1 } }],
      next,
      truncated: next !== null,
    }) as unknown as Trace;
  const all = joined(trace(['a', 'b'], 3, 9), trace(['b', 'c'], 2, null));
  expect(all.nodes.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
  expect(all.folded).toEqual([{ parent: 'flow', step: 'ship', items: 5, below: 2, statuses: { succeeded: 3, failed: 2 } }]);
  expect([all.next, all.truncated]).toEqual([null, false]);
});
