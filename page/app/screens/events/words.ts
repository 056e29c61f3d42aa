import { localized, plural } from '../../words/localized.ts';

export const words = localized({
  title: 'Events',
  unmatched: 'No rule matched',
  matched: 'A rule matched',
  matchedBy: (count: number) => plural(count, 'match', 'matches'),
  erredBy: (count: number) => `${plural(count, 'rule', 'rules')} erred`,
  noMatch: 'no match',
  noneYet: 'No event has come yet.',
  noneFits: 'No event fits this filter.',
}, 'screens/events/words');
