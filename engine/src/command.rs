//! What is asked of the core, what it is told beside, and what it answers.
//!
//! Commands are made at the edges, which have judged and checked before; the core checks again only what depends on its state.

mod message;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ensue_expression::Document;
use thiserror::Error;

pub use message::{Message, Said, SaidArtifact};

use crate::batch::{TURN_BYTES_MAX, TURN_DRAFTS_MAX};
use crate::catalog::{Action, Catalog, Catalogs, Mode};
use crate::executions::facts::{Evidence, Failure, Settlement};
use crate::ids::{AttemptId, EventId, ExecutionId, RuleId, TokenId};
use crate::names::{ActionRef, KeyRef, PackName, RuleRef, SensorRef, TriggerRef};
use crate::record::{Actor, Body, CatalogRevision, Digest, Draft, Position};
use crate::rules::judge::Judgement;
use crate::time::Timestamp;

/// What someone asks.
#[derive(Clone, Debug)]
pub struct Command {
    /// Who asks.
    pub actor: Actor,
    /// The W3C trace of the request.
    pub trace: Option<String>,
    /// What is asked.
    pub ask: Ask,
}

impl Command {
    /// Gives the events that it would put into the log.
    pub fn events(&self) -> &[ObservedEvent] {
        match &self.ask {
            Ask::ReceiveEvents(events) => events,
            Ask::ReportAttempt(report) => &report.emitted,
            Ask::TakeMessage(Message { said: Said::Event(event), .. }) => std::slice::from_ref(event),
            Ask::TakeMessage(Message { said: Said::Progress { .. } | Said::Artifact(_) | Said::Unusable { .. }, .. })
            | Ask::KeepDelivery(_)
            | Ask::RequestExecution(_)
            | Ask::LoseAttempt { .. }
            | Ask::CancelExecution { .. }
            | Ask::SettleExecution { .. }
            | Ask::ChangePacks { .. }
            | Ask::SetRuleMode { .. }
            | Ask::SetKey { .. }
            | Ask::RemoveKey { .. }
            | Ask::AddToken { .. }
            | Ask::RevokeToken { .. }
            | Ask::NoteStart { .. }
            | Ask::NoteClockStep { .. }
            | Ask::RetryReaction { .. }
            | Ask::DismissReaction { .. } => &[],
        }
    }

    /// Has `change` change each body that it brings: how it is kept, not what it is.
    pub fn change_bodies(&mut self, mut change: impl FnMut(&mut Body)) {
        match &mut self.ask {
            Ask::ReceiveEvents(events) => events.iter_mut().for_each(|event| change(&mut event.body)),
            Ask::ReportAttempt(report) => {
                report.body.iter_mut().for_each(&mut change);
                report.emitted.iter_mut().for_each(|event| change(&mut event.body));
            }
            Ask::TakeMessage(message) => match &mut message.said {
                Said::Progress { body, .. } => body.iter_mut().for_each(change),
                Said::Event(event) => change(&mut event.body),
                Said::Artifact(_) | Said::Unusable { .. } => {}
            },
            Ask::KeepDelivery(delivery) => change(&mut delivery.body),
            Ask::RequestExecution(request) => change(&mut request.body),
            Ask::SettleExecution { result, .. } => result.iter_mut().for_each(change),
            Ask::ChangePacks { changes, .. } => {
                for pack in changes {
                    if let PackChange::Install { manifest, .. } = pack {
                        change(manifest);
                    }
                }
            }
            Ask::LoseAttempt { .. }
            | Ask::CancelExecution { .. }
            | Ask::SetRuleMode { .. }
            | Ask::SetKey { .. }
            | Ask::RemoveKey { .. }
            | Ask::AddToken { .. }
            | Ask::RevokeToken { .. }
            | Ask::NoteStart { .. }
            | Ask::NoteClockStep { .. }
            | Ask::RetryReaction { .. }
            | Ask::DismissReaction { .. } => {}
        }
    }
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Take these events in, all or none.
    ReceiveEvents(Vec<ObservedEvent>),
    /// Keep a delivery that proved who sent it but made no event.
    KeepDelivery(RefusedDelivery),
    /// Run an action.
    RequestExecution(RequestExecution),
    /// An attempt says something while it runs.
    TakeMessage(Message),
    /// An attempt reached its end.
    ReportAttempt(Report),
    /// The worker of an attempt is gone.
    LoseAttempt {
        /// The execution.
        execution: ExecutionId,
        /// The attempt.
        attempt: AttemptId,
        /// What is known of it.
        evidence: Evidence,
    },
    /// End an execution.
    CancelExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// Say what became of an indeterminate execution.
    SettleExecution {
        /// The execution.
        execution: ExecutionId,
        /// What became of it.
        outcome: Settlement,
        /// Its result, where it succeeded with one.
        result: Option<Body>,
    },
    /// Change the catalog to its next revision, all or none.
    ChangePacks {
        /// The revision that the changes were made for.
        base: CatalogRevision,
        /// The changes.
        changes: Vec<PackChange>,
    },
    /// Set what becomes of a rule's matches.
    SetRuleMode {
        /// The rule.
        rule: RuleRef,
        /// Its id.
        rule_id: RuleId,
        /// The mode.
        mode: Mode,
    },
    /// The vault holds a new version of a key: make it the current one.
    SetKey {
        /// The key.
        key: KeyRef,
        /// The version that the vault holds.
        version: u32,
    },
    /// Forget a key.
    RemoveKey {
        /// The key.
        key: KeyRef,
    },
    /// The vault holds the hash of a new token's secret: let its holder in.
    AddToken {
        /// The token's id.
        id: TokenId,
        /// The holder's name.
        name: String,
        /// What the holder may do.
        roles: Vec<String>,
    },
    /// Let the holder of a token in no more.
    RevokeToken {
        /// The token's name.
        name: String,
    },
    /// A node begins to write.
    NoteStart {
        /// The release it runs.
        release: String,
    },
    /// The wall clock moved away from the node's own.
    NoteClockStep {
        /// What the node's own clock said.
        from: Timestamp,
        /// What the wall clock said.
        to: Timestamp,
    },
    /// Try a parked reaction again.
    RetryReaction {
        /// The record it is owed to.
        of: Position,
    },
    /// Give a parked reaction up.
    DismissReaction {
        /// The record it is owed to.
        of: Position,
    },
}

