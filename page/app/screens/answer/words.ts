import { localized } from '../../words/localized.ts';

export const words = localized({
  noCode: 'This link is not complete. Open it as you received it.',
}, 'screens/answer/words');
