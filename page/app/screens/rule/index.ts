import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Rule' });

export const screen: Screen = { paths: ['/rules/:ref'], title, needs: 'rules:read', load: () => import('./Screen.svelte') };
