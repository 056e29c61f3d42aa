import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'System' });

export const screen: Screen = { paths: ['/system'], title, needs: 'node:read', menu: { at: 10, key: 'y' }, load: () => import('./Screen.svelte') };
