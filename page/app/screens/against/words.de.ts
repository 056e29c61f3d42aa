import { plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  back: 'Die Ausführung',
  title: 'Unterschiede',
  this: 'Diese Ausführung',
  other: 'Die andere',
  lastSuccess: 'Der letzte Erfolg davor',
  none: 'Vor dieser war keine Ausführung derselben Aktion und Regel erfolgreich.',
  same: 'Nichts ist verschieden.',
  what: 'Was',
  action: 'Aktion',
  status: 'Zustand',
  catalog: 'Definitionen',
  revision: (revision) => `Katalog ${revision}`,
  took: 'Dauer',
  steps: 'Schritte',
  params: 'Parameter',
  result: 'Ergebnis',
  stepResult: 'anderes Ergebnis',
  notThere: 'nicht vorhanden',
  notEnded: 'nicht beendet',
  isSame: (parts) => `In beiden gleich: ${parts}.`,
  value: 'der Wert selbst',
  more: (count) => `${plural(count, 'weiterer Wert ist', 'weitere Werte sind')} verschieden. Beide stehen unten ganz.`,
  whole: 'Als Ganzes',
};

export default de;
