import { localized } from '../../words/localized.ts';

export const words = localized({
  title: 'Hooks',
  none: 'No pack has a webhook.',
  cut: 'Only the first 200 webhooks are shown.',
  noDelivery: 'No delivery yet.',
  last: 'last delivery',
}, 'screens/hooks/words');
