import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Trace' });

export const screen: Screen = { paths: ['/trace/:id'], title, needs: 'traces:read', load: () => import('./Screen.svelte') };
