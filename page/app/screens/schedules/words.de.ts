import { plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Zeitpläne',
  zone: (zone) => `Zeiten gelten für ${zone}.`,
  earlier: 'Früher',
  later: 'Später',
  thisWeek: 'Ab jetzt',
  none: 'In diesem Zeitraum ist nichts fällig.',
  truncated: (time) => `Nur die ersten 1.000 Zeiten werden gezeigt, bis ${time}.`,
  goOn: 'Von dort an weiter',
  grid: 'Wie viele Zeiten fällig sind, nach Stunde und Tag',
  hour: 'Stunde',
  cell: (count, day, hour) => `${plural(count, 'Zeit', 'Zeiten')} am ${day} um ${hour}`,
  days: 'Nach Tagen',
  times: (count) => plural(count, 'Zeit', 'Zeiten'),
  more: (count) => `${plural(count, 'weitere Zeit', 'weitere Zeiten')} zeigen`,
  missed: 'Verpasst',
  missedFrom: 'von',
  missedUntil: 'bis',
  misfire: { fire_once: 'nur die letzte wurde nachgeholt', skip: 'keine wurde nachgeholt', fire_all: 'die letzten 100 wurden nachgeholt' },
  sensor: 'Ein Timer eines Sensors lässt sich nicht nachholen.',
  noneLeft: 'Alle wurden ausgelöst.',
  left: (count) => `${plural(count, 'Zeit wurde', 'Zeiten wurden')} nicht ausgelöst`,
  backfill: 'Nachholen',
  backfillTitle: 'Verpasste Zeiten nachholen?',
  backfillWhat: 'Für jede dieser Zeiten entsteht ein Ereignis, das nur diese Regel beurteilt:',
  backfillDo: (count) => `${plural(count, 'Ereignis', 'Ereignisse')} erzeugen`,
};

export default de;
