import { localized } from '../../words/localized.ts';

export const words = localized({
  title: 'Log',
  records: 'Records',
  none: 'There is no record here.',
  noneFits: 'None of the records that were looked at fits this filter.',
  earlier: 'Earlier records',
  later: 'Later records',
  newest: 'Newest records',
}, 'screens/log/words');
