/** The states of things: a shape and a colour each, so that nobody needs to tell colours apart. */

import { words } from '../words/en.ts';

export type StateName = keyof typeof words.state;

export interface Look {
  shape: string;
  colour: 'grey' | 'blue' | 'sky' | 'green' | 'vermillion' | 'orange' | 'yellow';
  turns?: boolean;
  isDashed?: boolean;
}

const LOOKS: Record<StateName, Look> = {
  to_come: { shape: '┄', colour: 'grey', isDashed: true },
  skipped: { shape: '┄', colour: 'grey', isDashed: true },
  delayed: { shape: '◷', colour: 'grey' },
  queued: { shape: '≡', colour: 'grey' },
  paused: { shape: '‖', colour: 'yellow' },
  waiting: { shape: '◔', colour: 'sky' },
  running: { shape: '◠', colour: 'blue', turns: true },
  cancelling: { shape: '⊘', colour: 'grey' },
  undoing: { shape: '↶', colour: 'orange' },
  indeterminate: { shape: '⍰', colour: 'vermillion' },
  succeeded: { shape: '✓', colour: 'green' },
  failed: { shape: '✕', colour: 'vermillion' },
  timed_out: { shape: '⧖', colour: 'vermillion' },
  cancelled: { shape: '⊘', colour: 'grey' },
  open: { shape: '◔', colour: 'sky' },
  answered: { shape: '✓', colour: 'green' },
  expired: { shape: '⧖', colour: 'vermillion' },
  withdrawn: { shape: '⊘', colour: 'grey' },
  starting: { shape: '◌', colour: 'grey' },
  failing: { shape: '✕', colour: 'vermillion' },
  disabled: { shape: '‖', colour: 'yellow' },
  done: { shape: '✓', colour: 'green' },
};

const UNKNOWN: Look = { shape: '·', colour: 'grey' };

/** Returns how a state looks. A newer node may have states that this page does not know. */
export function lookOf(state: string): Look {
  return Object.hasOwn(LOOKS, state) ? LOOKS[state as StateName] : UNKNOWN;
}

export function wordOf(state: string): string {
  return Object.hasOwn(words.state, state) ? words.state[state as StateName] : state;
}
