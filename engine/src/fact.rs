//! The registry of facts: every kind that a log may contain, its newest schema, and how older schemas are
//! read.
//!
//! The module of each noun defines what its facts mean. A released kind is permanent: it has a golden file in
//! `tests/contract/`.

use bytes::Bytes;
use serde_json::Value;
use thiserror::Error;

use crate::access::audit::facts as audit;
use crate::access::facts as access;
use crate::access::keys::facts as keys;
use crate::catalog::facts as catalog;
use crate::dead_letters::facts as dead_letters;
use crate::events::facts as events;
use crate::executions::facts::{self as executions, Failure, FailureKind};
use crate::executions::milestone::{self, ExecutionEnd, HowEnded, Milestone};
use crate::health::facts as health;
use crate::inquiries::facts as inquiries;
use crate::locks::facts as locks;
use crate::rules::facts as rules;
use crate::rules::flow::facts as flow;
use crate::schedule::facts as schedule;
use crate::sensors::facts as sensors;
use crate::timers::facts as timers;
use crate::vars::facts as vars;
use crate::workflows::facts as workflows;

/// The maximum size of a fact as JSON, in bytes.
pub const FACT_BYTES_MAX: usize = 16 * 1024;

/// Why a stored fact cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FactError {
    /// This release does not know the kind.
    #[error("unknown fact `{0}`; a newer release wrote it: start that release")]
    UnknownKind(String),
    /// The kind is known, but its schema is newer than this release's.
    #[error("fact `{kind}` has schema {found}, but this release knows schemas only up to {known}: start the release that wrote it")]
    TooNew {
        /// The kind.
        kind: &'static str,
        /// The schema found.
        found: u16,
        /// The newest known.
        known: u16,
    },
    /// The JSON does not have the kind's shape.
    #[error("fact `{kind}` is damaged: {why}")]
    Damaged {
        /// The kind.
        kind: &'static str,
        /// The error.
        why: String,
    },
}

/// A fact that is too large to store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("fact `{kind}` is {bytes} bytes; the limit is {FACT_BYTES_MAX}")]
pub struct FactTooLarge {
    /// The kind.
    pub kind: &'static str,
    /// Its size as JSON.
    pub bytes: usize,
}

/// Whether a fact has consequences. Facts without the word `reacts` in the table have none; facts with a
/// condition have some if it is true.
macro_rules! reacts {
    ($fact:ident) => {{
        let _ = $fact;
        false
    }};
    ($fact:ident, reacts) => {{
        let _ = $fact;
        true
    }};
    ($fact:ident, reacts_if $when:expr) => {
        $when($fact)
    };
}

/// Defines what the facts of a noun mean for their execution, if the noun has the word `milestone` in the table. Each
/// of its facts must then have a meaning.
macro_rules! meanings {
    ($noun:ident [] $($facts:tt)*) => {};
    ($noun:ident [$milestone:ident] $($variant:ident => $means:path;)*) => {
        impl<'a> $noun<'a> {
            /// Returns what the fact means for its execution.
            pub fn $milestone(self) -> Milestone<'a> {
                match self { $(Self::$variant(fact) => $means(fact),)* }
            }
        }
    };
}

