/** The pictures that are kept, and how a screen is compared with its picture. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import { difference, packed, reduced, unpacked } from './png.ts';

const HERE = import.meta.dirname;
const VERSIONS = join(HERE, 'VERSIONS');
const ENDING = '.png';
/** Where a picture that differs is written, and what differs in it. */
const DIFFERENCES = resolve(HERE, '../../../target/looks');

/** What draws letters and shapes. Not every font has all of the shapes, so each may come from another one. */
const FAMILIES = ['system-ui', 'Noto Sans', 'sans-serif', 'monospace', 'Noto Sans Mono', 'DejaVu Sans Mono'];
const SHAPES = '┄◷≡‖◔◠⊘↶⍰✓✕✗⧖⧉⌕▲▶▼◀◆●○→‹›…';

/** Returns the versions that decide each pixel: of chromium, and of the fonts. */
export function versions(browser: Browser): string {
  const match = (pattern: string): string => execFileSync('fc-match', ['--format', '%{family[0]} %{style[0]} %{fontversion}', pattern], { encoding: 'utf8' });
  const fonts = FAMILIES.map((family) => `${family}: ${match(family)}`);
  const shapes = [...SHAPES].map((shape) => `${shape}: ${match(`sans-serif:charset=${shape.codePointAt(0)?.toString(16)}`)}`);
  return [`chromium: ${browser.version()}`, ...fonts, ...shapes, ''].join('\n');
}

export function keptVersions(): string {
  return existsSync(VERSIONS) ? readFileSync(VERSIONS, 'utf8') : '';
}

/** Removes all pictures, and keeps the versions that the new ones are drawn with. */
export function renew(drawnWith: string): void {
  for (const name of all()) rmSync(fileOf(name));
  writeFileSync(VERSIONS, drawnWith);
}

const fileOf = (name: string): string => join(HERE, name + ENDING);

export function keep(name: string, screenshot: Buffer): void {
  writeFileSync(fileOf(name), packed(reduced(unpacked(screenshot))));
}

/** Returns how a screen differs from its picture; null if it does not. */
export function differs(name: string, screenshot: Buffer): string | null {
  if (!existsSync(fileOf(name))) return `${name} has no picture`;
  const [now, before] = [reduced(unpacked(screenshot)), unpacked(readFileSync(fileOf(name)))];
  if (now.width === before.width && now.pixels.equals(before.pixels)) return null;
  mkdirSync(DIFFERENCES, { recursive: true });
  writeFileSync(join(DIFFERENCES, name + ENDING), screenshot);
  writeFileSync(join(DIFFERENCES, `${name}.difference${ENDING}`), packed(reduced(difference(now, before))));
  return `${name} differs: see ${DIFFERENCES}`;
}

/** Returns the names of all kept pictures. */
export function all(): string[] {
  return readdirSync(HERE).filter((name) => name.endsWith(ENDING)).map((name) => name.slice(0, -ENDING.length));
}

/** Returns the size of all kept pictures together. */
export function bytes(): number {
  return all().reduce((sum, name) => sum + statSync(fileOf(name)).size, 0);
}
