import { localized } from '../../words/localized.ts';

export const words = localized({
  title: 'Inbox',
  open: 'Open',
  mine: 'Mine',
  done: 'Done',
  list: 'Questions',
  answered: (counted: string, quorum: string) => `${counted} of ${quorum} answered`,
  byMe: 'answered by you',
  due: 'due',
  overdue: 'overdue',
  noneOpen: 'No question waits for an answer.',
  noneFits: 'No question fits this filter.',
}, 'screens/inbox/words');
