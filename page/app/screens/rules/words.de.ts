import { plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Regeln',
  matches: (count) => plural(count, 'Treffer', 'Treffer'),
  erred: (count) => plural(count, 'Fehler', 'Fehler'),
  held: (count) => `${plural(count, 'Treffer', 'Treffer')} zurückgehalten`,
  never: 'traf nie zu',
  last: 'zuletzt',
  noneYet: 'Kein Paket hat eine Regel.',
  noneFits: 'Keine Regel passt zu diesem Filter.',
};

export default de;
