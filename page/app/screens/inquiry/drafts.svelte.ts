/** Answers that are being written. They live in memory, outlast updates and a new login, and are never stored. */

import type { Draft } from '../../forms/model.ts';

const drafts = new Map<string, Draft>();

export function draftOf(id: string): Draft {
  const known = drafts.get(id);
  if (known) return known;
  const draft: Draft = $state({});
  drafts.set(id, draft);
  return draft;
}

export function dropDraft(id: string): void {
  drafts.delete(id);
}
