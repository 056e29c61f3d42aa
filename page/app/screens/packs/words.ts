import { localized, plural } from '../../words/localized.ts';

export const words = localized({
  title: 'Packs',
  status: { installed: 'installed', not_taken: 'not taken: it has errors' },
  errors: (count: number) => plural(count, 'error', 'errors'),
  warnings: (count: number) => plural(count, 'warning', 'warnings'),
  none: 'No pack is installed.',
}, 'screens/packs/words');
