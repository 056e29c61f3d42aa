/** Files of packs: which one defines a rule, and which findings belong to a line. */

import type { PackFinding } from '../api/types.ts';

/** Returns the address of a file. */
export function fileAddress(pack: string, path: string): string {
  return `/packs/${encodeURIComponent(pack)}/files/${path.split('/').map(encodeURIComponent).join('/')}`;
}

/** Returns the path that a finding names, without its pack. */
export function pathIn(pack: string, file: string): string {
  return file.startsWith(`${pack}/`) ? file.slice(pack.length + 1) : file;
}

export function findingsOf(findings: readonly PackFinding[], pack: string, path: string): PackFinding[] {
  return findings.filter((finding) => (finding.pack === null || finding.pack === pack) && pathIn(pack, finding.file) === path);
}

/** Puts findings to their lines. One beyond the end is at the last line. */
export function byLine(findings: readonly PackFinding[], lines: number): Map<number, PackFinding[]> {
  const found = new Map<number, PackFinding[]>();
  for (const finding of findings) {
    const line = Math.min(Math.max(1, finding.line), Math.max(1, lines));
    found.set(line, [...(found.get(line) ?? []), finding]);
  }
  return found;
}

/** Returns the file that defines a rule alone, if one does. */
export function ownFile(rule: string): string {
  return `rules/${rule.slice(rule.indexOf('.') + 1)}.yaml`;
}

/** Returns the files that may define a rule: the one of its name first, then those that may hold several. */
export function candidates(rule: string, paths: readonly string[]): string[] {
  const name = rule.slice(rule.indexOf('.') + 1);
  const rules = paths.filter((path) => /^rules\/.*\.ya?ml$/.test(path));
  const own = rules.filter((path) => path === `rules/${name}.yaml` || path === `rules/${name}.yml`);
  return [...own, ...rules.filter((path) => !own.includes(path))];
}

/** Returns the line at which a file defines a rule, or null if it does not. */
export function lineOfRule(rule: string, path: string, text: string): number | null {
  const name = rule.slice(rule.indexOf('.') + 1);
  const lines = text.split('\n');
  const list = lines.findIndex((line) => /^rules:/.test(line));
  if (list < 0) return new RegExp(`^rules/${escaped(name)}\\.ya?ml$`).test(path) ? 1 : null;
  const at = lines.findIndex((line, index) => index > list && new RegExp(`^\\s+["']?${escaped(name)}["']?\\s*:`).test(line));
  return at < 0 ? null : at + 1;
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
