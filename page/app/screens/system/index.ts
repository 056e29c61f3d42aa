import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/system'], title: { en: 'System', de: 'System' }, needs: 'node:read', menu: { at: 10, key: 'y' }, load: () => import('./Screen.svelte') };