macro_rules! facts {
    ($($(#[$doc:meta])* $noun:ident $(: $milestone:ident)? {
        $($variant:ident($type:ty): $kind:literal, $schema:literal $(=> $means:path)? $(, $reacts:ident $($when:expr)?)?;)*
    })*) => {
        /// What happened, in the past tense: the typed content of a record.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Fact {
            $($(#[doc = concat!("`", $kind, "`")] $variant($type),)*)*
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub enum $noun<'a> {
                $(#[doc = concat!("`", $kind, "`")] $variant(&'a $type),)*
            }

            meanings! { $noun [$($milestone)?] $($variant $(=> $means)?;)* }
        )*

        /// A fact grouped by its noun: each noun folds its own facts, and the compiler checks that it folds
        /// all of them.
        #[derive(Clone, Copy, Debug)]
        #[allow(clippy::enum_variant_names, reason = "each variant is named after the facts it holds")]
        pub enum ByNoun<'a> {
            $($(#[$doc])* $noun($noun<'a>),)*
        }

        impl Fact {
            /// Every kind with its newest schema.
            pub const KINDS: &'static [(&'static str, u16)] = &[$($(($kind, $schema)),*),*];

            /// Returns the kind, `noun.verbed`.
            pub fn kind(&self) -> &'static str {
                match self { $($(Self::$variant(_) => $kind,)*)* }
            }

            /// Returns the newest schema of the kind.
            fn newest_schema(&self) -> u16 {
                match self { $($(Self::$variant(_) => $schema,)*)* }
            }

            /// Returns true if the fact can have consequences: the core is asked for the consequences of its
            /// record.
            pub fn reacts(&self) -> bool {
                match self { $($(Self::$variant(fact) => reacts!(fact $(, $reacts $($when)?)?),)*)* }
            }

            /// Writes the fact as compact JSON; fails if it is larger than [`FACT_BYTES_MAX`].
            pub fn to_json(&self) -> Result<Bytes, FactTooLarge> {
                let written = match self { $($(Self::$variant(fact) => serde_json::to_vec(fact),)*)* };
                let json = written.expect("facts hold only text, numbers and lists, which always have a JSON form");
                if json.len() > FACT_BYTES_MAX {
                    return Err(FactTooLarge { kind: self.kind(), bytes: json.len() });
                }
                Ok(json.into())
            }

            /// Parses a fact of any schema up to the newest. A newer one is an error, and never skipped.
            pub fn parse(kind: &str, schema: u16, json: &[u8]) -> Result<Self, FactError> {
                match kind {
                    $($($kind => {
                        let damaged = |why: serde_json::Error| FactError::Damaged { kind: $kind, why: why.to_string() };
                        if schema > $schema {
                            return Err(FactError::TooNew { kind: $kind, found: schema, known: $schema });
                        }
                        if schema == $schema || STILL_WRITTEN.contains(&(kind, schema)) {
                            return serde_json::from_slice(json).map(Self::$variant).map_err(damaged);
                        }
                        let old: Value = serde_json::from_slice(json).map_err(damaged)?;
                        serde_json::from_value(upcast($kind, schema, $schema, old)?).map(Self::$variant).map_err(damaged)
                    })*)*
                    _ => Err(FactError::UnknownKind(kind.to_owned())),
                }
            }

            /// Returns the fact grouped by its noun.
            pub fn by_noun(&self) -> ByNoun<'_> {
                match self { $($(Self::$variant(fact) => ByNoun::$noun($noun::$variant(fact)),)*)* }
            }
        }

        $($(impl From<$type> for Fact {
            fn from(fact: $type) -> Self {
                Self::$variant(fact)
            }
        })*)*
    };
}

