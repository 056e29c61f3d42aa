/** Finds the file that defines a rule. */

import { CallError, call, type Answer } from '../api/call.ts';
import { candidates, lineOfRule, ownFile } from './files.ts';

export interface RuleFile {
  path: string;
  text: string;
  /** Where the rule begins. */
  line: number;
}

/** A pack has few files with several rules; more of them are not read to find one. */
const FILES_MAX = 20;
const PAGE = 200;

/** Returns the file of a rule, or null for `found` if no file of its pack defines it. */
export async function readRuleFile(rule: string, pack: string, signal: AbortSignal): Promise<Answer<{ found: RuleFile | null }>> {
  // Most rules are in the file of their name, which needs no list to be found.
  const own = ownFile(rule);
  const first = await readIfThere(rule, pack, own, signal);
  if (first?.value.found) return first;
  const paths: string[] = [];
  let cursor: string | undefined;
  let position = 0;
  do {
    const { value, position: shown } = await call('GET /packs/{pack}/files', { path: { pack }, query: { limit: PAGE, cursor }, signal });
    paths.push(...value.items.map((file) => file.path));
    cursor = value.next ?? undefined;
    position = shown;
  } while (cursor !== undefined);
  for (const path of candidates(rule, paths).filter((path) => path !== own).slice(0, FILES_MAX)) {
    const answer = await readIfThere(rule, pack, path, signal);
    if (answer?.value.found) return answer;
  }
  return { value: { found: null }, position };
}

/** Reads a file, and returns it if it defines the rule. Returns null if there is no such file. */
async function readIfThere(rule: string, pack: string, path: string, signal: AbortSignal): Promise<Answer<{ found: RuleFile | null }> | null> {
  try {
    const { value, position } = await call('GET /packs/{pack}/files/{path}', { path: { pack, path }, signal });
    const line = value.text == null ? null : lineOfRule(rule, path, value.text);
    return { value: { found: value.text != null && line !== null ? { path, text: value.text, line } : null }, position };
  } catch (why) {
    if (why instanceof CallError && why.status === 404) return null;
    throw why;
  }
}
