import type { Translation } from '../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  severity: { error: 'Fehler', warning: 'Warnung', note: 'Hinweis' },
  line: (line) => `Zeile ${line}`,
  instead: (text) => `Stattdessen: ${text}`,
  source: (path) => `Text von ${path}`,
  editor: (path) => `${path} bearbeiten`,
  tabIndents: 'Tab rückt eine Zeile ein. Escape und dann Tab führt aus dem Editor.',
  tabLeaves: 'Tab führt jetzt aus dem Editor.',
  editorMissing: 'Der Editor ließ sich nicht laden. Schreiben geht hier trotzdem, ohne Farben.',
};

export default de;
