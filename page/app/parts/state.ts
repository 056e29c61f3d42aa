/** The states of things: a shape and a colour each, so that nobody needs to tell colours apart. */

import { words } from '../words/en.ts';
import type { IconName } from './icons.ts';

export type StateName = keyof typeof words.state;

export interface Look {
  shape: IconName;
  colour: 'grey' | 'blue' | 'sky' | 'green' | 'vermillion' | 'orange' | 'yellow';
  turns?: boolean;
  isDashed?: boolean;
}

const LOOKS: Record<StateName, Look> = {
  to_come: { shape: 'ellipsis', colour: 'grey', isDashed: true },
  skipped: { shape: 'ellipsis', colour: 'grey', isDashed: true },
  delayed: { shape: 'clock', colour: 'grey' },
  queued: { shape: 'queue', colour: 'grey' },
  paused: { shape: 'pause', colour: 'yellow' },
  waiting: { shape: 'hourglass', colour: 'sky' },
  running: { shape: 'loader', colour: 'blue', turns: true },
  cancelling: { shape: 'ban', colour: 'grey' },
  undoing: { shape: 'undo', colour: 'orange' },
  indeterminate: { shape: 'help', colour: 'vermillion' },
  succeeded: { shape: 'check', colour: 'green' },
  failed: { shape: 'x', colour: 'vermillion' },
  timed_out: { shape: 'timer-off', colour: 'vermillion' },
  cancelled: { shape: 'ban', colour: 'grey' },
  open: { shape: 'hourglass', colour: 'sky' },
  answered: { shape: 'check', colour: 'green' },
  expired: { shape: 'timer-off', colour: 'vermillion' },
  withdrawn: { shape: 'ban', colour: 'grey' },
  starting: { shape: 'dashed', colour: 'grey' },
  failing: { shape: 'x', colour: 'vermillion' },
  disabled: { shape: 'pause', colour: 'yellow' },
  done: { shape: 'check', colour: 'green' },
};

const UNKNOWN: Look = { shape: 'dot', colour: 'grey' };

/** Returns how a state looks. A newer node may have states that this page does not know. */
export function lookOf(state: string): Look {
  return Object.hasOwn(LOOKS, state) ? LOOKS[state as StateName] : UNKNOWN;
}

export function wordOf(state: string): string {
  return Object.hasOwn(words.state, state) ? words.state[state as StateName] : state;
}
