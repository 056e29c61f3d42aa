import { localized } from '../../words/localized.ts';

export const words = localized({
  title: 'Audit',
  rows: 'Who did what',
  with: 'with',
  lacks: 'lacked',
  way: 'by',
  count: (count: string) => `${count} times`,
  none: 'Nobody has done anything.',
  noneFits: 'Nothing fits this filter.',
  record: 'Record',
  answers: 'Answers to questions',
  refused: 'Refused',
  access: 'Changes of access',
  secrets: 'Keys',
  csv: 'Export as CSV',
  ndjson: 'Export as NDJSON',
  exportWhat: 'An export has all rows of the filter. The audit records that you made it.',
}, 'screens/audit/words');
