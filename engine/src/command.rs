//! What is asked of the core, what it is told beside, and what it answers.
//!
//! Commands are made at the edges, which have judged and checked before; the core checks again only what depends on its state.

mod message;
mod refusal;
mod request;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ensue_expression::Document;

pub use message::{Message, Said, SaidArtifact};
pub use refusal::Refusal;
pub use request::{Before, RequestKey, SeenEvent};
pub use settings::{FLOW_KEYS_MAX, Settings, TurnLimits};

use crate::catalog::{Action, Catalog, Catalogs, Mode};
use crate::events::facts::DeliveredWith;
use crate::executions::facts::{Evidence, Failure, GivenEvent, Settlement};
use crate::executions::labels::Labels;
use crate::ids::{AttemptId, EnforcementId, EventId, ExecutionId, Id, InquiryId, RuleId, TokenId};
use crate::locks::facts::Claim;
use crate::names::{ActionRef, KeyRef, PackName, RuleRef, SensorRef, TriggerRef, VarName};
use crate::record::{Actor, Body, BodyHandle, CatalogRevision, Cause, Digest, Draft, Encoding, Head, Position};
use crate::rules::judge::{EventView, Judgement};
use crate::time::Timestamp;
use crate::workflows::elements::Elements;
use crate::workflows::facts::RerunFrom;

/// What someone asks.
#[derive(Clone, Debug)]
pub struct Command {
    /// Who asks.
    pub actor: Actor,
    /// The W3C trace of the request, as `cause.trace` of a record has it.
    pub trace: Option<String>,
    /// What is asked.
    pub ask: Ask,
}

impl Command {
    /// Gives the events that it would put into the log.
    pub fn events(&self) -> &[ObservedEvent] {
        self.ask.events()
    }

    /// Has `change` change each body that it brings: how it is kept, not what it is.
    pub fn change_bodies(&mut self, mut change: impl FnMut(&mut Body)) {
        self.ask.change_bodies(&mut change);
    }

    /// Gives the key under which it was answered before, if it was.
    pub fn request(&self) -> Option<&DedupeKey> {
        if let Ask::Once { request: RequestKey { key, .. }, .. } | Ask::Recall(key) = &self.ask { Some(key) } else { None }
    }
}

