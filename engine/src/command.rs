//! Commands to the core, the context of a decision, and the answers.
//!
//! The edges create commands after checking and judging their input; the core checks again only what depends
//! on its state.

mod bodies;
mod contents;
mod context;
mod decision;
mod dedupe;
mod message;
mod payload;
mod refusal;
mod request;
mod settings;

pub use bodies::Bodies;
pub(crate) use bodies::document_of;
pub use contents::{
    Admission, AdmittedIdentity, Behalf, ChangedCredential, DeclaredAccess, DeniedRequests, EmittedBefore, InquiryAnswer, IssuerGroups,
    KeyRotation, NewAbsence, NewDelegation, NewGrant, NewLink, NewLoginLink, NewSession, NewToken, ObservedEvent, OfRule, OpenedLink,
    PackChange, PartState, RefusedDelivery, RefusedLogin, Report, ReportOutcome, RequestExecution, Rerun, RetriedDelivery, RotatedToken,
    SeenVar, SensorBatch, SensorParts, UsedKey, VarChange,
};
pub use context::{Context, Moment, Nothing};
pub use decision::{Answer, Decision, Novelty, ReceivedEvent};
pub use dedupe::{Conflict, DEDUPE_MILLIS, Dedupe, DedupeEntry, DedupeKey, SeenKeys, SignedBody};

pub use message::{Message, MessageContent, SaidArtifact};
pub use refusal::Refusal;
pub use request::{FirstAnswer, RequestKey, SeenEvent};
pub use settings::{BATCH_DRAFTS_MAX, BATCH_STEPS_MAX, FLOW_KEYS_MAX, Settings, TURN_BYTES_MAX, TURN_DRAFTS_MAX, TurnLimits};

use crate::access::audit::facts::{ConnectionTested, ExportMade};
use crate::access::facts::{IdentityKind, SessionEnd};
use crate::access::keys::MasterKeyId;
use crate::access::permission::Permission;
use crate::access::state::Standing;
use crate::catalog::Mode;
use crate::command::payload::Payload;
use crate::executions::facts::{Evidence, Failure, Settlement};
use crate::ids::{AttemptId, ExecutionId, GrantId, Id, IdentityId, InquiryId, RuleId, SensorId, SessionId};
use crate::names::{GroupName, IssuerName, KeyRef, RoleName, RuleRef, SensorRef, VarName};
use crate::record::{Actor, Body, CatalogRevision, Digest, Head, Position};
use crate::sensors::cursor::Cursor;
use crate::sensors::facts::{SensorFailed, SensorMode};
use crate::time::Timestamp;

/// A request to the core.
#[derive(Clone, Debug)]
pub struct Command {
    /// The actor that sends it.
    pub actor: Actor,
    /// The W3C trace of the request, as `cause.trace` of a record has it.
    pub trace: Option<String>,
    /// The request.
    pub ask: Ask,
}

impl Command {
    /// Returns the events that it would record.
    pub fn events(&self) -> &[ObservedEvent] {
        self.ask.events()
    }

    /// Applies `change` to each body that it brings. `change` may change how the body is stored, not its
    /// content.
    pub fn change_bodies(&mut self, mut change: impl FnMut(&mut Body)) {
        self.ask.change_bodies(&mut change);
    }

    /// Returns the idempotency key, if the command has one.
    pub fn request(&self) -> Option<&DedupeKey> {
        if let Ask::Once { request: RequestKey { key, .. }, .. } | Ask::Recall(key) = &self.ask { Some(key) } else { None }
    }
}

/// When a request comes into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// Before others: the log itself leads to it, open work waits for it, or it corrects something.
    First,
    /// After those.
    Later,
}

/// Returns the events of a request from the function around it, if its column in the table names them.
macro_rules! return_events {
    ($of:expr, $ask:ident, events) => {
        if let Ask::$ask(of) = $of {
            return of.events();
        }
    };
    ($of:expr, $ask:ident, events $field:ident) => {
        if let Ask::$ask { $field: of, .. } = $of {
            return of.events();
        }
    };
    ($of:expr, $ask:ident, bodies $($field:ident)?) => {};
}

