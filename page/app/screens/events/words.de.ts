import { plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Ereignisse',
  unmatched: 'Keine Regel traf zu',
  matched: 'Eine Regel traf zu',
  matchedBy: (count) => plural(count, 'Treffer', 'Treffer'),
  erredBy: (count) => `Fehler in ${plural(count, 'Regel', 'Regeln')}`,
  noMatch: 'kein Treffer',
  noneYet: 'Noch kam kein Ereignis.',
  noneFits: 'Kein Ereignis passt zu diesem Filter.',
};

export default de;
