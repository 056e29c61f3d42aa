import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'File' });

export const screen: Screen = { paths: ['/packs/:pack/files/:path*'], title, needs: 'packs:read', load: () => import('./Screen.svelte') };
