/** The kinds of what waits, each with the permission to see it and its filters. */

import { type FilterKey } from '../../parts/filter.ts';

export type Kind = 'lock' | 'queue' | 'timer' | 'parked' | 'dead';

const SPANS = ['1h', '24h', '7d'];

export const KINDS: readonly { kind: Kind; permission: string; keys: readonly FilterKey[] }[] = [
  { kind: 'lock', permission: 'locks:read', keys: [{ key: 'action' }, { key: 'rule' }] },
  { kind: 'queue', permission: 'queues:read', keys: [] },
  { kind: 'timer', permission: 'timers:read', keys: [{ key: 'rule' }, { key: 'sensor' }] },
  { kind: 'parked', permission: 'parked_reactions:read', keys: [{ key: 'since', values: SPANS }, { key: 'until' }] },
  {
    kind: 'dead',
    permission: 'dead_letters:read',
    keys: [
      { key: 'status', values: ['open', 'retried', 'dismissed'], isMany: true },
      { key: 'action' },
      { key: 'rule' },
      { key: 'sensor' },
      { key: 'since', values: SPANS },
      { key: 'until' },
    ],
  },
];
