/** Finds where something is defined. */

import { CallError, call, type Answer } from '../api/call.ts';
import type { FileDefinitionKind } from '../api/types.ts';
import { candidates } from './files.ts';

export interface Place {
  path: string;
  line: number;
}

/** A pack has few files with several definitions; more of them are not read to find one. */
const FILES_MAX = 20;
const PAGE = 200;

/** Returns the place of a definition, or null for `found` if no file of its pack has it. */
export async function findDefinition(pack: string, kind: FileDefinitionKind, ref: string, signal: AbortSignal): Promise<Answer<{ found: Place | null }>> {
  const paths: string[] = [];
  let position = 0;
  try {
    for (let cursor: string | undefined; ; ) {
      const answer = await call('GET /packs/{pack}/files', { path: { pack }, query: { limit: PAGE, cursor }, signal });
      paths.push(...answer.value.items.map((file) => file.path));
      position = answer.position;
      if (answer.value.next === null) break;
      cursor = answer.value.next;
    }
  } catch (error) {
    // A ref can name a pack without files.
    if (error instanceof CallError && error.status === 404) return { value: { found: null }, position };
    throw error;
  }
  for (const path of candidates(ref, kind, paths).slice(0, FILES_MAX)) {
    const { value } = await call('GET /packs/{pack}/files/{path}', { path: { pack, path }, signal });
    const here = value.defines?.find((one) => one.ref === ref && one.kind === kind);
    if (here) return { value: { found: { path, line: here.line } }, position };
  }
  return { value: { found: null }, position };
}