/// An event as an edge observed, checked and judged it.
#[derive(Clone, Debug)]
pub struct ObservedEvent {
    /// Its id: a root's, or derived from the execution that emits it.
    pub id: EventId,
    /// Its kind.
    pub trigger: TriggerRef,
    /// Who observed it.
    pub source: String,
    /// The sensor it came through.
    pub sensor: Option<SensorRef>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The payload, to be kept.
    pub body: Body,
    /// The same payload, to be read.
    pub payload: Document,
    /// The key under which it is accepted once.
    pub dedupe: Option<Dedupe>,
    /// What the rules make of it.
    pub judgement: Arc<Judgement>,
}

/// The key under which an event is accepted once within [`DEDUPE_MILLIS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// The scope and the hash of the key.
    pub key: DedupeKey,
    /// The hash of what came with it, to tell a repeat from another thing under the same key.
    pub content: Digest,
    /// What becomes of another thing under the same key.
    pub conflict: Conflict,
}

/// How long a key is remembered, in milliseconds: 24 hours.
pub const DEDUPE_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// What becomes of another thing under a key that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It is taken for a repeat: a sender's id is trusted more than its bytes.
    IsRepeat,
    /// It is refused.
    IsRefused,
}

/// The name of something that is accepted once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DedupeKey {
    /// Where the key counts: a sensor and trigger, or a caller.
    pub scope: String,
    /// The hash of the key.
    pub hash: Digest,
}

/// Where a key was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The record that has it.
    pub position: Position,
    /// The event that has it.
    pub event: EventId,
    /// The hash of what came with it.
    pub content: Digest,
    /// Until when it is remembered.
    pub until: Timestamp,
}

/// A delivery that made no event.
#[derive(Clone, Debug)]
pub struct RefusedDelivery {
    /// The sensor it came to.
    pub sensor: SensorRef,
    /// The trigger that refused it, where one did.
    pub trigger: Option<TriggerRef>,
    /// Why.
    pub reason: String,
    /// What was delivered.
    pub body: Body,
}

/// An action to run with parameters that fit.
#[derive(Clone, Debug)]
pub struct RequestExecution {
    /// The action's ref.
    pub action: ActionRef,
    /// The action in the catalog of `catalog`.
    pub definition: Arc<Action>,
    /// The catalog in which the parameters were checked.
    pub catalog: CatalogRevision,
    /// The parameters, complete: to be kept.
    pub body: Body,
    /// The same, to be read.
    pub params: Document,
}

