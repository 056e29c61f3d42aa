import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/packs/:pack/files/:path*'], title: { en: 'File', de: 'Datei' }, needs: 'packs:read', load: () => import('./Screen.svelte') };
