/** The file of an action, by its name in the pack. */

import { CallError, call, type Answer } from '../../api/call.ts';
import type { InstalledFile } from '../../api/types.ts';

/** Returns the file; null if the pack has no file with the action's name. */
export async function fileOf(pack: string, ref: string, signal: AbortSignal): Promise<Answer<InstalledFile | null>> {
  const path = `actions/${ref.slice(pack.length + 1)}.yaml`;
  try {
    return await call('GET /packs/{pack}/files/{path}', { path: { pack, path }, signal });
  } catch (error) {
    if (error instanceof CallError && error.status === 404) return { value: null, position: 0 };
    throw error;
  }
}
