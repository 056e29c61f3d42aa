import { plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Verlauf',
  what: 'Was wozu geführt hat. Zeiten zählen ab dem ersten Ereignis.',
  began: 'Begonnen',
  shown: (count) => plural(count, 'Vorgang', 'Vorgänge'),
  truncated: 'Der Knoten zeigt von einem langen Verlauf nur den Anfang; es gibt mehr.',
};

export default de;
