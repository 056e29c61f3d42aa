/** The kinds of records of this release, as filters offer them. */
export const KINDS: readonly string[] = [
  'event.received',
  'delivery.refused',
  'enforcement.made',
  'rule.erred',
  'rule.errors_counted',
  'rule.mode_set',
  'loop.stopped',
  'enforcement.held_on',
  'enforcement.released',
  'enforcement.superseded',
  'rule.key_forgotten',
  'rule.flow_ended',
  'execution.requested',
  'attempt.started',
  'attempt.progressed',
  'attempt.emitted',
  'artifact.kept',
  'message.refused',
  'attempt.succeeded',
  'attempt.failed',
  'attempt.lost',
  'attempt.reported_late',
  'execution.succeeded',
  'execution.failed',
  'execution.timed_out',
  'execution.cancel_requested',
  'execution.paused',
  'execution.resumed',
  'execution.cancelled',
  'lock.awaited',
  'lock.acquired',
  'execution.became_indeterminate',
  'execution.settled',
  'step.skipped',
  'step.failed',
  'step.expanded',
  'step.ended',
  'undo.begun',
  'undo.failed',
  'wait.opened',
  'wait.matched',
  'wait.erred',
  'rerun.planned',
  'step.taken_over',
  'inquiry.opened',
  'inquiry.answered',
  'inquiry.reminded',
  'inquiry.escalated',
  'inquiry.notified',
  'inquiry.notification_failed',
  'inquiry.withdrawn',
  'link.minted',
  'link.used',
  'timer.set',
  'timer.fired',
  'schedule.set',
  'schedule.missed',
  'schedule.ended',
  'pack.installed',
  'pack.removed',
  'pack.permissions_set',
  'var.set',
  'var.removed',
  'key.set',
  'key.removed',
  'token.added',
  'token.revoked',
  'token.limited',
  'token.rotated',
  'identity.added',
  'identity.disabled',
  'identity.enabled',
  'identity.erased',
  'identity.groups_set',
  'identity.linked',
  'identity.unlinked',
  'role.set',
  'role.removed',
  'grant.added',
  'grant.removed',
  'session.opened',
  'session.ended',
  'credential.changed',
  'login_link.minted',
  'key.rotated',
  'key.expiry_set',
  'key.expiring',
  'key.revealed',
  'master_key.rotated',
  'access.denied',
  'login.refused',
  'export.made',
  'dead_letter.retried',
  'dead_letter.dismissed',
  'node.started',
  'clock.stepped',
  'clock.accepted',
  'log.restored',
  'reaction.deferred',
  'reaction.resumed',
  'reaction.held',
  'reaction.parked',
  'reaction.retried',
  'reaction.dismissed',
];

/** Writes a kind as words: `execution.cancel_requested` becomes `execution cancel requested`. */
export function kindInWords(kind: string): string {
  return kind.replace(/[._]/g, ' ');
}

/** Returns the path below `/ui` of the thing that a stream belongs to, such as `execution/42`; null if it has no screen of its own. */
export function pathOf(stream: string): string | null {
  const [kind, ...rest] = stream.split('/');
  const folder = { execution: 'executions', inquiry: 'inbox', event: 'events', rule: 'rules', pack: 'packs' }[kind ?? ''];
  return folder && rest.length > 0 ? `/${folder}/${encodeURIComponent(rest.join('/'))}` : null;
}

/** Returns the path of a thing that can be shown as it was; null if it cannot. */
export function pastPathOf(stream: string): string | null {
  return stream.startsWith('pack/') ? null : pathOf(stream);
}

/** Returns the path of the trace around a thing; null if it has none. */
export function tracePathOf(stream: string): string | null {
  const found = /^(?:event|enforcement|execution)\/(.+)$/.exec(stream);
  return found ? `/trace/${encodeURIComponent(found[1] ?? '')}` : null;
}

/** Returns the id of the question that a record is about; null if it is about none. Its records are those of its execution. */
export function inquiryOf({ kind, id, fact }: { kind: string; id: string; fact: unknown }): string | null {
  if (kind === 'inquiry.opened') return id;
  if (!kind.startsWith('inquiry.') || typeof fact !== 'object' || fact === null || !('inquiry' in fact)) return null;
  return typeof fact.inquiry === 'string' ? fact.inquiry : null;
}
