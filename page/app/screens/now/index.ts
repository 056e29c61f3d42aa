import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Now' });

export const screen: Screen = {
  paths: ['/now'],
  title,
  needs: 'node:read',
  menu: { at: 2, key: 'n' },
  load: () => import('./Screen.svelte'),
};
