import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Variablen',
  what: 'Eine Variable enthält einen Wert, den Regeln und Aktionen lesen und den Aktionen setzen können.',
  none: 'Keine Variable hat einen Wert.',
  setBy: 'gesetzt von',
  execution: 'in der Ausführung',
  add: 'Variable setzen',
  change: 'Ändern',
  remove: 'Entfernen',
  name: 'Variable',
  nameHelp: 'Zum Beispiel sync.cursor',
  value: 'Wert',
  valueHelp: 'Beliebiges JSON außer null',
  notJson: (why) => `Das ist kein JSON: ${why}`,
  changeTitle: (name) => `${name} setzen`,
  removeTitle: (name) => `${name} entfernen?`,
  removeWhat: 'Ausdrücke, die sie lesen, finden nichts mehr.',
  set: 'Setzen',
  needed: 'Diese Angabe fehlt.',
};

export default de;