facts! {
    /// Facts about events.
    EventFact {
        EventReceived(events::EventReceived): "event.received", 5, reacts_if events::EventReceived::concerns_rules;
        DeliveryRefused(events::DeliveryRefused): "delivery.refused", 4;
    }
    /// Facts about rules.
    RuleFact {
        EnforcementMade(rules::EnforcementMade): "enforcement.made", 6;
        RuleErred(rules::RuleErred): "rule.erred", 1;
        RuleErrorsCounted(rules::RuleErrorsCounted): "rule.errors_counted", 1;
        RuleModeSet(rules::RuleModeSet): "rule.mode_set", 1, reacts;
        LoopStopped(rules::LoopStopped): "loop.stopped", 1, reacts;
    }
    /// Facts about the enforcements and keys that flow control holds.
    FlowFact {
        EnforcementHeldOn(flow::EnforcementHeldOn): "enforcement.held_on", 1;
        EnforcementReleased(flow::EnforcementReleased): "enforcement.released", 2;
        EnforcementSuperseded(flow::EnforcementSuperseded): "enforcement.superseded", 1;
        RuleKeyForgotten(flow::RuleKeyForgotten): "rule.key_forgotten", 1;
        RuleFlowEnded(flow::RuleFlowEnded): "rule.flow_ended", 1;
    }
    /// Facts about executions and their attempts.
    ExecutionFact: milestone {
        ExecutionRequested(executions::ExecutionRequested): "execution.requested", 11 => Milestone::Asked, reacts;
        AttemptStarted(executions::AttemptStarted): "attempt.started", 1 => Milestone::AttemptBegan;
        AttemptProgressed(executions::AttemptProgressed): "attempt.progressed", 1 => milestone::attempt_progressed;
        AttemptEmitted(executions::AttemptEmitted): "attempt.emitted", 1 => milestone::attempt_emitted;
        ArtifactKept(executions::ArtifactKept): "artifact.kept", 1 => milestone::artifact_kept;
        MessageRefused(executions::MessageRefused): "message.refused", 1 => milestone::message_refused;
        AttemptSucceeded(executions::AttemptSucceeded): "attempt.succeeded", 2 => milestone::attempt_succeeded, reacts;
        AttemptFailed(executions::AttemptFailed): "attempt.failed", 5 => milestone::attempt_failed, reacts;
        AttemptLost(executions::AttemptLost): "attempt.lost", 2 => milestone::attempt_lost, reacts;
        AttemptReportedLate(executions::AttemptReportedLate): "attempt.reported_late", 2 => milestone::always_noted;
        ExecutionSucceeded(executions::ExecutionSucceeded): "execution.succeeded", 2 => milestone::execution_succeeded, reacts;
        ExecutionFailed(executions::ExecutionFailed): "execution.failed", 5 => milestone::execution_failed, reacts;
        ExecutionTimedOut(executions::ExecutionTimedOut): "execution.timed_out", 3 => milestone::timed_out, reacts;
        ExecutionCancelRequested(executions::ExecutionCancelRequested): "execution.cancel_requested", 1 => milestone::cancel_requested, reacts;
        ExecutionPaused(executions::ExecutionPaused): "execution.paused", 1 => milestone::always_held;
        ExecutionResumed(executions::ExecutionResumed): "execution.resumed", 1 => milestone::always_freed, reacts;
        ExecutionCancelled(executions::ExecutionCancelled): "execution.cancelled", 4 => milestone::execution_cancelled, reacts;
        LockAwaited(locks::LockAwaited): "lock.awaited", 1 => milestone::always_held;
        LockAcquired(locks::LockAcquired): "lock.acquired", 1 => milestone::always_freed, reacts;
        ExecutionBecameIndeterminate(executions::ExecutionBecameIndeterminate): "execution.became_indeterminate", 1 => milestone::always_held, reacts;
        ExecutionSettled(executions::ExecutionSettled): "execution.settled", 1 => Milestone::Settled, reacts;
    }
    /// Facts about the steps of workflows.
    StepFact {
        StepSkipped(workflows::StepSkipped): "step.skipped", 2, reacts;
        StepChosen(workflows::StepChosen): "step.chosen", 1, reacts;
        // The record that fails an item also continues with the next item.
        StepFailed(workflows::StepFailed): "step.failed", 3, reacts_if |fact: &workflows::StepFailed| fact.item.is_none();
        StepExpanded(workflows::StepExpanded): "step.expanded", 3, reacts;
        StepEnded(workflows::StepEnded): "step.ended", 2, reacts;
        UndoBegun(workflows::UndoBegun): "undo.begun", 1, reacts;
        UndoFailed(workflows::UndoFailed): "undo.failed", 2, reacts;
        WaitOpened(workflows::WaitOpened): "wait.opened", 2, reacts;
        WaitMatched(workflows::WaitMatched): "wait.matched", 3, reacts;
        WaitErred(workflows::WaitErred): "wait.erred", 2;
        RerunPlanned(workflows::RerunPlanned): "rerun.planned", 1;
        StepTakenOver(workflows::StepTakenOver): "step.taken_over", 1, reacts_if |fact: &workflows::StepTakenOver| fact.item.is_none();
    }
    /// Facts about inquiries.
    InquiryFact {
        InquiryOpened(inquiries::InquiryOpened): "inquiry.opened", 4, reacts;
        InquiryAnswered(inquiries::InquiryAnswered): "inquiry.answered", 3, reacts_if |fact: &inquiries::InquiryAnswered| fact.verdict.closes();
        InquiryReminded(inquiries::InquiryReminded): "inquiry.reminded", 1, reacts;
        InquiryEscalated(inquiries::InquiryEscalated): "inquiry.escalated", 1, reacts;
        InquiryNotified(inquiries::InquiryNotified): "inquiry.notified", 1;
        InquiryNotificationFailed(inquiries::InquiryNotificationFailed): "inquiry.notification_failed", 3;
        InquiryWithdrawn(inquiries::InquiryWithdrawn): "inquiry.withdrawn", 2;
        InquiryDelegated(inquiries::InquiryDelegated): "inquiry.delegated", 1;
        LinkMinted(inquiries::LinkMinted): "link.minted", 1;
        LinkUsed(inquiries::LinkUsed): "link.used", 1;
    }
    /// Facts about timers.
    TimerFact {
        TimerSet(timers::TimerSet): "timer.set", 2;
        TimerFired(timers::TimerFired): "timer.fired", 2, reacts;
    }
    /// Facts about the schedules of rules and sensors.
    ScheduleFact {
        ScheduleSet(schedule::ScheduleSet): "schedule.set", 1;
        ScheduleMissed(schedule::ScheduleMissed): "schedule.missed", 1;
        ScheduleEnded(schedule::ScheduleEnded): "schedule.ended", 1;
    }
    /// Facts about pulling sensors.
    SensorFact {
        SensorSet(sensors::SensorSet): "sensor.set", 1;
        SensorEnded(sensors::SensorEnded): "sensor.ended", 1;
        SensorModeSet(sensors::SensorModeSet): "sensor.mode_set", 1;
        SensorAdvanced(sensors::SensorAdvanced): "sensor.advanced", 2;
        SensorCursorSet(sensors::SensorCursorSet): "sensor.cursor_set", 1;
        SensorRestarted(sensors::SensorRestarted): "sensor.restarted", 1;
        SensorTested(sensors::SensorTested): "sensor.tested", 1;
        SensorStarted(sensors::SensorStarted): "sensor.started", 1;
        SensorFailed(sensors::SensorFailed): "sensor.failed", 1;
        SensorPartFailed(sensors::SensorPartFailed): "sensor.part_failed", 1;
        SensorPartRecovered(sensors::SensorPartRecovered): "sensor.part_recovered", 1;
    }
    /// Facts about the catalog.
    CatalogFact {
        PackInstalled(catalog::PackInstalled): "pack.installed", 1, reacts;
        PackRemoved(catalog::PackRemoved): "pack.removed", 1, reacts;
        PackPermissionsSet(catalog::PackPermissionsSet): "pack.permissions_set", 1;
    }
    /// Facts about vars.
    VarFact {
        VarSet(vars::VarSet): "var.set", 1;
        VarRemoved(vars::VarRemoved): "var.removed", 1;
    }
    /// Facts about keys, tokens, identities, roles, grants and sessions.
    AccessFact {
        KeySet(access::KeySet): "key.set", 1;
        KeyRemoved(access::KeyRemoved): "key.removed", 1;
        TokenAdded(access::TokenAdded): "token.added", 1;
        TokenRevoked(access::TokenRevoked): "token.revoked", 1;
        TokenLimited(access::TokenLimited): "token.limited", 1;
        TokenRotated(access::TokenRotated): "token.rotated", 1;
        IdentityAdded(access::IdentityAdded): "identity.added", 1;
        IdentityDisabled(access::IdentityDisabled): "identity.disabled", 1;
        IdentityEnabled(access::IdentityEnabled): "identity.enabled", 1;
        IdentityErased(access::IdentityErased): "identity.erased", 1;
        IdentityGroupsSet(access::IdentityGroupsSet): "identity.groups_set", 1;
        IdentityLinked(access::IdentityLinked): "identity.linked", 1;
        IdentityUnlinked(access::IdentityUnlinked): "identity.unlinked", 1;
        IdentityAbsentSet(access::IdentityAbsentSet): "identity.absent_set", 1;
        RoleSet(access::RoleSet): "role.set", 2;
        RoleRemoved(access::RoleRemoved): "role.removed", 1;
        GrantAdded(access::GrantAdded): "grant.added", 2;
        GrantRemoved(access::GrantRemoved): "grant.removed", 1;
        SessionOpened(access::SessionOpened): "session.opened", 2;
        SessionEnded(access::SessionEnded): "session.ended", 1;
        CredentialChanged(access::CredentialChanged): "credential.changed", 1;
        LoginLinkMinted(access::LoginLinkMinted): "login_link.minted", 1;
    }
    /// Facts about the life of keys' values.
    KeyFact {
        KeyRotated(keys::KeyRotated): "key.rotated", 1;
        KeyExpirySet(keys::KeyExpirySet): "key.expiry_set", 1;
        KeyExpiring(keys::KeyExpiring): "key.expiring", 1;
        KeyRevealed(keys::KeyRevealed): "key.revealed", 1;
        MasterKeyRotated(keys::MasterKeyRotated): "master_key.rotated", 1;
    }
    /// Facts about rejected requests, rejected logins, uses of keys, exports and tests of connections.
    AuditFact {
        AccessDenied(audit::AccessDenied): "access.denied", 1;
        LoginRefused(audit::LoginRefused): "login.refused", 1;
        KeyUsed(audit::KeyUsed): "key.used", 1;
        ExportMade(audit::ExportMade): "export.made", 1;
        ConnectionTested(audit::ConnectionTested): "connection.tested", 1;
    }
    /// Facts about dead letters.
    DeadLetterFact {
        DeadLetterRetried(dead_letters::DeadLetterRetried): "dead_letter.retried", 1;
        DeadLetterDismissed(dead_letters::DeadLetterDismissed): "dead_letter.dismissed", 1;
    }
    /// Facts about the log itself.
    HealthFact {
        NodeStarted(health::NodeStarted): "node.started", 1, reacts;
        ClockStepped(health::ClockStepped): "clock.stepped", 1;
        ClockAccepted(health::ClockAccepted): "clock.accepted", 1;
        LogRestored(health::LogRestored): "log.restored", 1;
        ReactionDeferred(health::ReactionDeferred): "reaction.deferred", 1;
        ReactionResumed(health::ReactionResumed): "reaction.resumed", 1;
        ReactionHeld(health::ReactionHeld): "reaction.held", 1, reacts;
        ReactionParked(health::ReactionParked): "reaction.parked", 1, reacts;
        ReactionRetried(health::ReactionRetried): "reaction.retried", 1;
        ReactionDismissed(health::ReactionDismissed): "reaction.dismissed", 1;
    }
}

