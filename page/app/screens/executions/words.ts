import { localized } from '../../words/localized.ts';

export const words = localized({
  title: 'Executions',
  failed: 'Failed',
  retrying: 'Retrying',
  open: 'Open',
  roots: 'Without steps',
  attempt: (number: string) => `attempt ${number}`,
  noneYet: 'Nothing has run yet.',
  noneFits: 'No execution fits this filter.',
});
