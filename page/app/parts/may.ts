/** What the caller may do to one thing. If the caller's right is limited, the node is asked once for each thing. */

import { call } from '../api/call.ts';
import { session } from '../session.svelte.ts';

/** What a right can be limited by. */
export interface Target {
  action?: string | undefined;
  pack?: string | undefined;
  hook?: string | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
}

const ANSWERS_MAX = 1_000;
const answers = new Map<string, Promise<boolean>>();

/** Returns whether the caller may do something to a thing; a promise if only the node knows. */
export function mayOn(permission: string, target: Target): boolean | Promise<boolean> {
  const known = session.me?.permissions.find((one) => one.permission === permission);
  if (!known) return false;
  if (known.reach !== 'limited') return true;
  const { labels, ...names } = target;
  const query = { permission, ...names, label: Object.entries(labels ?? {}).map(([name, value]) => `${name}=${value}`) };
  const asked = JSON.stringify([session.me?.name, session.changes, query]);
  const answered = answers.get(asked);
  if (answered) return answered;
  const answer = call('GET /auth/can-i', { query }).then(
    ({ value }) => value.allowed,
    () => false,
  );
  if (answers.size >= ANSWERS_MAX) answers.clear();
  answers.set(asked, answer);
  return answer;
}
