/** What a grant covers, and from what was typed to a request. */

import type { AskedAbsence, AskedGrant, AskedIdentity, AskedToken, IdentityKind, Limit } from '../../api/types.ts';

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
  else token.roles = namesOf(typed.roles);
  if (typed.expires.trim()) token.expires_in = typed.expires.trim();
  return token;
}

/** Reads names that are separated by commas or spaces. */
export function namesOf(text: string): string[] {
  return [...new Set(text.split(/[\s,]+/).filter((name) => name !== ''))];
}

export function identityOf(typed: { name: string; kind: IdentityKind; groups: string }): AskedIdentity {
  const groups = namesOf(typed.groups);
  return { name: typed.name.trim(), kind: typed.kind, ...(groups.length > 0 ? { groups } : {}) };
}

export function absenceOf(typed: { from: string; until: string; deputy: string }): AskedAbsence {
  const absence: AskedAbsence = {};
  if (typed.from) absence.from = new Date(typed.from).toISOString();
  if (typed.until) absence.until = new Date(typed.until).toISOString();
  if (typed.deputy.trim()) absence.deputy = typed.deputy.trim();
  return absence;
}

/** Writes a time as a field for a date and time takes it: to the minute, in the reader's zone. */
export function localTime(at: string | null | undefined): string {
  if (!at) return '';
  const time = new Date(at);
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
