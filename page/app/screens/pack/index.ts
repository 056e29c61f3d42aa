import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/packs/:pack'], title: { en: 'Pack', de: 'Paket' }, needs: 'packs:read', load: () => import('./Screen.svelte') };
