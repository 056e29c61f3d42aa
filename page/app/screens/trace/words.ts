import { localized, plural } from '../../words/localized.ts';

export const words = localized({
  title: 'Trace',
  what: 'What led to what. Times are counted from the first event.',
  began: 'Began',
  shown: (count: number) => plural(count, 'thing', 'things'),
  truncated: 'There is more than was read so far.',
  views: 'Show as',
  tree: 'Tree',
  graph: 'Graph',
  graphHint: 'Arrow keys follow the lines: left to the cause, right to what followed.',
  notDrawn: (count: number) => `${plural(count, 'thing is', 'things are')} not drawn. The tree has all of them.`,
  causedBy: (cause: string) => `caused by ${cause}`,
}, 'screens/trace/words');
