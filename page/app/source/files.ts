/** Files of packs: their addresses, the ones that may define something, and the findings of a line. */

import type { FileDefinitionKind, PackFinding } from '../api/types.ts';

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

/** Returns the files that may define something: the one of its name first, then those of its kind that may hold several. */
export function candidates(ref: string, kind: FileDefinitionKind, paths: readonly string[]): string[] {
  const name = ref.slice(ref.indexOf('.') + 1);
  const ofKind = paths.filter((path) => path.startsWith(`${kind}s/`) && /\.ya?ml$/.test(path));
  const own = ofKind.filter((path) => path === `${kind}s/${name}.yaml` || path === `${kind}s/${name}.yml`);
  return [...own, ...ofKind.filter((path) => !own.includes(path))];
}
