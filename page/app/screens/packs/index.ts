import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Packs' });

export const screen: Screen = {
  paths: ['/packs'],
  title,
  needs: 'packs:read',
  menu: { at: 6, key: 'p' },
  load: () => import('./Screen.svelte'),
};
