import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Hook' });

export const screen: Screen = { paths: ['/hooks/:pack/:sensor'], title, needs: 'hooks:read', load: () => import('./Screen.svelte') };
