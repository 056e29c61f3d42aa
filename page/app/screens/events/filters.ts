/** The filters of the list, which are those of the API. */

import type { FilterKey } from '../../parts/filter.ts';

export const KEYS = [
  { key: 'trigger' },
  { key: 'source' },
  { key: 'matched', values: ['none', 'any'] },
  { key: 'since', values: ['1h', '24h', '7d'] },
  { key: 'until' },
  { key: 'correlation' },
] as const satisfies readonly FilterKey[];
