import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/now'],
  title: { en: 'Now', de: 'Jetzt' },
  needs: 'node:read',
  menu: { at: 2, key: 'n' },
  load: () => import('./Screen.svelte'),
};
