import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/actions/:ref'],
  title: { en: 'Action', de: 'Aktion' },
  needs: 'actions:read',
  load: () => import('./Screen.svelte'),
};