impl AccessFact<'_> {
    /// Returns true if callers may do less after the fact than before.
    pub fn can_end_rights(self) -> bool {
        match self {
            Self::TokenRevoked(_)
            | Self::TokenLimited(_)
            | Self::TokenRotated(_)
            | Self::IdentityDisabled(_)
            | Self::IdentityErased(_)
            | Self::IdentityGroupsSet(_)
            | Self::IdentityUnlinked(_)
            | Self::IdentityAbsentSet(_)
            | Self::RoleSet(_)
            | Self::RoleRemoved(_)
            | Self::GrantRemoved(_)
            | Self::SessionEnded(_) => true,
            Self::KeySet(_)
            | Self::KeyRemoved(_)
            | Self::TokenAdded(_)
            | Self::IdentityAdded(_)
            | Self::IdentityEnabled(_)
            | Self::IdentityLinked(_)
            | Self::GrantAdded(_)
            | Self::SessionOpened(_)
            | Self::CredentialChanged(_)
            | Self::LoginLinkMinted(_) => false,
        }
    }
}

impl<'a> ExecutionFact<'a> {
    /// Returns how the fact ends its execution, if it does.
    pub fn execution_end(self) -> Option<ExecutionEnd<'a>> {
        if let Milestone::Ended(ended) = self.milestone() { Some(ended) } else { None }
    }

    /// Returns why an execution that is not part of a workflow failed or timed out. Returns `None` for
    /// anything else: a part is handled by its workflow.
    pub fn gave_up(self) -> Option<&'a Failure> {
        let ended =
            self.execution_end().filter(|ended| ended.part_of.is_none() && matches!(ended.how, HowEnded::Failed | HowEnded::TimedOut));
        ended.and_then(|ended| ended.error)
    }

    /// Returns true if the fact ends its execution.
    pub(crate) fn is_end(self) -> bool {
        self.execution_end().is_some()
    }
}

