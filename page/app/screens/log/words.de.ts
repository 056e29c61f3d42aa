import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Protokoll',
  records: 'Einträge',
  none: 'Hier gibt es keinen Eintrag.',
  noneFits: 'Keiner der untersuchten Einträge passt zu diesem Filter.',
  earlier: 'Frühere Einträge',
  later: 'Spätere Einträge',
  newest: 'Neueste Einträge',
};

export default de;
