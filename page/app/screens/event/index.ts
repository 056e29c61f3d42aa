import type { Screen } from '../../screens.ts';

export const screen: Screen = { paths: ['/events/:id'], title: { en: 'Event', de: 'Ereignis' }, needs: 'events:read', load: () => import('./Screen.svelte') };
