import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Definition' });

export const screen: Screen = { paths: ['/packs/:pack/defines/:kind/:ref'], title, needs: 'packs:read', load: () => import('./Screen.svelte') };
