import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/rules'],
  title: { en: 'Rules', de: 'Regeln' },
  needs: 'rules:read',
  menu: { at: 5, key: 'r' },
  load: () => import('./Screen.svelte'),
};
