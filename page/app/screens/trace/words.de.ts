import { plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Verlauf',
  what: 'Was wozu geführt hat. Zeiten zählen ab dem ersten Ereignis.',
  began: 'Begonnen',
  shown: (count) => plural(count, 'Vorgang', 'Vorgänge'),
  truncated: 'Es gibt mehr, als bisher gelesen wurde.',
  views: 'Zeigen als',
  tree: 'Baum',
  graph: 'Graph',
  graphHint: 'Die Pfeiltasten folgen den Linien: links zur Ursache, rechts zu dem, was folgte.',
  notDrawn: (count) => `${plural(count, 'Vorgang ist', 'Vorgänge sind')} nicht gezeichnet. Der Baum zeigt alle.`,
  causedBy: (cause) => `verursacht durch ${cause}`,
};

export default de;
