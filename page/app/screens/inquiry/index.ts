import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/inbox/:id'], title: { en: 'Question', de: 'Frage' }, load: () => import('./Screen.svelte') };
