/** Finds the file that defines a rule. */

import { call, type Answer } from '../api/call.ts';
import { candidates, lineOfRule } from './files.ts';

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
  const paths: string[] = [];
  let cursor: string | undefined;
  let position = 0;
  do {
    const { value, position: shown } = await call('GET /packs/{pack}/files', { path: { pack }, query: { limit: PAGE, cursor }, signal });
    paths.push(...value.items.map((file) => file.path));
    cursor = value.next ?? undefined;
    position = shown;
  } while (cursor !== undefined);
  for (const path of candidates(rule, paths).slice(0, FILES_MAX)) {
    const { value } = await call('GET /packs/{pack}/files/{path}', { path: { pack, path }, signal });
    const line = value.text == null ? null : lineOfRule(rule, path, value.text);
    if (value.text != null && line !== null) return { value: { found: { path, text: value.text, line } }, position };
  }
  return { value: { found: null }, position };
}
