import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/'], title: { en: 'Start', de: 'Start' }, isBare: true, load: () => import('./Screen.svelte') };
