import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Waiting' });

export const screen: Screen = { paths: ['/waiting'], title, load: () => import('./Screen.svelte') };
