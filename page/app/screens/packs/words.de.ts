import { plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Pakete',
  status: { installed: 'installiert', not_taken: 'nicht übernommen: enthält Fehler' },
  errors: (count) => plural(count, 'Fehler', 'Fehler'),
  warnings: (count) => plural(count, 'Warnung', 'Warnungen'),
  none: 'Kein Paket ist installiert.',
};

export default de;
