/** The filters of the list, which are those of the API. */

import type { Status, WaitKind } from '../../api/types.ts';
import type { FilterKey } from '../../parts/filter.ts';

const STATUSES: Status[] = [
  'delayed', 'queued', 'paused', 'waiting', 'running', 'cancelling', 'undoing', 'indeterminate', 'succeeded', 'failed', 'timed_out', 'cancelled',
];
const WAITS: WaitKind[] = ['worker', 'lock', 'time', 'retry', 'answer', 'event', 'steps', 'resume', 'settling'];

export const KEYS = [
  { key: 'status', values: STATUSES, isMany: true },
  { key: 'action' },
  { key: 'rule' },
  { key: 'label', isMany: true },
  { key: 'since', values: ['1h', '24h', '7d'] },
  { key: 'until' },
  { key: 'attempts_min' },
  { key: 'error_kind' },
  { key: 'waits_for', values: WAITS },
  { key: 'is_root', values: ['true', 'false'] },
  { key: 'parent' },
  { key: 'correlation' },
  { key: 'rerun_of' },
] as const satisfies readonly FilterKey[];
