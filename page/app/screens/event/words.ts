import { localized, plural } from '../../words/localized.ts';

export const words = localized({
  events: 'Events',
  came: 'Received',
  source: 'Source',
  sentBy: 'Sent by',
  causedBy: 'Caused by',
  trace: 'Trace',
  rules: 'Rules',
  judged: (matched: number, not: number, erred: number) => `${plural(matched, 'matched', 'matched')} · ${plural(not, 'did not', 'did not')} · ${plural(erred, 'erred', 'erred')}`,
  noRules: 'No rule handles events of its trigger.',
  definitions: 'Judged by',
  then: 'the rules at that time',
  now: 'the rules now',
  wasNow: 'These are the rules as they are now, not those that judged the event at its time.',
  followed: 'What followed',
  moreRules: 'There are more rules than are shown here.',
}, 'screens/event/words');
