import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/executions/:id/against/:other'], title: { en: 'Comparison', de: 'Vergleich' }, needs: 'executions:read', load: () => import('./Screen.svelte') };