/// What a worker says of an attempt's end.
#[derive(Clone, Debug)]
pub struct Report {
    /// The execution.
    pub execution: ExecutionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The fencing token it was given.
    pub token: u64,
    /// How it ended.
    pub outcome: ReportOutcome,
    /// The result, or what was given nevertheless.
    pub body: Option<Body>,
    /// The events it emits.
    pub emitted: Vec<ObservedEvent>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// With a result.
    Succeeded,
    /// Without one.
    Failed(Failure),
}

/// A change of the catalog.
#[derive(Clone, Debug)]
pub enum PackChange {
    /// Install a pack, or put it in the place of its older self.
    Install {
        /// Its name.
        name: PackName,
        /// Its version.
        version: String,
        /// The digest over its files.
        digest: Digest,
        /// Its manifest: the ids of its rules and its configuration.
        manifest: Body,
    },
    /// Remove a pack.
    Remove {
        /// Its name.
        name: PackName,
    },
}

/// What enters the core with each command: the time, and the bits of a root's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time.
    pub time: Timestamp,
    /// Random bits.
    pub entropy: u128,
}

/// What the core may look at beside its state.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The built catalogs.
    pub catalogs: &'a dyn Catalogs,
    /// The bodies at hand.
    pub bodies: &'a dyn Bodies,
    /// The keys that were seen.
    pub seen: &'a dyn SeenKeys,
    /// The judgements that came with the commands of this batch.
    pub judgements: &'a BTreeMap<EventId, Arc<Judgement>>,
    /// What the operator set.
    pub settings: &'a Settings,
}

/// The bodies at hand, by digest.
pub trait Bodies {
    /// Gives the plain bytes; none where they must be fetched first.
    fn plain(&self, digest: &Digest) -> Option<Bytes>;
}

/// The keys that were seen.
pub trait SeenKeys {
    /// Says where the key was seen, by the log or by what is about to be in it.
    fn seen(&self, key: &DedupeKey) -> Option<Seen>;
}

/// No catalogs, no bodies and no keys, for what needs none beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Catalogs for Nothing {
    fn at(&self, _: CatalogRevision) -> Option<Arc<Catalog>> {
        None
    }
}

impl Bodies for Nothing {
    fn plain(&self, _: &Digest) -> Option<Bytes> {
        None
    }
}

impl SeenKeys for Nothing {
    fn seen(&self, _: &DedupeKey) -> Option<Seen> {
        None
    }
}

/// What the operator sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many attempts the node's own workers run at once.
    pub workers: u32,
    /// The name of the node's own workers.
    pub worker: String,
    /// How long a worker's right to an attempt lasts without being renewed, in milliseconds.
    pub lease_millis: u64,
    /// How much work may be open before no more is taken in from outside.
    pub open_work_max: u64,
    /// After how much a turn ends.
    pub turn: TurnLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { workers: 8, worker: "local".into(), lease_millis: 30_000, open_work_max: 100_000, turn: TurnLimits::default() }
    }
}

/// After how much a turn ends; what is over is owed. No operator sets them: they are smaller in tests alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnLimits {
    /// After how many drafts. From 2 on each turn gets on: one says that it goes on with what is owed.
    pub drafts: usize,
    /// After how many bytes of facts and bodies.
    pub bytes: usize,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self { drafts: TURN_DRAFTS_MAX, bytes: TURN_BYTES_MAX }
    }
}

/// What the core makes of a command.
#[derive(Debug)]
pub enum Decision {
    /// These facts, and this answer once they are in the log.
    Done {
        /// What is to be recorded; nothing where the command changes nothing.
        drafts: Vec<Draft>,
        /// What the caller is told.
        answer: Answer,
    },
    /// Not allowed.
    Refused(Refusal),
    /// These bodies must be at hand first.
    Needs(Vec<Digest>),
}

/// What a caller is told once its command is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, or was so already.
    Done,
    /// The events, each new or a repeat.
    Events(Vec<ReceivedEvent>),
    /// The execution was asked for.
    Execution(ExecutionId),
    /// The catalog has this revision.
    Catalog(CatalogRevision),
    /// The report changed nothing: the attempt had been given up, and perhaps a newer one exists.
    ReportedLate,
}

