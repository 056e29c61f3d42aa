import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/people', '/people/:name'],
  title: { en: 'People', de: 'Personen' },
  needs: 'identities:read',
  menu: { at: 11, key: 'u' },
  load: () => import('./Screen.svelte'),
};