impl Ask {
    fn events(&self) -> &[ObservedEvent] {
        match self {
            Ask::Once { ask, .. } | Ask::Check(ask) => ask.events(),
            Ask::ReceiveEvents(events) | Ask::RetryDelivery(RetriedDelivery { events, .. }) => events,
            Ask::ReportAttempt(report) => report.events(),
            Ask::TakeMessage(Message { said: Said::Event(event), .. }) => std::slice::from_ref(event),
            Ask::TakeMessage(Message { said: Said::Progress { .. } | Said::Artifact(_) | Said::Unusable { .. }, .. })
            | Ask::KeepDelivery(_)
            | Ask::DismissLetter { .. }
            | Ask::RequestExecution(_)
            | Ask::RetryExecution(_)
            | Ask::LoseAttempt { .. }
            | Ask::CancelExecution { .. }
            | Ask::CancelInquiry(_)
            | Ask::PauseExecution { .. }
            | Ask::ResumeExecution { .. }
            | Ask::SettleExecution { .. }
            | Ask::AnswerInquiry(_)
            | Ask::ChangePacks { .. }
            | Ask::SetRuleMode { .. }
            | Ask::SetKey { .. }
            | Ask::RemoveKey { .. }
            | Ask::SetVar { .. }
            | Ask::RemoveVar { .. }
            | Ask::AddToken { .. }
            | Ask::RevokeToken { .. }
            | Ask::NoteStart { .. }
            | Ask::NoteClockStep { .. }
            | Ask::AcceptClock
            | Ask::NoteRestore { .. }
            | Ask::FireTimers
            | Ask::StartQueued
            | Ask::RetryReaction { .. }
            | Ask::DismissReaction { .. }
            | Ask::Recall(_) => &[],
        }
    }

    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        match self {
            Ask::Once { ask, .. } | Ask::Check(ask) => ask.change_bodies(change),
            Ask::ReceiveEvents(events) | Ask::RetryDelivery(RetriedDelivery { events, .. }) => {
                events.iter_mut().for_each(|event| change(&mut event.body));
            }
            Ask::ReportAttempt(report) => {
                report.body.iter_mut().for_each(&mut *change);
                report.emitted.iter_mut().for_each(|event| change(&mut event.body));
                report.vars.iter_mut().filter_map(|var| var.value.as_mut()).for_each(change);
            }
            Ask::TakeMessage(message) => match &mut message.said {
                Said::Progress { body, .. } => body.iter_mut().for_each(change),
                Said::Event(event) => change(&mut event.body),
                Said::Artifact(_) | Said::Unusable { .. } => {}
            },
            Ask::SetVar { value, .. } => change(value),
            Ask::KeepDelivery(delivery) => change(&mut delivery.body),
            Ask::RequestExecution(request) | Ask::RetryExecution(request) => {
                change(&mut request.body);
                request.rerun.iter_mut().filter_map(|rerun| rerun.kept.as_mut()).for_each(|(_, list)| change(list));
            }
            Ask::AnswerInquiry(ask) => change(&mut ask.body),
            Ask::SettleExecution { result, .. } => result.iter_mut().for_each(change),
            Ask::ChangePacks { changes, .. } => {
                for pack in changes {
                    if let PackChange::Install { manifest, .. } = pack {
                        change(manifest);
                    }
                }
            }
            Ask::DismissLetter { .. }
            | Ask::LoseAttempt { .. }
            | Ask::CancelExecution { .. }
            | Ask::CancelInquiry(_)
            | Ask::PauseExecution { .. }
            | Ask::ResumeExecution { .. }
            | Ask::SetRuleMode { .. }
            | Ask::SetKey { .. }
            | Ask::RemoveKey { .. }
            | Ask::RemoveVar { .. }
            | Ask::AddToken { .. }
            | Ask::RevokeToken { .. }
            | Ask::NoteStart { .. }
            | Ask::NoteClockStep { .. }
            | Ask::AcceptClock
            | Ask::NoteRestore { .. }
            | Ask::FireTimers
            | Ask::StartQueued
            | Ask::RetryReaction { .. }
            | Ask::DismissReaction { .. }
            | Ask::Recall(_) => {}
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
    /// Take in, once, what had been refused.
    RetryDelivery(RetriedDelivery),
    /// Run again, once, what failed for good.
    RetryExecution(RequestExecution),
    /// Leave a dead letter as it is.
    DismissLetter {
        /// The record of a refused delivery, or the execution.
        of: Id,
    },
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
        /// Why it was given up, where more is known than that its worker is gone.
        error: Option<Failure>,
    },
    /// End an execution.
    CancelExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// Have nothing of an execution start any more until it is resumed.
    PauseExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// Have a paused execution go on.
    ResumeExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// End an inquiry without an answer, as long as it takes one: the execution that it is about is asked to end.
    CancelInquiry(InquiryId),
    /// Say what became of an indeterminate execution.
    SettleExecution {
        /// The execution.
        execution: ExecutionId,
        /// What became of it.
        outcome: Settlement,
        /// Its result, where it succeeded with one.
        result: Option<Body>,
    },
    /// Answer an inquiry.
    AnswerInquiry(InquiryAnswer),
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
    /// Give a var a value.
    SetVar {
        /// The var.
        name: VarName,
        /// The value: JSON, and not null.
        value: Body,
        /// As what whoever asks has seen it: it is refused where that is not so any more.
        seen: SeenVar,
    },
    /// Take the value of a var away.
    RemoveVar {
        /// The var.
        name: VarName,
        /// As what whoever asks has seen it: it is refused where that is not so any more.
        seen: SeenVar,
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
    /// The wall clock is right as it stands now: hold no timer for its last step any more.
    AcceptClock,
    /// The log was restored from an older copy: its records up to this head were written once and are missing.
    NoteRestore {
        /// The newest head that is known of the log.
        known: Head,
    },
    /// Fire the timers that are due, and count the errors of rules that are due to be counted.
    FireTimers,
    /// Start who waits in queues of which more may start by now.
    StartQueued,
    /// Do this once under its caller's key: asked again, it is answered as before, and not done.
    Once {
        /// The key, and what is asked under it.
        request: RequestKey,
        /// What is asked.
        ask: Box<Ask>,
    },
    /// Say what was answered to the first request of a key.
    Recall(DedupeKey),
    /// Say whether this would be done, and leave it.
    Check(Box<Ask>),
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
    /// The rule whose schedule it is: no other judges it.
    pub rule: Option<RuleRef>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The W3C trace that it brings itself; without one it stands in its command's.
    pub trace: Option<String>,
    /// The payload, to be kept.
    pub body: Body,
    /// The same payload, to be read.
    pub payload: Document,
    /// The key under which it is accepted once.
    pub dedupe: Option<Dedupe>,
    /// The signed body that it came in, which is accepted once.
    pub signed: Option<SignedBody>,
    /// What the rules make of it.
    pub judgement: Arc<Judgement>,
}

impl ObservedEvent {
    /// Makes one as rules saw and judged it; no sensor saw it, and it has no key.
    pub fn judged(view: &EventView<'_>, judgement: Judgement) -> Self {
        Self {
            id: view.id,
            trigger: view.trigger.clone(),
            source: view.source.to_owned(),
            sensor: None,
            rule: view.only.cloned(),
            occurred_at: view.time,
            trace: None,
            body: Body::json(view.payload.bytes().clone()),
            payload: view.payload.clone(),
            dedupe: None,
            signed: None,
            judgement: Arc::new(judgement),
        }
    }
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

impl Dedupe {
    /// The key of an event that an execution emits. All executions that emit events of a trigger share its keys.
    pub fn of_emission(trigger: &TriggerRef, key: &str, payload: Digest) -> Self {
        let key = DedupeKey { scope: format!("emit/{trigger}"), hash: Digest::of(key.as_bytes()) };
        Self { key, content: payload, conflict: Conflict::IsRepeat }
    }
}

/// A body whose signature was right: the same one is a repeat within [`DEDUPE_MILLIS`], whatever its headers say, as nobody signed those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBody {
    /// The sensor, and the hash of the body.
    pub body: DedupeKey,
    /// Which of the events of its delivery this is, from 0.
    pub index: u32,
}

impl SignedBody {
    /// Returns the key under which this event of the body is remembered: that of the body for its first event.
    pub fn key(&self) -> DedupeKey {
        if self.index == 0 { self.body.clone() } else { self.body.of_event(self.index) }
    }

