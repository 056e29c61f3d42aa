import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/rules/:ref'], title: { en: 'Rule', de: 'Regel' }, needs: 'rules:read', load: () => import('./Screen.svelte') };
