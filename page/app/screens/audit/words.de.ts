import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Audit',
  rows: 'Wer was getan hat',
  with: 'mit',
  lacks: 'ohne das Recht',
  way: 'durch',
  count: (count) => `${count}-mal`,
  none: 'Niemand hat etwas getan.',
  noneFits: 'Nichts passt zu diesem Filter.',
  record: 'Eintrag',
  answers: 'Antworten auf Fragen',
  refused: 'Abgelehnt',
  access: 'Änderungen am Zugang',
  secrets: 'Schlüssel',
  csv: 'Als CSV exportieren',
  ndjson: 'Als NDJSON exportieren',
  exportWhat: 'Ein Export enthält alle Zeilen des Filters. Das Audit hält fest, wer ihn gemacht hat.',
};

export default de;
