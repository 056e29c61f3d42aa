import type { Translation } from '../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  severity: { error: 'Fehler', warning: 'Warnung', note: 'Hinweis' },
  line: (line) => `Zeile ${line}`,
  instead: (text) => `Stattdessen: ${text}`,
  source: (path) => `Text von ${path}`,
  editor: (path) => `${path} bearbeiten`,
};

export default de;
