import { localized } from '../../words/localized.ts';

export const words = localized({ going: 'One moment…' }, 'screens/start/words');
