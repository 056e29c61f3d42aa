import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Answer a question' });

export const screen: Screen = { paths: ['/answer'], title, isPublic: true, isBare: true, load: () => import('./Screen.svelte') };
