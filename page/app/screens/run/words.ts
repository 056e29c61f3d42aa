import { localized } from '../../words/localized.ts';

export const words = localized({
  run: 'Run',
  runTitle: (action: string) => `Run ${action}`,
  parameters: 'Parameters',
  noParameters: 'It takes no parameters.',
  template: 'Begin with a template',
  startAt: 'Start at',
  startAtHelp: 'Leave this empty to start at once.',
  labels: 'Labels',
  labelsHelp: 'One per line, as name=value. Lists of executions can be filtered by them.',
  notLabel: (line: string) => `“${line}” is not a label: write name=value.`,
  when: 'When and how',
  wrongForm: 'Some fields need a correction.',
  badParams: 'The address has parameters that are not a JSON object. The form begins empty.',
  mayNot: 'You may not run this action.',
  link: 'A link to this form as it is filled in',
}, 'screens/run/words');
