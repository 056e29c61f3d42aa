import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Question' });

export const screen: Screen = { paths: ['/inbox/:id'], title, load: () => import('./Screen.svelte') };
