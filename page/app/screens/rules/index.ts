import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Rules' });

export const screen: Screen = {
  paths: ['/rules'],
  title,
  needs: 'rules:read',
  menu: { at: 5, key: 'r' },
  load: () => import('./Screen.svelte'),
};
