import { localized } from '../words/localized.ts';

export const words = localized({
  severity: { error: 'error', warning: 'warning', note: 'note' },
  line: (line: number) => `Line ${line}`,
  instead: (text: string) => `Instead: ${text}`,
  source: (path: string) => `Text of ${path}`,
  editor: (path: string) => `Edit ${path}`,
  tabIndents: 'Tab indents a line. To leave the editor, press Escape, then Tab.',
  tabLeaves: 'Tab leaves the editor now.',
  editorMissing: 'The editor could not be loaded. You can write here, without colors.',
}, 'source/words');
