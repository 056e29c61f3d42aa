import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/packs/:pack/defines/:kind/:ref'], title: { en: 'Definition', de: 'Fundstelle' }, needs: 'packs:read', load: () => import('./Screen.svelte') };
