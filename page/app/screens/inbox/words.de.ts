import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Fragen',
  open: 'Offen',
  mine: 'An mich',
  done: 'Erledigt',
  list: 'Fragen',
  answered: (counted, quorum) => `${counted} von ${quorum} beantwortet`,
  byMe: 'von mir beantwortet',
  due: 'fällig',
  overdue: 'überfällig',
  noneOpen: 'Keine Frage wartet auf eine Antwort.',
  noneFits: 'Keine Frage passt zu diesem Filter.',
};

export default de;
