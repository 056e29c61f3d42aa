import { localized } from '../../words/localized.ts';

export const words = localized({
  nowhere: 'No file of its pack defines it.',
  found: 'Opening its file…',
  openAction: 'Open the action',
}, 'screens/definition/words');
