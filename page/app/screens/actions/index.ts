import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Actions' });

export const screen: Screen = {
  paths: ['/actions'],
  title,
  needs: 'actions:read',
  menu: { at: 6.5, key: 'a' },
  load: () => import('./Screen.svelte'),
};
