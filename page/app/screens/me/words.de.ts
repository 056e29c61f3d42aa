import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  roles: 'Rollen',
  permissions: 'Rechte',
  limited: (on) => `innerhalb von ${on}`,
  whatIsAsked: 'eigene Fragen',
  sessions: 'Sitzungen',
  current: 'diese',
  opened: 'angemeldet',
  used: 'zuletzt benutzt',
  until: 'bis',
  from: 'von',
  end: 'Beenden',
  endAll: 'Alle anderen beenden',
  settings: 'Dieser Browser',
  language: 'Sprache',
  asBrowser: 'Wie der Browser',
  theme: 'Farben',
  themes: { system: 'Wie das System', light: 'Hell', dark: 'Dunkel' },
  density: 'Zeilen',
  densities: { normal: 'Normal', dense: 'Dicht' },
  letters: 'Einzelne Buchstaben sind Tastenkürzel',
  noSessions: 'Es gibt keine Sitzungen.',
};

export default de;
