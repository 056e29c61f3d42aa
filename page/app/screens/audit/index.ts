import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/audit'],
  title: { en: 'Audit', de: 'Audit' },
  needs: 'audit:read',
  menu: { at: 10, key: 'd' },
  load: () => import('./Screen.svelte'),
};
