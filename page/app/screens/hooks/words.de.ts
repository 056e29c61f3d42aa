import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Webhooks',
  none: 'Kein Paket hat einen Webhook.',
  cut: 'Nur die ersten 200 Webhooks werden gezeigt.',
  noDelivery: 'Noch keine Zustellung.',
  last: 'letzte Zustellung',
};

export default de;
