import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/actions/:ref/run'],
  title: { en: 'Run an action', de: 'Aktion ausführen' },
  needs: 'actions:execute',
  load: () => import('./Screen.svelte'),
};
