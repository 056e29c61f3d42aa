import type { Screen } from '../../screens.ts';
import { localized, plural } from '../../words/localized.ts';

const { title, waiting } = localized({ title: 'Inbox', waiting: (count: number) => plural(count, 'question to you', 'questions to you') });

export const screen: Screen = {
  paths: ['/inbox'],
  title,
  needs: 'inquiries:read',
  menu: { at: 1, key: 'i', waiting: ({ inquiries_mine: mine }) => ({ count: mine ?? 0, text: waiting(mine ?? 0) }) },
  load: () => import('./Screen.svelte'),
};
