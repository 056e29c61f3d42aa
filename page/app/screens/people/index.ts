import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'People' });

export const screen: Screen = {
  paths: ['/people', '/people/:name'],
  title,
  needs: 'identities:read',
  menu: { at: 11, key: 'u' },
  load: () => import('./Screen.svelte'),
};
