import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/executions/:id'], title: { en: 'Execution', de: 'Ausführung' }, needs: 'executions:read', load: () => import('./Screen.svelte') };