impl Fact {
    /// Returns how the fact ends an execution, if it does.
    pub fn execution_end(&self) -> Option<ExecutionEnd<'_>> {
        if let ByNoun::ExecutionFact(fact) = self.by_noun() { fact.execution_end() } else { None }
    }
}

/// The older schemas in which facts are still written, if what the newer ones added is absent.
const STILL_WRITTEN: [(&str, u16); 36] = [
    ("event.received", 4),
    ("delivery.refused", 2),
    ("delivery.refused", 3),
    ("enforcement.made", 4),
    ("enforcement.made", 5),
    ("execution.requested", 7),
    ("execution.requested", 8),
    ("execution.requested", 9),
    ("execution.requested", 10),
    ("execution.failed", 2),
    ("execution.failed", 3),
    ("execution.failed", 4),
    ("execution.timed_out", 2),
    ("inquiry.opened", 3),
    ("inquiry.answered", 2),
    ("attempt.failed", 3),
    ("attempt.failed", 4),
    ("attempt.reported_late", 1),
    ("step.failed", 1),
    ("step.failed", 2),
    ("step.expanded", 2),
    ("step.ended", 1),
    ("undo.failed", 1),
    ("inquiry.notification_failed", 1),
    ("inquiry.notification_failed", 2),
    ("role.set", 1),
    ("grant.added", 1),
    ("session.opened", 1),
    ("execution.cancelled", 3),
    ("step.skipped", 1),
    ("wait.opened", 1),
    ("wait.matched", 1),
    ("wait.matched", 2),
    ("wait.erred", 1),
    ("inquiry.withdrawn", 1),
    ("sensor.advanced", 1),
];

