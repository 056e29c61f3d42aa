import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/actions'],
  title: { en: 'Actions', de: 'Aktionen' },
  needs: 'actions:read',
  menu: { at: 6.5, key: 'a' },
  load: () => import('./Screen.svelte'),
};
