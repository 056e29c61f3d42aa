/** What a grant covers, and from what was typed to a request. */

import type { AskedGrant, AskedToken, Limit } from '../../api/types.ts';

/** Writes what a grant covers, as the command line takes it; empty for everything. */
export function limitText(on: Limit | null | undefined): string {
  if (!on) return '';
  return [
    ...on.packs.map((pack) => `pack=${pack}`),
    ...on.actions.map((action) => `action=${action}`),
    ...on.hooks.map((hook) => `hook=${hook}`),
    ...Object.entries(on.labels).flatMap(([name, values]) => values.map((value) => `label:${name}=${value}`)),
  ].join(',');
}

export function grantOf(typed: { subject: string; role: string; pack: string; action: string; until: string }): AskedGrant {
  const grant: AskedGrant = { subject: typed.subject.trim(), role: typed.role.trim() };
  const on: AskedGrant['on'] = {};
  if (typed.pack.trim()) on.packs = [typed.pack.trim()];
  if (typed.action.trim()) on.actions = [typed.action.trim()];
  if (Object.keys(on).length > 0) grant.on = on;
  if (typed.until) grant.until = new Date(typed.until).toISOString();
  return grant;
}

export function tokenOf(typed: { name: string; identity: string; roles: string; expires: string }): AskedToken {
  const token: AskedToken = { name: typed.name.trim() };
  if (typed.identity.trim()) token.identity = typed.identity.trim();
  else token.roles = typed.roles.split(',').map((role) => role.trim()).filter((role) => role !== '');
  if (typed.expires.trim()) token.expires_in = typed.expires.trim();
  return token;
}