impl Fact {
    /// Returns the schema in which the fact is written: the oldest that has all of its fields and words, so that an older
    /// release can read it.
    pub fn schema(&self) -> u16 {
        // How many schemas ago a kind of failure could be written: first there was the lack of permission, and then
        // assertions and mapped outputs.
        let age = |error: &Failure| match error.kind {
            FailureKind::Assertion | FailureKind::Output => 0,
            FailureKind::NotPermitted => 1,
            _ => 2,
        };
        let is_permission = |error: &Failure| error.kind == FailureKind::NotPermitted;
        let behind = match self {
            Self::EventReceived(fact) => u16::from(fact.version.is_first()),
            // First a distinct value was added, and then the version of the event.
            Self::EnforcementMade(fact) => match &fact.flow {
                Some(flow) if flow.given.as_ref().is_some_and(|given| !given.version.is_first()) => 0,
                Some(flow) if flow.distinct.is_some() => 1,
                Some(_) | None => 2,
            },
            // First a method and a path were added, and then messages.
            Self::DeliveryRefused(fact) => match &fact.with {
                Some(with) if with.message.is_some() => 0,
                Some(with) if with.is_beyond_post() => 1,
                Some(_) | None => 2,
            },
            // First the scope was added, then the principal, then the link, and then the version of the event.
            Self::ExecutionRequested(fact) if fact.given.as_ref().is_some_and(|given| !given.version.is_first()) => 0,
            Self::ExecutionRequested(fact) => match (&fact.link, &fact.principal, &fact.scope) {
                (Some(_), _, _) => 1,
                (None, Some(_), _) => 2,
                (None, None, Some(_)) => 3,
                (None, None, None) => 4,
            },
            // First the scope was added, and then the kinds of failure.
            Self::ExecutionFailed(fact) => age(&fact.error) + u16::from(age(&fact.error) == 2 && fact.scope.is_none()),
            Self::ExecutionTimedOut(fact) => u16::from(fact.scope.is_none()),
            Self::InquiryOpened(fact) => u16::from(fact.scope.is_none()),
            Self::InquiryAnswered(fact) => u16::from(fact.on_behalf_of.is_none()),
            // First the kinds of failures were added, then the output and further kinds.
            Self::AttemptFailed(fact) if fact.output_tail.is_some() => 0,
            Self::AttemptFailed(fact) => age(&fact.error),
            Self::AttemptReportedLate(fact) => u16::from(fact.error.as_ref().is_none_or(|error| age(error) != 0)),
            Self::StepFailed(fact) => age(&fact.error),
            Self::StepExpanded(fact) => u16::from(fact.fail_at.is_none()),
            Self::StepEnded(fact) => u16::from(!fact.error.as_ref().is_some_and(is_permission)),
            Self::UndoFailed(fact) => u16::from(!is_permission(&fact.error)),
            Self::InquiryNotificationFailed(fact) => age(&fact.error),
            Self::ExecutionCancelled(fact) => u16::from(fact.by.is_none()),
            Self::StepSkipped(fact) => u16::from(fact.because != workflows::SkippedBecause::Event),
            Self::WaitOpened(fact) => u16::from(fact.purpose == workflows::Purpose::Awaited),
            // First the purpose was added, and then the version of the event.
            Self::WaitMatched(fact) if !fact.given.version.is_first() => 0,
            Self::WaitMatched(fact) => 1 + u16::from(fact.purpose == workflows::Purpose::Awaited),
            Self::WaitErred(fact) => u16::from(fact.purpose == workflows::Purpose::Awaited),
            Self::InquiryWithdrawn(fact) => u16::from(fact.by.is_none()),
            Self::RoleSet(fact) => u16::from(!fact.declared),
            Self::GrantAdded(fact) => u16::from(!fact.declared),
            Self::SessionOpened(fact) => u16::from(fact.link.is_none()),
            Self::SensorAdvanced(fact) => u16::from(fact.change.is_none()),
            _ => 0,
        };
        self.newest_schema() - behind
    }
}

