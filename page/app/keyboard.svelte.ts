/** The keys of the screen. Every one of them has a button or a link as well. */

import { untrack } from 'svelte';
import { readPrefs } from './prefs.ts';

export interface Action {
  /** A key, or two that follow each other: `j`, `g i`, `Control+k`. */
  keys: string;
  label: string;
  run: () => void;
  /** Whether the palette leaves it out, as it does with what only moves the focus. */
  isHidden?: boolean;
}

/** How long the second of two keys may take. */
const CHORD_MS = 1_500;

class Keyboard {
  actions: readonly Action[] = $state.raw([]);
  /** The same list, not reactive: what ends an effect reads the state from before its change, and would bring back old keys. */
  #known: readonly Action[] = [];
  #first = '';
  #timer: ReturnType<typeof setTimeout> | undefined;

  start(): void {
    addEventListener('keydown', (event) => this.#press(event));
  }

  /** Adds keys until the returned function is called. Later ones come first. */
  add(actions: Action[]): () => void {
    this.#known = [...actions, ...this.#known];
    this.actions = this.#known;
    return () => {
      this.#known = this.#known.filter((known) => !actions.includes(known));
      this.actions = this.#known;
    };
  }

  #press(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.isComposing) return;
    const key = `${event.ctrlKey || event.metaKey ? 'Control+' : ''}${event.altKey ? 'Alt+' : ''}${event.key}`;
    // The target of an event within a shadow root is its host, so the innermost element is asked.
    const [target] = event.composedPath();
    const isField = target instanceof Element && target.closest('input, textarea, select, [contenteditable]') !== null;
    if (isField && key !== 'Escape' && key !== 'Control+k') return;
    // A dialog has keys of its own.
    if (document.querySelector('dialog[open]') && key !== 'Control+k') return;
    const isLetter = key.length === 1;
    if (isLetter && !readPrefs().letters) return;
    const chord = this.#first ? `${this.#first} ${key}` : key;
    const action = this.actions.find((known) => known.keys === chord) ?? (this.#first ? undefined : null);
    clearTimeout(this.#timer);
    this.#first = '';
    if (action) {
      event.preventDefault();
      action.run();
    } else if (action === null && isLetter && this.actions.some((known) => known.keys.startsWith(`${key} `))) {
      this.#first = key;
      this.#timer = setTimeout(() => (this.#first = ''), CHORD_MS);
    }
  }
}

export const keyboard = new Keyboard();

/** Adds keys while a component is shown. Call it while the component is set up. */
export function keys(actions: () => Action[]): void {
  $effect(() => {
    const added = actions();
    const remove = untrack(() => keyboard.add(added));
    return () => untrack(remove);
  });
}
