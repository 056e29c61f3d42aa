import { localized } from '../../words/localized.ts';

export const words = localized({
  log: 'Log',
  title: (position: string) => `Record ${position}`,
  kind: 'Kind',
  stream: 'Of',
  actor: 'Actor',
  time: 'Time',
  cause: 'Cause',
  noCause: 'It began by itself.',
  onlyRoot: 'Only what its root led to',
  question: 'The question after this record',
  questionBefore: 'The question just before',
  after: 'After this record',
  chain: 'Hash of the chain',
  fact: 'What it says',
  content: 'Data stored with it',
  previous: 'The record before',
  next: 'The record after',
}, 'screens/record/words');
