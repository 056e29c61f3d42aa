import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/login'], title: { en: 'Log in', de: 'Anmelden' }, isPublic: true, isBare: true, load: () => import('./Screen.svelte') };
