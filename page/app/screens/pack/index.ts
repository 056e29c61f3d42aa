import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Pack' });

export const screen: Screen = { paths: ['/packs/:pack'], title, needs: 'packs:read', load: () => import('./Screen.svelte') };
