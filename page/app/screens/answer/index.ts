import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/answer'], title: { en: 'Answer a question', de: 'Frage beantworten' }, isPublic: true, isBare: true, load: () => import('./Screen.svelte') };
