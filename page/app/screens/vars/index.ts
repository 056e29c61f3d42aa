import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Vars' });

export const screen: Screen = {
  paths: ['/vars'],
  title,
  needs: 'vars:read',
  menu: { at: 13, key: 'v' },
  load: () => import('./Screen.svelte'),
};
