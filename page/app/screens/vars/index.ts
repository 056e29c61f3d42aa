import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/vars'],
  title: { en: 'Vars', de: 'Variablen' },
  needs: 'vars:read',
  menu: { at: 13, key: 'v' },
  load: () => import('./Screen.svelte'),
};
