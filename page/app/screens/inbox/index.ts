import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Inbox' });

export const screen: Screen = {
  paths: ['/inbox'],
  title,
  needs: 'inquiries:read',
  menu: { at: 1, key: 'i' },
  load: () => import('./Screen.svelte'),
};
