import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'System',
  again: 'Noch einmal prüfen',
  doctor: 'Befunde',
  verdict: { good: 'gut', warning: 'Warnung', bad: 'schlecht' },
  good: (count) => `${count} Prüfungen ohne Befund`,
  advice: 'Was zu tun ist',
  status: 'Zustand',
  started: 'Gestartet',
  position: 'Position des Protokolls',
  viewsPosition: 'Position der Ansichten',
  workers: 'Worker',
  busy: (busy, all) => `${busy} von ${all} beschäftigt`,
  jobs: 'Aufgaben',
  verify: 'Protokoll prüfen',
  verifyWhat: 'Prüft die Hash-Kette des ganzen Protokolls und findet jede Änderung, Lücke oder Umordnung.',
  rebuild: 'Ansichten neu aufbauen',
  rebuildWhat: 'Baut die Ansichten aus dem Protokoll neu auf, neben den benutzten, und ersetzt diese dann.',
  never: 'Nicht, seit der Knoten läuft.',
  running: 'läuft seit',
  succeeded: 'erfolgreich',
  failed: 'fehlgeschlagen',
  clock: 'Uhr',
  clockWhat: 'Geht die Uhr jetzt richtig, kann sie übernommen werden: Zurückgehaltene Timer werden dann freigegeben.',
  accept: 'Uhr übernehmen',
  acceptTitle: 'Uhr übernehmen?',
  release: 'Version',
  log: 'Protokoll',
  docs: 'Dokumentation',
  api: 'Die API',
  errors: 'Fehler und was zu tun ist',
  licence: 'Lizenz',
  licenceWhat: 'Apache-2.0',
};

export default de;