/// An event that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedEvent {
    /// Its id.
    pub id: EventId,
    /// Its kind.
    pub trigger: TriggerRef,
    /// Its place: known once the batch has positions.
    pub position: Position,
    /// Whether it was there before.
    pub novelty: Novelty,
}

/// Whether something was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It is new.
    New,
    /// It was there before.
    Repeat,
}

/// Why a command is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The trigger is not in the catalog any more.
    #[error("there is no trigger `{0}`")]
    NoTrigger(TriggerRef),
    /// The payload does not fit.
    #[error("the payload does not fit the trigger `{trigger}`: {misfits}")]
    PayloadMisfit {
        /// The trigger.
        trigger: TriggerRef,
        /// How.
        misfits: String,
    },
    /// Another event was accepted under the same key.
    #[error("the dedupe key was used {} for another event; a key belongs to one event", place(*position))]
    KeyReused {
        /// Where; 0 for an event of the same command.
        position: Position,
    },
    /// The action is not in the catalog any more.
    #[error("there is no action `{0}`")]
    NoAction(ActionRef),
    /// The parameters do not fit.
    #[error("the parameters do not fit the action `{action}`: {misfits}")]
    ParametersMisfit {
        /// The action.
        action: ActionRef,
        /// How.
        misfits: String,
    },
    /// There is no such execution, or it ended long ago.
    #[error("the execution {0} is not open")]
    NotOpen(ExecutionId),
    /// The attempt does not run, or does not run any more.
    #[error("the attempt {0} does not run any more; nothing more is taken of it")]
    NotRunning(AttemptId),
    /// The attempt has said too much.
    #[error("the attempt {attempt} has made {max} {what} already, which is the most")]
    TooManyMessages {
        /// The attempt.
        attempt: AttemptId,
        /// Of what.
        what: &'static str,
        /// The most.
        max: u32,
    },
    /// The report comes with another token than the attempt has.
    #[error("the token {given} is not that of attempt {attempt}")]
    WrongToken {
        /// The attempt.
        attempt: AttemptId,
        /// The token given.
        given: u64,
    },
    /// The execution is not indeterminate.
    #[error("the execution {0} is not indeterminate; only such a one can be settled")]
    NotIndeterminate(ExecutionId),
    /// The catalog has moved on.
    #[error("the catalog is at revision {now}, the change was made for {base}")]
    CatalogMoved {
        /// The revision now.
        now: CatalogRevision,
        /// The revision the change was made for.
        base: CatalogRevision,
    },
    /// The catalog of a revision is not built.
    #[error("the catalog of revision {0} is not built")]
    NoCatalog(CatalogRevision),
    /// A pack is not installed.
    #[error("there is no pack `{0}`")]
    NoPack(PackName),
    /// A rule is not in the catalog.
    #[error("there is no rule `{0}`")]
    NoRule(RuleRef),
    /// A key has a newer version already.
    #[error("key `{key}` is at version {now} already, {given} was given; set it again")]
    KeyVersion {
        /// The key.
        key: KeyRef,
        /// The version now.
        now: u32,
        /// The version given.
        given: u32,
    },
    /// A key is not set.
    #[error("key `{0}` is not set")]
    NoKey(KeyRef),
    /// A name is taken.
    #[error("there is a token named `{0}` already; revoke it first or choose another name")]
    TokenNameTaken(String),
    /// A token does not exist.
    #[error("there is no token named `{0}`")]
    NoToken(String),
    /// The last token that can make others would be gone.
    #[error("`{0}` is the last token with the role admin; add another first")]
    LastAdmin(String),
    /// No reaction of that record is parked.
    #[error("no reaction of the record at position {0} is parked")]
    NotParked(Position),
    /// Too much work is open.
    #[error("{open} executions are open, {max} is the most: try again later")]
    TooMuchOpen {
        /// How much.
        open: u64,
        /// The most.
        max: u64,
    },
    /// What would be recorded is too large.
    #[error("{0}")]
    TooLarge(String),
    /// A bug of ours stopped the command; nothing was changed.
    #[error("the command stopped at a bug of ours; nothing was changed")]
    Bug(String),
    /// The store did not take what the command would record; nothing was changed.
    #[error("the store refused the command's records: {0}")]
    Unstorable(String),
}

fn place(position: Position) -> String {
    if position == Position::default() { "in the same request".to_owned() } else { format!("at position {position}") }
}
