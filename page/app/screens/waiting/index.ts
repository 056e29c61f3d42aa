import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/waiting'], title: { en: 'Waiting', de: 'Wartendes' }, load: () => import('./Screen.svelte') };
