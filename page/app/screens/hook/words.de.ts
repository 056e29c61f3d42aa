import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  hooks: 'Webhooks',
  url: 'URL',
  secret: {
    set: 'Geheimnis gesetzt',
    missing: 'Geheimnis fehlt: Jede Zustellung wird abgelehnt',
    unusable: 'Geheimnis unbrauchbar: Jede Zustellung wird abgelehnt',
    not_needed: 'kein Geheimnis: Alle können zustellen',
  },
  scheme: 'Geprüft durch',
  schemes: { github: 'die Signatur von GitHub', hmac: 'eine HMAC-Signatur', none: 'nichts' },
  key: 'Schlüssel',
  deliveries: 'Letzte Zustellungen',
  since: 'Höchstens 50, seit der Knoten läuft.',
  none: 'Keine Zustellung, seit der Knoten läuft.',
  again: 'Neu lesen',
  outcome: { accepted: 'angenommen', repeated: 'wiederholt', refused: 'abgelehnt' },
  bytes: (count) => `${count} Bytes`,
  request: 'Anfrage',
  noEvent: 'kein Ereignis',
  send: 'Zur Probe eine senden',
  sendWhat: 'Der Knoten signiert den Inhalt mit dem gespeicherten Schlüssel und stellt ihn sich selbst zu. Die Ereignisse sind echt: Regeln reagieren darauf.',
  body: 'Inhalt, als JSON',
  event: 'Name des Ereignisses',
  eventHint: 'bei GitHub: push, issues, …',
  sendDo: 'Senden',
  notJson: (why) => `Das ist kein JSON: ${why}`,
  sent: 'Angenommen. Die Ereignisse:',
  sentNone: 'Angenommen, aber es entstand kein Ereignis.',
};

export default de;
