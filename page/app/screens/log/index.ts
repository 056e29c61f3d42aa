import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Log' });

export const screen: Screen = {
  paths: ['/log'],
  title,
  needs: 'log:read',
  menu: { at: 9, key: 'l' },
  load: () => import('./Screen.svelte'),
};
