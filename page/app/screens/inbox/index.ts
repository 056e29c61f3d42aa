import type { Screen } from '../../screens.ts';
import { inLanguage, plural } from '../../words/localized.ts';

function waiting(count: number): string {
  return inLanguage({ en: plural(count, 'question to you', 'questions to you'), de: plural(count, 'offene Frage', 'offene Fragen') });
}

export const screen: Screen = {
  paths: ['/inbox'],
  title: { en: 'Inbox', de: 'Fragen' },
  needs: 'inquiries:read',
  menu: { at: 1, key: 'i', waiting: ({ inquiries_mine: mine }) => ({ count: mine ?? 0, text: waiting(mine ?? 0) }) },
  load: () => import('./Screen.svelte'),
};
