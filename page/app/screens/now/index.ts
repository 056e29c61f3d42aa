import type { NeedsPerson } from '../../api/types.ts';
import type { Screen } from '../../screens.ts';
import { inLanguage, plural } from '../../words/localized.ts';

function waiting(count: number): string {
  return inLanguage({
    en: plural(count, 'thing needs a person', 'things need a person'),
    de: plural(count, 'Fall braucht einen Menschen', 'Fälle brauchen einen Menschen'),
  });
}

/** Questions to the reader count at the inbox. */
function inNeed({ inquiries_overdue, indeterminate, parked_reactions, dead_letters_open }: NeedsPerson): number {
  return (inquiries_overdue ?? 0) + (indeterminate ?? 0) + (parked_reactions ?? 0) + (dead_letters_open ?? 0);
}

export const screen: Screen = {
  paths: ['/now'],
  title: { en: 'Now', de: 'Jetzt' },
  needs: 'node:read',
  menu: { at: 2, key: 'n', waiting: (needs) => ({ count: inNeed(needs), text: waiting(inNeed(needs)) }) },
  load: () => import('./Screen.svelte'),
};
