/** Files that are being changed. They live in memory, outlast updates and other screens, and are never stored. */

class Draft {
  text: string = $state('');

  constructor(text: string) {
    this.text = text;
  }
}

const drafts = new Map<string, Draft>();

/** Returns the draft of a file; it begins with the installed text. */
export function draftOf(pack: string, path: string, installed: string): Draft {
  const key = `${pack}/${path}`;
  const known = drafts.get(key);
  if (known) return known;
  const draft = new Draft(installed);
  drafts.set(key, draft);
  return draft;
}
