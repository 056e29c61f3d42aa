import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  nowhere: 'Keine Datei des Pakets definiert es.',
  found: 'Die Datei wird geöffnet …',
  openAction: 'Aktion öffnen',
};

export default de;
