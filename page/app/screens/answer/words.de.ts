import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  noCode: 'Dieser Link ist nicht vollständig. Bitte so öffnen, wie er ankam.',
};

export default de;
