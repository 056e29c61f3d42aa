import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Keys' });

export const screen: Screen = {
  paths: ['/keys'],
  title,
  needs: 'keys:read',
  menu: { at: 12, key: 'k' },
  load: () => import('./Screen.svelte'),
};
