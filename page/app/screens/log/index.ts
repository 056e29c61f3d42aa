import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/log'],
  title: { en: 'Log', de: 'Protokoll' },
  needs: 'log:read',
  menu: { at: 9, key: 'l' },
  load: () => import('./Screen.svelte'),
};
