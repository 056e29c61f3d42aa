import { plural } from '../../words/localized.ts';
import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Sensoren',
  none: 'Kein Paket hat einen Sensor.',
  cut: 'Nur die ersten 200 Sensoren werden gezeigt.',
  source: { webhook: 'Webhook', timer: 'Zeitplan', process: 'Programm', poll: 'Abfrage', file: 'Dateien' },
  events: (count: number) => plural(count, 'Ereignis', 'Ereignisse'),
  refused: (count: number) => `${count} abgelehnt`,
  failingParts: (count: number) => plural(count, 'Teil ist gestört', 'Teile sind gestört'),
  last: 'letztes Ereignis',
  next: 'nächstes Mal',
  neverEvent: 'noch kein Ereignis',
};

export default de;
