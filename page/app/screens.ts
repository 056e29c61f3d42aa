/** The screens. A screen is a folder of `screens/` whose `index.ts` says where and for whom it is; nothing else lists it. */

import type { Component } from 'svelte';
import type { NeedsPerson } from './api/types.ts';
import { matched } from './router.svelte.ts';
import type { InAll } from './words/localized.ts';

/** What every screen is given: the parts of the path that its address names. */
export interface ScreenProps {
  params: Record<string, string>;
}

/** The place of a screen in the menu. */
export interface InMenu {
  /** From the left. */
  at: number;
  /** The key that follows `g`. */
  key: string;
  /** How many things of the screen wait for a person, and what they are. */
  waiting?: (needs: NeedsPerson) => { count: number; text: string };
}

export interface Screen {
  /** The addresses below `/ui`, such as `/inbox/:id`. */
  paths: string[];
  /** What the window and the menu call it. */
  title: InAll;
  /** The permission without which it shows nothing. */
  needs?: string;
  /** Who may see it: everybody, or those who are logged in (the default). */
  isPublic?: boolean;
  /** Whether it fills the window: no menu, nothing around it. */
  isBare?: boolean;
  menu?: InMenu;
  load: () => Promise<{ default: Component<ScreenProps> }>;
}

const found = import.meta.glob<{ screen: Screen }>('./screens/*/index.ts', { eager: true });

export const screens: readonly Screen[] = Object.values(found).map((module) => module.screen);

export const menu: readonly Screen[] = screens.filter((screen) => screen.menu).sort((one, other) => (one.menu?.at ?? 0) - (other.menu?.at ?? 0));

/** Returns the screen of a path. */
export function screenAt(path: string): { screen: Screen; params: Record<string, string> } | null {
  for (const screen of screens) {
    for (const pattern of screen.paths) {
      const params = matched(pattern, path);
      if (params) return { screen, params };
    }
  }
  return null;
}