    /// Returns the keys under which a repeat of this event is found: its own, and that of the body's first event, as another delivery of the
    /// same body may have made fewer events.
    pub fn keys(&self) -> impl Iterator<Item = DedupeKey> {
        let later = (self.index > 0).then(|| self.key());
        later.into_iter().chain([self.body.clone()])
    }
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

impl Seen {
    /// Gives until when is remembered what was seen at a time.
    pub fn until(seen_at: Timestamp) -> Timestamp {
        seen_at.plus_millis(DEDUPE_MILLIS)
    }

    /// Gives when the key was seen: [`DEDUPE_MILLIS`] before it is forgotten.
    pub fn seen_at(&self) -> Timestamp {
        Timestamp::from_micros(self.until.micros().saturating_sub((DEDUPE_MILLIS * 1_000).cast_signed()))
    }
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
    /// What came with it, where it can be delivered again.
    pub with: Option<DeliveredWith>,
}

/// A delivery that was refused, and the events that it makes now.
#[derive(Clone, Debug)]
pub struct RetriedDelivery {
    /// The record of the refusal.
    pub of: Id,
    /// The chain that it stands in.
    pub cause: Cause,
    /// The events; none where nothing of the sensor fits it.
    pub events: Vec<ObservedEvent>,
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
    /// When it may start, not before; a time that has passed is now.
    pub start_at: Option<Timestamp>,
    /// Its labels beside those of its action, which are refused where the action has one of the same name. Of a rerun: those that who asked for
    /// the first one gave; the action's go over them.
    pub labels: Labels,
    /// The execution that is run again by it.
    pub rerun: Option<Box<Rerun>>,
}

/// An execution that has ended, as it is run again.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// The execution.
    pub of: ExecutionId,
    /// The chain that it stands in.
    pub cause: Cause,
    /// The rule that asked for it, where one did.
    pub rule: Option<OfRule>,
    /// The lock of that rule that it had to hold, where it did.
    pub rule_claim: Option<Claim>,
    /// What its rule says of its priority.
    pub priority: Option<i8>,
    /// What of it is run again.
    pub from: RerunFrom,
    /// What had succeeded of it and is taken over: how much, and the list of it, to be kept. None where nothing is.
    pub kept: Option<(u32, Body)>,
}

/// The rule that asked for an execution.
#[derive(Clone, Debug)]
pub struct OfRule {
    /// The rule.
    pub rule: RuleRef,
    /// The event that it decided on.
    pub event: Option<EventId>,
    /// The decision.
    pub enforcement: Option<EnforcementId>,
    /// The event as the steps of the rule see it, where it is made of steps.
    pub given: Option<GivenEvent>,
}

/// An answer to an inquiry that fits what was asked for.
#[derive(Clone, Debug)]
pub struct InquiryAnswer {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The name of the token that answers.
    pub by: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// What its holder was shown; none where that was not said.
    pub digest: Option<Digest>,
    /// The answer, to be kept.
    pub body: Body,
    /// The same, to be read.
    pub answer: Document,
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
    /// How long the other side asks to wait before the next attempt, in milliseconds; only of an attempt that failed.
    pub retry_after_millis: Option<u64>,
    /// The result, or what was given nevertheless.
    pub body: Option<Body>,
    /// The event that the runner `emit` makes; the result names it.
    pub emitted: Option<Box<ObservedEvent>>,
    /// The vars it changes.
    pub vars: Vec<VarChange>,
    /// How long before this report it ended, in milliseconds, if that is noticeable.
    pub ended_before: Option<u64>,
}

impl Report {
    /// The event it emits, if any.
    pub(crate) fn events(&self) -> &[ObservedEvent] {
        self.emitted.as_deref().map_or(&[], std::slice::from_ref)
    }
}

/// As what somebody has seen a var that they change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeenVar {
    /// It does not matter.
    #[default]
    Anyhow,
    /// It had a value, whichever.
    There,
    /// It had no value.
    NotThere,
    /// It had the value of this position.
    At(Position),
}

