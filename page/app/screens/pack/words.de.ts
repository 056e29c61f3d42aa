import { plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  packs: 'Pakete',
  version: 'Version',
  installed: 'Installiert',
  keys: 'Schlüssel',
  permissions: 'Rechte',
  config: 'Konfiguration',
  digest: 'Prüfsumme',
  notTaken: 'Der Knoten hat diese Version nicht übernommen: Sie enthält Fehler. Was vorher installiert war, läuft weiter.',
  findings: 'Befunde',
  noFindings: 'Die Prüfung findet nichts.',
  at: (file, line) => `${file}:${line}`,
  files: 'Dateien',
  bytes: (count) => plural(count, 'Byte', 'Bytes'),
  executable: 'ausführbar',
  noFiles: 'Der Knoten hat keine Dateien dieses Pakets.',
  rules: 'Regeln dieses Pakets',
};

export default de;
