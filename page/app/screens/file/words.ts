import { localized, plural } from '../../words/localized.ts';

export const words = localized({
  bytes: (count: number) => plural(count, 'byte', 'bytes'),
  noText: 'The file is not a text.',
  tryRule: 'Try a change of this rule',
  tryRuleOf: (rule: string) => `Try a change of ${rule}`,
  copyText: 'Copy the text',
}, 'screens/file/words');
