import { localized, plural } from '../../words/localized.ts';

export const words = localized({
  title: 'Sensors',
  none: 'No pack has a sensor.',
  cut: 'Only the first 200 sensors are shown.',
  source: { webhook: 'webhook', timer: 'schedule', process: 'program', poll: 'poll', file: 'files' },
  events: (count: number) => plural(count, 'event', 'events'),
  refused: (count: number) => `${count} refused`,
  failingParts: (count: number) => plural(count, 'part fails', 'parts fail'),
  last: 'last event',
  next: 'next',
  neverEvent: 'no event yet',
}, 'screens/sensors/words');
