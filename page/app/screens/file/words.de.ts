import { plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  bytes: (count) => plural(count, 'Byte', 'Bytes'),
  noText: 'Die Datei ist kein Text.',
  tryRule: 'Eine Änderung dieser Regel ausprobieren',
  tryRuleOf: (rule) => `Eine Änderung von ${rule} ausprobieren`,
  copyText: 'Text kopieren',
};

export default de;
