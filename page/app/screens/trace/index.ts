import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/trace/:id'], title: { en: 'Trace', de: 'Verlauf' }, needs: 'traces:read', load: () => import('./Screen.svelte') };
