import { localized } from '../../words/localized.ts';

export const words = localized({
  title: 'Actions',
  noneYet: 'No pack has an action.',
  noneFits: 'This pack has no action.',
}, 'screens/actions/words');