/// Changes the bodies of a request, if its column in the table names them.
macro_rules! change_bodies {
    ($of:expr, $change:expr, $ask:ident, bodies) => {
        if let Ask::$ask(of) = $of {
            of.change_bodies($change);
        }
    };
    ($of:expr, $change:expr, $ask:ident, bodies $field:ident) => {
        if let Ask::$ask { $field: of, .. } = $of {
            of.change_bodies($change);
        }
    };
    ($of:expr, $change:expr, $ask:ident, events $($field:ident)?) => {};
}

/// Declares the requests, each with its precedence. `=> events` and `=> bodies` follow a request that brings events or
/// bodies, with the field that has them if the fields have names.
macro_rules! asks {
    ($($(#[$doc:meta])* $precedence:ident $ask:ident $(($($of:tt)*))? $({ $($fields:tt)* })? $(=> $($column:ident $($field:ident)?)&+)?,)*) => {
        /// The requests that the core accepts.
        #[derive(Clone, Debug)]
        pub enum Ask {
            $($(#[$doc])* $ask $(($($of)*))? $({ $($fields)* })?,)*
        }

        impl Ask {
            /// Returns when it comes into a batch: a request with a key, or a check, like the request in it.
            pub fn precedence(&self) -> Precedence {
                if let Self::Once { ask, .. } | Self::Check(ask) = self {
                    return ask.precedence();
                }
                match self { $(Self::$ask { .. } => Precedence::$precedence,)* }
            }
        }

        impl Payload for Ask {
            fn events(&self) -> &[ObservedEvent] {
                $($($(return_events!(self, $ask, $column $($field)?);)+)?)*
                &[]
            }

            fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
                $($($(change_bodies!(self, change, $ask, $column $($field)?);)+)?)*
            }
        }
    };
}

asks! {
    /// Accept these events, all or none.
    Later ReceiveEvents(Vec<ObservedEvent>) => events & bodies,
    /// Keep a delivery that was verified but created no event.
    Later KeepDelivery(RefusedDelivery) => bodies,
    /// Accept a refused delivery after all, once.
    Later RetryDelivery(RetriedDelivery) => events & bodies,
    /// Rerun an execution that failed permanently, once.
    Later RetryExecution(RequestExecution) => bodies,
    /// Dismiss a dead letter.
    First DismissDeadLetter {
        /// The record of the refused delivery, or the execution.
        of: Id,
    },
    /// Run an action.
    Later RequestExecution(RequestExecution) => bodies,
    /// Record a message of a running attempt. A worker offers again the messages that were not taken, and skips those
    /// that are outdated by then.
    Later TakeMessage(Message) => events & bodies,
    /// Record the end of an attempt.
    First ReportAttempt(Report) => events & bodies,
    /// Record that the worker of an attempt is gone.
    First LoseAttempt {
        /// The execution.
        execution: ExecutionId,
        /// The attempt.
        attempt: AttemptId,
        /// The evidence of how far it got.
        evidence: Evidence,
        /// Why the attempt was given up, if more is known than that its worker is gone.
        error: Option<Failure>,
    },
    /// Cancel an execution.
    First CancelExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// Pause an execution: nothing of it starts until it is resumed.
    First PauseExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// Resume a paused execution.
    First ResumeExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// End an inquiry without an answer while it is open: the execution that it is about is asked to end.
    First CancelInquiry(InquiryId),
    /// Settle an indeterminate execution.
    First SettleExecution {
        /// The execution.
        execution: ExecutionId,
        /// What happened to it.
        outcome: Settlement,
        /// Its result, if it succeeded with one.
        result: Option<Body>,
    } => bodies result,
    /// Answer an inquiry.
    First AnswerInquiry(InquiryAnswer) => bodies,
    /// Let another identity answer an inquiry on behalf of an assignee.
    First DelegateInquiry(NewDelegation),
    /// Change the catalog to its next revision, all or none.
    Later ChangePacks {
        /// The revision that the changes are based on.
        base: CatalogRevision,
        /// The changes.
        changes: Vec<PackChange>,
    } => bodies changes,
    /// Set the mode of a rule.
    First SetRuleMode {
        /// The rule.
        rule: RuleRef,
        /// Its id.
        rule_id: RuleId,
        /// The mode.
        mode: Mode,
    },
    /// Take what a run of a pulling sensor has read: its events, its refused messages and its cursor, all or none.
    Later TakeSensorBatch(SensorBatch) => events & bodies,
    /// Record that a run of a pulling sensor works.
    First NoteSensorStarted {
        /// The sensor.
        sensor: SensorId,
        /// The run.
        run: u64,
        /// The release of the node.
        release: String,
    },
    /// Record that a run of a pulling sensor failed.
    First NoteSensorFailed(SensorFailed),
    /// Record which parts of what a run reads began to fail, and which work again.
    First NoteSensorParts(SensorParts),
    /// Set whether a pulling sensor runs.
    First SetSensorMode {
        /// The sensor.
        sensor: SensorRef,
        /// The mode.
        mode: SensorMode,
    },
    /// Set the cursor of a pulling sensor.
    First SetSensorCursor {
        /// The sensor.
        sensor: SensorRef,
        /// The cursor; `None` for the beginning.
        cursor: Option<Cursor>,
    },
    /// Set the cursor of a pulling sensor to the end of its source, unless it has moved since the end was looked for.
    First SkipSensor {
        /// The sensor.
        sensor: SensorRef,
        /// The digest of the cursor at that time; `None` if there was none.
        after: Option<Digest>,
        /// The end.
        cursor: Cursor,
    },
    /// Begin a new run of a pulling sensor.
    First RestartSensor {
        /// The sensor.
        sensor: SensorRef,
    },
    /// Record that a pulling sensor is about to be tested.
    First NoteSensorTest {
        /// The sensor.
        sensor: SensorRef,
    },
    /// Make a new version of a key, which is already in the vault, the current one.
    Later SetKey {
        /// The key.
        key: KeyRef,
        /// The version in the vault.
        version: u32,
        /// When the version expires.
        expires_at: Option<Timestamp>,
    },
    /// Make a new version of a key, which is already in the vault, the current one, and accept the version
    /// before it for a while.
    Later RotateKey(KeyRotation),
    /// Record that a version of a key is shown.
    Later RevealKey {
        /// The key.
        key: KeyRef,
        /// The version.
        version: u32,
    },
    /// Remove a key.
    First RemoveKey {
        /// The key.
        key: KeyRef,
    },
    /// Record that all values of the vault are sealed under another master key.
    First NoteMasterKey {
        /// The master key before.
        from: MasterKeyId,
        /// The master key now.
        to: MasterKeyId,
    },
    /// Set a var.
    Later SetVar {
        /// The var.
        name: VarName,
        /// The value: JSON, and not null.
        value: Body,
        /// The var as the caller last saw it. The command is refused if the var has changed since.
        seen: SeenVar,
    } => bodies value,
    /// Remove a var.
    First RemoveVar {
        /// The var.
        name: VarName,
        /// The var as the caller last saw it. The command is refused if the var has changed since.
        seen: SeenVar,
    },
    /// Add a token. The hash of its secret is already in the vault.
    Later AddToken(NewToken),
    /// Replace a token with a successor. The hash of its secret is already in the vault.
    Later RotateToken(RotatedToken),
    /// Revoke a token, and those that it replaced.
    First RevokeToken {
        /// The token's name.
        name: String,
    },
    /// Add an identity. Its name is already in the vault.
    Later AddIdentity {
        /// The identity.
        id: IdentityId,
        /// What it is.
        kind: IdentityKind,
        /// Its groups.
        groups: Vec<GroupName>,
    },
    /// Set the groups of an identity.
    First SetIdentityGroups {
        /// The identity.
        id: IdentityId,
        /// All of its groups.
        groups: Vec<GroupName>,
    },
    /// Disable or enable an identity.
    First SetIdentityStanding {
        /// The identity.
        id: IdentityId,
        /// Whether its credentials are accepted.
        standing: Standing,
    },
    /// Set when an identity is absent, and who answers inquiries in its place.
    First SetAbsence(NewAbsence),
    /// Open a session. The hash of its secret is already in the vault.
    Later OpenSession(NewSession),
    /// Record that an identity proves who it is by something new. A new password ends its sessions.
    Later ChangeCredential(ChangedCredential),
    /// Create a link with which one person answers one inquiry.
    Later MintLink(NewLink),
    /// Create a link that opens one session with the rights of a token.
    Later MintLoginLink(NewLoginLink),
    /// End sessions.
    First EndSessions {
        /// The sessions; those that are not open stay as they are.
        sessions: Vec<SessionId>,
        /// Why they end.
        reason: SessionEnd,
    },
    /// Erase an identity, with its tokens, its sessions and the grants to it.
    First EraseIdentity(IdentityId),
    /// Let an identity in that an issuer admits: add it if it is new, and set its groups of this issuer.
    First AdmitIdentity(AdmittedIdentity),
    /// Let an issuer be a way in for an identity. The identity's name at the issuer is already in the vault.
    Later LinkIdentity {
        /// The identity.
        id: IdentityId,
        /// The issuer.
        issuer: IssuerName,
    },
    /// End that an issuer is a way in for an identity.
    First UnlinkIdentity {
        /// The identity.
        id: IdentityId,
        /// The issuer.
        issuer: IssuerName,
    },
    /// Set the permissions of a role that is not built in.
    Later SetRole {
        /// The role.
        name: RoleName,
        /// All of its permissions.
        permissions: Vec<Permission>,
    },
    /// Remove a role that nobody has.
    First RemoveRole(RoleName),
    /// Grant a role.
    Later AddGrant(NewGrant),
    /// Set the roles and grants that the settings of the node declare, and remove those that left them.
    First DeclareAccess(DeclaredAccess),
    /// Remove a grant.
    First RemoveGrant(GrantId),
    /// Record requests that were rejected for a missing permission.
    Later NoteDenied(Vec<DeniedRequests>),
    /// Record logins that were rejected.
    Later NoteRefusedLogins(Vec<RefusedLogin>) => bodies,
    /// Record that the caller has received a list as a whole.
    Later NoteExport(ExportMade),
    /// Record that the caller had a connection tested.
    Later NoteConnectionTest(ConnectionTested),
    /// Record that attempts were given keys.
    Later NoteKeyUses(Vec<UsedKey>),
    /// Record that a node starts to write.
    First NoteStart {
        /// The release it runs.
        release: String,
    },
    /// Record that the wall clock moved away from the node's own clock.
    First NoteClockStep {
        /// The time by the node's own clock.
        from: Timestamp,
        /// The time by the wall clock.
        to: Timestamp,
    },
    /// Accept the wall clock as it is now: stop holding timers for its last step, and let credentials that had ended before it
    /// was set back follow it.
    First AcceptClock,
    /// Record that the log was restored from an older copy: the records up to this head were written once and
    /// are missing.
    First NoteRestore {
        /// The newest known head of the log.
        known: Head,
    },
    /// Fire the timers that are due, and count the rule errors whose count is due.
    First FireTimers,
    /// Start waiting executions in queues that now have room.
    First StartQueued,
    /// Carry out the request once for this key. A repeat gets the same answer, and changes nothing.
    Later Once {
        /// The key, and the hash of the request.
        request: RequestKey,
        /// The request.
        ask: Box<Ask>,
    } => events ask & bodies ask,
    /// Return the answer to the first request with a key.
    Later Recall(DedupeKey),
    /// Check whether this would be carried out, without doing it.
    Later Check(Box<Ask>) => events & bodies,
    /// Retry a parked reaction.
    First RetryReaction {
        /// The record it is owed to.
        of: Position,
    },
    /// Dismiss a parked reaction.
    First DismissReaction {
        /// The record it is owed to.
        of: Position,
    },
}