/// A conversion from one schema to the next: pure, from JSON to JSON.
type Upcast = fn(Value) -> Value;

/// All conversions: `(kind, from schema, conversion)`. A conversion is permanent, like its golden file.
const UPCASTS: &[(&str, u16, Upcast)] = &[
    // Before workflows, an execution could not be part of anything.
    ("execution.requested", 1, as_it_is),
    ("execution.succeeded", 1, as_it_is),
    ("execution.failed", 1, as_it_is),
    ("execution.timed_out", 1, as_it_is),
    ("execution.cancelled", 1, as_it_is),
    // Before schedules, all rules of a trigger judged each of its events, and only executions had timers.
    ("event.received", 1, as_it_is),
    // Before vars, all rules judged an event before it was in the log.
    ("event.received", 2, as_it_is),
    ("timer.set", 1, as_it_is),
    ("timer.fired", 1, as_it_is),
    // Before flow control, each match was acted on immediately.
    ("enforcement.made", 1, as_it_is),
    // Before retries of deliveries, only the body of a refused delivery was kept.
    ("delivery.refused", 1, as_it_is),
    // Before webhooks had methods and paths, each delivery was a POST.
    ("delivery.refused", 2, as_it_is),
    // Before refused messages could be retried, only their bodies were kept.
    ("delivery.refused", 3, as_it_is),
    // Before reruns, nothing was taken over.
    ("execution.requested", 2, as_it_is),
    ("step.expanded", 1, as_it_is),
    // Before locks, nothing delayed a start, and each match that got this far was executed.
    ("execution.requested", 3, as_it_is),
    ("execution.cancelled", 2, as_it_is),
    ("enforcement.made", 2, as_it_is),
    ("enforcement.released", 1, as_it_is),
    // Before there were several queues, all executions waited in one.
    ("execution.requested", 4, as_it_is),
    // Before the engine itself asked questions, only actions did.
    ("inquiry.opened", 1, as_it_is),
    // Before labels, executions had none.
    ("execution.requested", 5, as_it_is),
    // Before the engine's own triggers, none of them had an event above anything.
    ("event.received", 3, as_it_is),
    ("enforcement.made", 3, as_it_is),
    ("execution.requested", 6, as_it_is),
    // Before digests could be required, no inquiry required one, and no answer recorded it.
    ("inquiry.opened", 2, as_it_is),
    ("inquiry.answered", 1, as_it_is),
    // Before scopes were recorded, the action of an execution alone said its scope, and its end and its inquiries
    // had none.
    ("execution.requested", 7, as_it_is),
    ("execution.failed", 2, as_it_is),
    ("execution.timed_out", 2, as_it_is),
    ("inquiry.opened", 3, as_it_is),
    // Before delegation, everybody answered for themselves.
    ("inquiry.answered", 2, as_it_is),
    // Before principals, the steps of workflows did not record theirs, and nothing failed for lack of permission.
    ("execution.requested", 8, as_it_is),
    ("execution.failed", 3, as_it_is),
    ("attempt.failed", 3, as_it_is),
    ("step.failed", 1, as_it_is),
    ("step.ended", 1, as_it_is),
    ("undo.failed", 1, as_it_is),
    ("inquiry.notification_failed", 1, as_it_is),
    // Before links to inquiries, no notification had a place for one.
    ("execution.requested", 9, as_it_is),
    // Before the settings declared roles and grants, people made all of them.
    ("role.set", 1, as_it_is),
    ("grant.added", 1, as_it_is),
    // Before windows of different values, no match had one.
    ("enforcement.made", 4, as_it_is),
    // Before failures kept the end of the output, it was only in the store of outputs.
    // Before assertions, mapped outputs and tolerated failures of items, no fact had them.
    ("execution.failed", 4, as_it_is),
    ("attempt.failed", 4, as_it_is),
    ("attempt.reported_late", 1, as_it_is),
    ("step.failed", 2, as_it_is),
    ("step.expanded", 2, as_it_is),
    ("inquiry.notification_failed", 2, as_it_is),
    // Before `cancel_when`, no event canceled a step.
    ("execution.cancelled", 3, as_it_is),
    ("step.skipped", 1, as_it_is),
    ("wait.opened", 1, as_it_is),
    ("wait.matched", 1, as_it_is),
    ("wait.erred", 1, as_it_is),
    ("inquiry.withdrawn", 1, as_it_is),
    // Before triggers had versions, all payloads were of the first.
    ("event.received", 4, as_it_is),
    ("enforcement.made", 5, as_it_is),
    ("execution.requested", 10, as_it_is),
    ("wait.matched", 2, as_it_is),
    // Previously, `Retry-After` was ignored.
    ("attempt.failed", 1, as_it_is),
    // Before the end of an attempt had its own time, the record's time counted, and only the node's log said
    // why an attempt was lost.
    ("attempt.succeeded", 1, as_it_is),
    ("attempt.failed", 2, as_it_is),
    ("attempt.lost", 1, as_it_is),
    // Before login links were recorded, no session named the one that opened it.
    ("session.opened", 1, as_it_is),
    // Before changes of cursors, each was recorded whole.
    ("sensor.advanced", 1, as_it_is),
];

