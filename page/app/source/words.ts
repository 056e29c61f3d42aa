import { localized } from '../words/localized.ts';

export const words = localized({
  severity: { error: 'error', warning: 'warning', note: 'note' },
  line: (line: number) => `Line ${line}`,
  instead: (text: string) => `Instead: ${text}`,
  source: (path: string) => `Text of ${path}`,
  editor: (path: string) => `Edit ${path}`,
}, 'source/words');
