import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Events' });

export const screen: Screen = {
  paths: ['/events'],
  title,
  needs: 'events:read',
  menu: { at: 3, key: 'e' },
  load: () => import('./Screen.svelte'),
};
