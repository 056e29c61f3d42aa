import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/keys'],
  title: { en: 'Keys', de: 'Schlüssel' },
  needs: 'keys:read',
  menu: { at: 12, key: 'k' },
  load: () => import('./Screen.svelte'),
};
