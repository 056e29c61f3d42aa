import { localized, plural } from '../../words/localized.ts';

export const words = localized({
  title: 'Trace',
  what: 'What led to what. Times are counted from the first event.',
  began: 'Began',
  shown: (count: number) => plural(count, 'thing', 'things'),
  truncated: 'The node shows the first things of a long trace; there are more.',
}, 'screens/trace/words');
