import { localized, plural } from '../words/localized.ts';

export const words = localized({
  severity: { error: 'error', warning: 'warning', note: 'note' },
  line: (line: number) => `Line ${line}`,
  findings: (count: number) => plural(count, 'finding', 'findings'),
  instead: (text: string) => `Instead: ${text}`,
  source: (path: string) => `Text of ${path}`,
  editor: (path: string) => `Edit ${path}`,
  noText: 'The file is not text.',
});
