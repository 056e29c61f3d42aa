import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/events'],
  title: { en: 'Events', de: 'Ereignisse' },
  needs: 'events:read',
  menu: { at: 3, key: 'e' },
  load: () => import('./Screen.svelte'),
};
