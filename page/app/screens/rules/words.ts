import { localized, plural } from '../../words/localized.ts';

export const words = localized({
  title: 'Rules',
  matches: (count: number) => plural(count, 'match', 'matches'),
  erred: (count: number) => plural(count, 'error', 'errors'),
  held: (count: number) => `${plural(count, 'match', 'matches')} held`,
  never: 'never matched',
  last: 'last',
  noneYet: 'No pack has a rule.',
  noneFits: 'No rule fits this filter.',
}, 'screens/rules/words');
