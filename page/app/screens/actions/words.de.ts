import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Aktionen',
  noneYet: 'Kein Paket hat eine Aktion.',
  noneFits: 'Dieses Paket hat keine Aktion.',
};

export default de;
