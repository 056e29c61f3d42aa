import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/inbox'],
  title: { en: 'Inbox', de: 'Fragen' },
  needs: 'inquiries:read',
  menu: { at: 1, key: 'i' },
  load: () => import('./Screen.svelte'),
};
