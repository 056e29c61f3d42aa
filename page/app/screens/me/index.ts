import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/me'], title: { en: 'Me', de: 'Ich' }, load: () => import('./Screen.svelte') };
