import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Log in' });

export const screen: Screen = { paths: ['/login'], title, isPublic: true, isBare: true, load: () => import('./Screen.svelte') };
