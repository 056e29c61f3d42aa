/** What the palette offers: what the node found, then the screens and the actions of the screen that is shown. */

import type { FoundItem } from '../api/types.ts';
import type { Action } from '../keyboard.svelte.ts';
import { words } from '../words/en.ts';

export interface Entry {
  title: string;
  kind?: keyof typeof words.kind;
  note?: string;
  keys?: string;
  /** The path below `/ui` that it leads to. */
  path?: string;
  run?: () => void;
}

/** Where a found thing is shown. */
const PLACES: Record<string, string> = {
  execution: 'executions',
  inquiry: 'inbox',
  event: 'events',
  rule: 'rules',
  action: 'actions',
  pack: 'packs',
  trigger: 'triggers',
  sensor: 'sensors',
};

/** Places that no menu has. */
const OTHERS: { path: string; word: 'settings' }[] = [{ path: '/me', word: 'settings' }];

/** Returns the entries for a text. `isThere` says whether the page has a screen that the reader may see at a path. */
export function entriesOf(text: string, found: readonly FoundItem[], actions: readonly Action[], isThere: (path: string) => boolean): Entry[] {
  const asked = text.trim().toLowerCase();
  const entries: Entry[] = [];
  for (const item of found) {
    const place = PLACES[item.kind];
    const path = `/${place}/${encodeURIComponent(item.id)}`;
    if (place === undefined || !isThere(path)) continue;
    // Things of packs are known by their names, the others by their titles.
    const isNamed = item.id.length < 36;
    entries.push({ title: isNamed ? item.id : item.title, kind: item.kind, path, ...(isNamed ? { note: item.title } : {}) });
    if (item.kind === 'action' && isThere(`${path}/run`)) entries.push({ title: words.paletteRun(item.id), path: `${path}/run` });
  }
  for (const action of actions) {
    if (!action.isHidden && action.label.toLowerCase().includes(asked)) entries.push({ title: action.label, keys: action.keys, run: action.run });
  }
  for (const { path, word } of OTHERS) {
    const title = words.key.goTo(words[word]);
    if (title.toLowerCase().includes(asked) && isThere(path)) entries.push({ title, path });
  }
  return entries;
}

/** Keeps a place within a list: after the last comes the first. */
export function wrapped(at: number, count: number): number {
  return count === 0 ? 0 : (at + count) % count;
}