/// A change of a var.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarChange {
    /// The var.
    pub name: VarName,
    /// Its value: JSON; none where it is to have none any more.
    pub value: Option<Body>,
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

/// The bodies at hand.
pub trait Bodies {
    /// Gives the plain bytes; none where they must be fetched first.
    fn plain(&self, body: &BodyHandle) -> Option<Bytes>;

    /// Gives a body as a value, and as a text what is no JSON; none where it must be fetched first.
    fn document(&self, body: &BodyHandle) -> Option<Document> {
        self.plain(body).as_ref().map(document_of)
    }

    /// Gives the elements of a body that is a list; none where it must be fetched first.
    fn elements(&self, body: &BodyHandle) -> Option<Arc<Elements>> {
        self.plain(body).map(|plain| Arc::new(Elements::of(plain)))
    }

    /// Gives the plain bytes of a body that is kept in another form, for one that was just taken; none where it has to be fetched.
    fn decoded(&self, body: &Body) -> Option<Bytes> {
        match body.encoding {
            Encoding::Raw | Encoding::Json => body.content.clone(),
            Encoding::JsonZstd => None,
        }
    }
}

/// Reads a body; a text that is no JSON is a string.
pub(crate) fn document_of(plain: &Bytes) -> Document {
    Document::parse(plain.clone()).unwrap_or_else(|_| Document::from_value(&String::from_utf8_lossy(plain).into()))
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
    fn plain(&self, _: &BodyHandle) -> Option<Bytes> {
        None
    }
}

impl SeenKeys for Nothing {
    fn seen(&self, _: &DedupeKey) -> Option<Seen> {
        None
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
    Needs(Vec<BodyHandle>),
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
    /// The request was carried out before, and this is what was answered.
    Before(Before),
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
