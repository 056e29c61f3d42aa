import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/log/:position'],
  title: { en: 'Record', de: 'Eintrag' },
  needs: 'log:read',
  load: () => import('./Screen.svelte'),
};
