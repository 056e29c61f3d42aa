import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  sensors: 'Sensoren',
  source: 'Quelle',
  file: 'Seine Datei',
  state: 'Zustand',
  since: 'seit',
  retry: 'nächster Versuch',
  waitsFor: 'Wartet auf',
  failed: 'Fehler',
  failingParts: 'Gestörte Teile',
  run: 'Lauf',
  events: 'Ereignisse',
  lastEvent: 'letztes',
  refused: 'Abgelehnte Nachrichten',
  lag: 'Rückstand zur Quelle',
  messages: (count: string) => `${count} Nachrichten`,
  newest: 'neueste von',
  cursor: 'Cursor',
  noCursor: 'Er hat keinen Cursor.',
  emits: 'Erzeugt',
  when: 'wenn',
  dedupe: 'erkannt an',
  schedule: 'Zeitplan',
  next: 'nächstes Mal',
  hook: 'Seine Zustellungen',
  do: {
    enable: 'Einschalten',
    disable: 'Ausschalten',
    restart: 'Neu starten',
    rewind: 'Zurücksetzen',
  },
  title: {
    enable: (name: string) => `${name} einschalten`,
    disable: (name: string) => `${name} ausschalten`,
    restart: (name: string) => `${name} neu starten`,
    rewind: (name: string) => `${name} zurücksetzen`,
  },
  what: {
    enable: 'Er läuft wieder und fährt an seinem Cursor fort.',
    disable: 'Er liest nichts, bis ihn jemand einschaltet. Das bleibt nach einem Neustart und nach einer neuen Version des Pakets so.',
    restart: 'Ein neuer Lauf beginnt sofort am Cursor, ohne auf den nächsten Versuch zu warten.',
  },
  rewind: {
    toStart: 'An den Anfang: Er vergisst den Cursor',
    toCursor: 'An einen Cursor',
    value: 'Cursor als JSON',
    what: 'Nachrichten danach werden noch einmal zu Ereignissen, wenn kein Schlüssel das verhindert.',
    notJson: (why: string) => `Das ist kein JSON: ${why}`,
  },
  log: 'Protokoll',
  logSince: 'Die letzten Zeilen seiner Quelle und seines Programms, und wie seine Läufe endeten.',
  noLines: 'Noch keine Zeile.',
};

export default de;
