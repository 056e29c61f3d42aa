import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Hooks' });

export const screen: Screen = { paths: ['/hooks'], title, needs: 'hooks:read', menu: { at: 8, key: 'h' }, load: () => import('./Screen.svelte') };
