import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Comparison' });

export const screen: Screen = { paths: ['/executions/:id/against/:other'], title, needs: 'executions:read', load: () => import('./Screen.svelte') };