/// Returns the fact unchanged: the newer schema only adds fields, all of which are optional.
fn as_it_is(fact: Value) -> Value {
    fact
}

fn upcast(kind: &'static str, from: u16, to: u16, json: Value) -> Result<Value, FactError> {
    upcast_by(UPCASTS, kind, from, to, json)
}

fn upcast_by(steps: &[(&str, u16, Upcast)], kind: &'static str, from: u16, to: u16, mut json: Value) -> Result<Value, FactError> {
    for schema in from..to {
        let (_, _, step) = steps
            .iter()
            .find(|(of, at, _)| *of == kind && *at == schema)
            .ok_or_else(|| FactError::Damaged { kind, why: format!("it never had a schema {schema}") })?;
        json = step(json);
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_kind_stops_the_reader() {
        let error = Fact::parse("moon.landed", 1, b"{}").unwrap_err();
        assert!(matches!(error, FactError::UnknownKind(_)), "{error}");
    }

    #[test]
    fn newer_schema_stops_the_reader() {
        let error = Fact::parse("key.set", 2, br#"{"key":"core.k","version":1}"#).unwrap_err();
        assert!(matches!(error, FactError::TooNew { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn old_schema_is_read_step_by_step() {
        let steps: &[(&str, u16, Upcast)] = &[
            ("cat.fed", 2, |mut old| {
                old["grams"] = json!(old["kilos"].as_u64().unwrap_or(0) * 1000);
                old
            }),
            ("cat.fed", 1, |old| json!({ "kilos": old["weight"] })),
        ];
        let read = upcast_by(steps, "cat.fed", 1, 3, json!({ "weight": 2 })).unwrap();
        assert_eq!(read, json!({ "kilos": 2, "grams": 2000 }));
        assert!(upcast_by(steps, "cat.fed", 0, 3, json!({})).is_err());
    }
}
