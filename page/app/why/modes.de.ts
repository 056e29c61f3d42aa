import { plural, type Translation } from '../words/localized.ts';
import type { modes } from './modes.ts';

const de: Translation<typeof modes> = {
  name: { enabled: 'eingeschaltet', shadow: 'Schattenmodus', disabled: 'ausgeschaltet' },
  suspended: 'ausgesetzt',
  set: { enabled: 'Einschalten', shadow: 'Schattenmodus', disabled: 'Ausschalten' },
  title: {
    enabled: (rule) => `${rule} einschalten?`,
    shadow: (rule) => `${rule} in den Schattenmodus setzen?`,
    disabled: (rule) => `${rule} ausschalten?`,
  },
  what: {
    enabled: 'Ab dem nächsten Ereignis wirken ihre Treffer: Ihre Aktion wird ausgeführt.',
    shadow: 'Ab dem nächsten Ereignis werden ihre Treffer aufgezeichnet, aber ihre Aktion wird nicht ausgeführt.',
    disabled: 'Ab dem nächsten Ereignis wird sie nicht beachtet: Sie beurteilt keine Ereignisse, und nichts wird aufgezeichnet.',
  },
  heldDropped: (count) => `Sie hält ${plural(count, 'Treffer', 'Treffer')} zurück, die damit überholt sind und nie wirken.`,
  heldStay: (count) => `Sie hält ${plural(count, 'Treffer', 'Treffer')} zurück.`,
  resumes: 'Sie ist ausgesetzt, weil ihre Ereignisse einander ausgelöst haben. Das hebt die Aussetzung auf; die Schleife kann neu beginnen.',
  file: (mode) => `In ihrer Datei steht ${mode}. Diese Wahl geht vor.`,
};

export default de;
