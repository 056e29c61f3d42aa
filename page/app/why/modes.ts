/** The modes of rules in words. */

import { localized, plural } from '../words/localized.ts';

export const modes = localized({
  name: { enabled: 'enabled', shadow: 'shadow', disabled: 'disabled' },
  suspended: 'suspended',
  set: { enabled: 'Enable', shadow: 'Shadow', disabled: 'Disable' },
  title: {
    enabled: (rule: string) => `Enable ${rule}?`,
    shadow: (rule: string) => `Put ${rule} in shadow mode?`,
    disabled: (rule: string) => `Disable ${rule}?`,
  },
  what: {
    enabled: 'From the next event on, its matches are acted on: its action runs.',
    shadow: 'From the next event on, its matches are recorded, and its action does not run.',
    disabled: 'From the next event on, it is ignored: events are not judged by it, and nothing is recorded.',
  },
  heldDropped: (count: number) => `It holds ${plural(count, 'match', 'matches')}. They are superseded, and never acted on.`,
  heldStay: (count: number) => `It holds ${plural(count, 'match', 'matches')}.`,
  resumes: 'It is suspended because its events led to each other. This ends the suspension; the loop can start again.',
  file: (mode: string) => `Its file says ${mode}. This overrides the file.`,
}, 'why/modes');
