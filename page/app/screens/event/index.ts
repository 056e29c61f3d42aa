import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Event' });

export const screen: Screen = { paths: ['/events/:id'], title, needs: 'events:read', load: () => import('./Screen.svelte') };
