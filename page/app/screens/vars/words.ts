import { localized } from '../../words/localized.ts';

export const words = localized({
  title: 'Vars',
  what: 'A var holds a value that rules and actions read, and that actions can set.',
  none: 'No var has a value.',
  setBy: 'set by',
  execution: 'in the execution',
  add: 'Set a var',
  change: 'Change',
  remove: 'Remove',
  name: 'Var',
  nameHelp: 'Such as sync.cursor',
  value: 'Value',
  valueHelp: 'Any JSON except null',
  notJson: (why: string) => `This is not JSON: ${why}`,
  changeTitle: (name: string) => `Set ${name}`,
  removeTitle: (name: string) => `Remove ${name}?`,
  removeWhat: 'Expressions that read it find nothing.',
  set: 'Set',
  needed: 'This is required.',
}, 'screens/vars/words');
