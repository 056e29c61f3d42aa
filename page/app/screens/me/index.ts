import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Me' });

export const screen: Screen = { paths: ['/me'], title, load: () => import('./Screen.svelte') };
