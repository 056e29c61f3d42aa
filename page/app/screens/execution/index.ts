import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Execution' });

export const screen: Screen = { paths: ['/executions/:id'], title, needs: 'executions:read', load: () => import('./Screen.svelte') };
