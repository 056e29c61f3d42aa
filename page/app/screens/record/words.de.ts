import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  log: 'Protokoll',
  title: (position) => `Eintrag ${position}`,
  kind: 'Art',
  stream: 'Von',
  actor: 'Wer',
  time: 'Zeit',
  cause: 'Ursache',
  noCause: 'Er hat keine Ursache.',
  onlyRoot: 'Nur, wozu sein Ursprung führte',
  question: 'Die Frage nach diesem Eintrag',
  questionBefore: 'Die Frage kurz davor',
  after: 'Nach diesem Eintrag',
  chain: 'Hash der Kette',
  fact: 'Was er sagt',
  content: 'Mit ihm gespeicherte Daten',
  previous: 'Eintrag davor',
  next: 'Eintrag danach',
};

export default de;
