import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/packs'],
  title: { en: 'Packs', de: 'Pakete' },
  needs: 'packs:read',
  menu: { at: 6, key: 'p' },
  load: () => import('./Screen.svelte'),
};
