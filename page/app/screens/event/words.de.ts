import { number, plural, type Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  events: 'Ereignisse',
  came: 'Empfangen',
  source: 'Quelle',
  sentBy: 'Gesendet von',
  causedBy: 'Ausgelöst durch',
  trace: 'Verlauf',
  rules: 'Regeln',
  judged: (matched, not, erred) => `${plural(matched, 'traf zu', 'trafen zu')} · ${number(not)} nicht · ${number(erred)} mit Fehler`,
  noRules: 'Keine Regel behandelt Ereignisse dieses Auslösers.',
  definitions: 'Beurteilt nach',
  then: 'den Regeln von damals',
  now: 'den Regeln von jetzt',
  wasNow: 'Das sind die Regeln, wie sie jetzt sind, nicht die, die das Ereignis damals beurteilt haben.',
  followed: 'Was folgte',
  moreRules: 'Es gibt mehr Regeln, als hier gezeigt werden.',
};

export default de;
