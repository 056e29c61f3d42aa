import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Start' });

export const screen: Screen = { paths: ['/'], title, isBare: true, load: () => import('./Screen.svelte') };
