//! The core: decides, folds and reacts. It only hands on to the nouns.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::access::decide as access;
use crate::access::state::Access;
use crate::catalog::decide as catalog;
use crate::catalog::state::InstalledPacks;
use crate::command::{Answer, Ask, Before, Command, Context, Decision, Moment, Refusal};
use crate::effect::Effect;
use crate::events::{decide as events, own, react as event_reactions};
use crate::executions::facts::Pace;
use crate::executions::state::{Executions, Phase};
use crate::executions::{decide as executions, messages, pausing, react as execution_reactions};
use crate::fact::{ByNoun, CatalogFact, EventFact, Fact, HealthFact, RuleFact};
use crate::health::decide as health;
use crate::health::state::Health;
use crate::ids::{ExecutionId, LogId};
use crate::inquiries::state::Inquiries;
use crate::inquiries::{decide as inquiries, react as inquiry_reactions};
use crate::letters::decide as letters;
use crate::letters::state::Letters;
use crate::locks::state::Locks;
use crate::mutants;
use crate::record::{Actor, BodyHandle, CatalogRevision, Draft, Position, Record, Revision, StreamId};
use crate::rules::decide as rules;
use crate::rules::flow::{self, state::Flows};
use crate::rules::state::Rules;
use crate::schedule::react::{self as schedules, Changed};
use crate::schedule::state::Schedules;
use crate::table::Table;
use crate::time::Timestamp;
use crate::timers::state::{TimerOwner, Timers};
use crate::timers::{decide as timers, react as timer_reactions};
use crate::vars::decide as vars;
use crate::vars::state::Vars;
use crate::workflows::react as step_reactions;
use crate::workflows::state::Workflows;

/// The form that [`Engine::save`] writes and reads. A state of another form is rebuilt from the log: older forms lack which worker
/// an attempt was given to.
pub const STATE_FORMAT: u32 = 7;

/// The state of one log, and what it makes of commands and records.
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    log: LogId,
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// The newest record that is folded in, under the only key 0: its place and time.
    newest: Table<u8, (Position, Timestamp)>,
    /// How many records each stream has that may get more.
    streams: Table<StreamId, Revision>,
    packs: InstalledPacks,
    rules: Rules,
    executions: Executions,
    workflows: Workflows,
    inquiries: Inquiries,
    timers: Timers,
    schedules: Schedules,
    flows: Flows,
    locks: Locks,
    vars: Vars,
    access: Access,
    letters: Letters,
    health: Health,
}

/// A state in its versioned form: JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// The form's version.
    pub format: u32,
    /// The state.
    pub json: Bytes,
}

/// Why a saved state cannot be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The form is another release's.
    #[error("the state has form {0}, this release reads {STATE_FORMAT}")]
    Format(u32),
    /// The form is right, the content is not.
    #[error("the state is damaged: {0}")]
    Damaged(String),
}

/// What follows from a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Reaction {
    /// These facts, and then perhaps more.
    Drafts {
        /// The facts.
        drafts: Vec<Draft>,
        /// Whether the record has a next consequence.
        then: Then,
        /// How many steps the rules took that were judged for it.
        steps: u64,
    },
    /// These bodies must be at hand first.
    Needs(Vec<BodyHandle>),
    /// This execution is paused, and what follows waits until it is resumed.
    Held(ExecutionId),
    /// What should follow cannot be worked out; the reaction is put aside.
    Impossible(String),
}

/// Whether a record has a next consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// This was all.
    Nothing,
    /// The next one is to be asked for.
    More,
    /// This one is to be asked for: those before it are done with.
    From(u32),
}

impl Reaction {
    /// Nothing follows.
    pub(crate) fn nothing() -> Self {
        Self::last(Vec::new())
    }

    /// This follows, and nothing more.
    pub(crate) fn last(drafts: Vec<Draft>) -> Self {
        Self::Drafts { drafts, then: Then::Nothing, steps: 0 }
    }

    /// This follows, and then the consequences from `next` on are to be asked for.
    pub(crate) fn from(drafts: Vec<Draft>, next: u32) -> Self {
        Self::Drafts { drafts, then: Then::From(next), steps: 0 }
    }

    /// This follows, and the next consequence is to be asked for.
    pub(crate) fn more(drafts: Vec<Draft>) -> Self {
        Self::Drafts { drafts, then: Then::More, steps: 0 }
    }

    /// Returns the same, with the steps that rules took which were judged for it.
    pub(crate) fn taking(mut self, taken: u64) -> Self {
        if let Self::Drafts { steps, .. } = &mut self {
            *steps += taken;
        }
        self
    }
}

impl State {
    /// Lets an execution take the locks that it has to hold, wait for them, or let them go, as it stands after a record.
    fn settle_locks(&mut self, record: &Record) {
        let StreamId::Execution(id) = record.stream else { return };
        match &record.fact {
            Fact::ExecutionRequested(fact) if !fact.locks.is_empty() => self.locks.enroll(id, fact, record.position),
            Fact::LockAwaited(_) => self.locks.tell(id),
            Fact::LockAcquired(fact) => self.locks.acquire(id, &fact.lock, record.position),
            _ => {}
        }
        if self.locks.claimant(&id).is_none() {
            return;
        }
        match self.executions.get(&id).map(|execution| execution.phase) {
            None => self.locks.release(id),
            Some(Phase::Withdrawn) => self.locks.wait_no_more(id),
            // It takes its place when its moment has come; what is tried again has its locks.
            Some(Phase::Delayed) => {}
            Some(Phase::Blocked) if self.locks.begin(id, record.position) => self.executions.unblock(&id, record.time),
            Some(Phase::Blocked) => {}
            Some(_) if self.locks.begin(id, record.position) => {}
            Some(_) => self.executions.block(&id),
        }
    }

    /// Puts aside what stands below a paused execution, and takes back what does so no more.
    fn settle_pauses(&mut self, record: &Record) {
        let StreamId::Execution(of) = record.stream else { return };
        let changed = self.executions.apply_pause(record);
        if let Some(changed) = changed.filter(|changed| !self.executions.is_paused(changed)) {
            self.health.release(changed);
        }
        if changed.is_some() {
            let open: Vec<ExecutionId> = self.executions.iter().map(|(id, _)| *id).collect();
            open.iter().for_each(|id| self.settle_pause(id));
        } else if self.executions.has_paused() {
            self.settle_pause(&of);
        }
    }

    fn settle_pause(&mut self, id: &ExecutionId) {
        let owner = TimerOwner::Execution(*id);
        if self.executions.held_by(id, &self.workflows).is_some() {
            self.executions.set_aside(id);
            self.locks.set_aside(*id);
            self.timers.set_aside(owner);
        } else {
            self.executions.put_back(id);
            self.locks.put_back(*id);
            self.timers.put_back(owner);
        }
    }
}

impl Engine {
    /// Makes the state of an empty log.
    pub fn new(log: LogId) -> Self {
        Self { log, state: State::default() }
    }

    /// Says what `command` changes, or why it is refused, or which bodies it must see first. Changes nothing.
    pub fn decide(&self, command: &Command, at: &Moment, with: &Context<'_>) -> Decision {
        let mut decision = self.decide_on(&command.ask, command, at, with);
        if let Decision::Done { drafts, .. } = &mut decision {
            let told = own::telling_of(self, drafts, None, at, with);
            drafts.extend(told);
        }
        decision
    }

    fn decide_on(&self, ask: &Ask, command: &Command, at: &Moment, with: &Context<'_>) -> Decision {
        let actor = &command.actor;
        let trace = command.trace.as_deref();
        match ask {
            Ask::Once { request, ask } => match Before::find(self.log, &request.key, at, with.seen) {
                Some(_) if mutants::is("request carried out again") => self.decide_on(ask, command, at, with),
                Some(before) if before.content != request.content => {
                    Decision::Refused(Refusal::RequestDiffers { position: before.position })
                }
                Some(before) => Decision::Done { drafts: Vec::new(), answer: Answer::Before(before) },
                None => self.decide_on(ask, command, at, with),
            },
            // What it would change is looked at, and left, by who makes the batch.
            Ask::Check(ask) => self.decide_on(ask, command, at, with),
            Ask::Recall(key) => {
                let answer = Before::find(self.log, key, at, with.seen).map_or(Answer::Done, Answer::Before);
                Decision::Done { drafts: Vec::new(), answer }
            }
            Ask::ReceiveEvents(list) => events::receive_all(self, actor, trace, list, at, with),
            Ask::KeepDelivery(delivery) => events::keep_delivery(actor, trace, delivery),
            Ask::RetryDelivery(retried) => letters::retry(self, actor, trace, retried, at, with),
            Ask::RetryExecution(ask) => letters::rerun(self, at, actor, trace, ask, with),
            Ask::DismissLetter { of } => letters::dismiss(self, actor, *of),
            Ask::RequestExecution(ask) => executions::request(self, at, actor, trace, ask, with),
            Ask::TakeMessage(message) => messages::take(self, actor, message, at, with),
            Ask::ReportAttempt(report) => executions::report(self, actor, report, at, with),
            Ask::LoseAttempt { execution, attempt, evidence, error } => {
                executions::lose(self, actor, *execution, *attempt, *evidence, error.clone())
            }
            Ask::CancelExecution { execution } => executions::cancel(self, actor, trace, *execution),
            Ask::CancelInquiry(inquiry) => inquiries::cancel(self, actor, trace, *inquiry),
            Ask::PauseExecution { execution } => pausing::pause(self, actor, trace, *execution),
            Ask::ResumeExecution { execution } => pausing::resume(self, actor, trace, *execution),
            Ask::SettleExecution { execution, outcome, result } => executions::settle(self, actor, *execution, outcome, result.as_ref()),
            Ask::AnswerInquiry(ask) => inquiries::answer(self, actor, trace, ask),
            Ask::ChangePacks { base, changes } => catalog::change(self, actor, *base, changes),
            Ask::SetRuleMode { rule, rule_id, mode } => rules::set_mode(actor, rule, *rule_id, *mode),
            Ask::SetKey { key, version } => access::set_key(self, actor, key, *version),
            Ask::RemoveKey { key } => access::remove_key(self, actor, key),
            Ask::SetVar { name, value, seen } => vars::set(self, actor, trace, (name, value), *seen),
            Ask::RemoveVar { name, seen } => vars::remove(self, actor, trace, name, *seen),
            Ask::AddToken { id, name, roles } => access::add_token(self, actor, *id, name, roles),
            Ask::RevokeToken { name } => access::revoke_token(self, actor, name),
            Ask::NoteStart { release } => health::note_start(self, actor, release),
            Ask::NoteClockStep { from, to } => health::note_clock_step(self, actor, *from, *to),
            Ask::AcceptClock => health::accept_clock(self, actor, at.time),
            Ask::NoteRestore { known } => health::note_restore(self, actor, *known),
            Ask::FireTimers => timers::fire(self, actor, at),
            Ask::StartQueued => execution_reactions::start_queued(self, with),
            Ask::RetryReaction { of } => health::retry_reaction(self, actor, *of),
            Ask::DismissReaction { of } => health::dismiss_reaction(self, actor, *of),
        }
    }

    /// Folds one record into the state. The only place where state changes. It never fails on a valid log, and can be taken back
    /// until [`commit`](Self::commit): who folds many records commits now and then.
    pub fn apply(&mut self, record: &Record) {
        let state = &mut self.state;
        state.newest.insert(0, (record.position, record.time));
        match &record.stream {
            // This stream has one record and never gets another.
            StreamId::Event(_) => {}
            // This one only while it is held.
            StreamId::Enforcement(id) => state.flows.note(*id, record.revision),
            stream => state.streams.insert(stream.clone(), record.revision),
        }
        match record.fact.by_noun() {
            ByNoun::EventFact(fact) => {
                state.rules.apply_event(record, fact);
                state.letters.apply_event(record, fact);
            }
            ByNoun::RuleFact(fact) => {
                state.rules.apply(record, fact, &state.health);
                if let RuleFact::EnforcementMade(made) = fact {
                    state.flows.apply_made(record, made, &state.timers);
                }
            }
            ByNoun::FlowFact(fact) => {
                state.flows.apply(record, fact, &state.timers);
                if fact.ends_a_hold() {
                    state.timers.forget_all(&record.stream);
                }
            }
            ByNoun::ExecutionFact(fact) => {
                state.workflows.apply_execution(record, fact, &state.executions);
                state.executions.apply(record, fact);
                state.letters.apply_execution(record, fact);
                if fact.is_end() {
                    state.timers.forget_all(&record.stream);
                    state.inquiries.forget(&record.stream);
                    state.streams.remove(&record.stream);
                }
            }
            ByNoun::StepFact(fact) => {
                state.workflows.apply_step(record, fact);
                state.executions.apply_step(fact);
            }
            ByNoun::InquiryFact(fact) => {
                state.inquiries.apply(record, fact);
                state.executions.apply_inquiry(record, fact);
            }
            ByNoun::TimerFact(fact) => {
                state.timers.apply(record, fact);
                state.schedules.apply_timer(record, fact);
                state.workflows.apply_timer(record, fact, &state.executions);
                state.executions.apply_timer(record, fact);
            }
            ByNoun::ScheduleFact(fact) => {
                state.schedules.apply(fact);
                state.timers.apply_schedule(fact);
            }
            ByNoun::CatalogFact(fact) => state.packs.apply(record, fact),
            ByNoun::VarFact(fact) => state.vars.apply(record, fact),
            ByNoun::AccessFact(fact) => state.access.apply(fact),
            ByNoun::LetterFact(fact) => state.letters.apply(fact),
            ByNoun::HealthFact(fact) => {
                state.health.apply(record, fact);
                state.timers.apply_clock(record, fact);
                state.executions.apply_health(record, fact);
            }
        }
        state.settle_locks(record);
        state.settle_pauses(record);
    }

    /// Says what follows from a record that is folded already: its `next`-th consequence, with the events that tell of it.
    pub fn react(&self, record: &Record, next: u32, at: &Moment, with: &Context<'_>) -> Reaction {
        let mut reaction = self.following(record, next, at, with);
        if let Reaction::Drafts { drafts, .. } = &mut reaction {
            let told = own::telling_of(self, drafts, Some(record), at, with);
            drafts.extend(told);
        }
        reaction
    }

    fn following(&self, record: &Record, next: u32, at: &Moment, with: &Context<'_>) -> Reaction {
        // Who waits for a worker starts whatever is paused.
        if let Some(by) = pausing::holds_up(self, record).filter(|_| next < u32::MAX) {
            return Reaction::Held(by);
        }
        match record.fact.by_noun() {
            ByNoun::EventFact(EventFact::EventReceived(fact)) => event_reactions::react(self, record, fact, next, at, with),
            ByNoun::ExecutionFact(fact) => execution_reactions::react(self, record, fact, next, with),
            ByNoun::StepFact(fact) => step_reactions::react(self, record, fact, next, with),
            ByNoun::InquiryFact(fact) => inquiry_reactions::react(self, record, fact, with),
            ByNoun::TimerFact(fact) => timer_reactions::react(self, record, fact, next, at, with),
            ByNoun::CatalogFact(CatalogFact::PackInstalled(fact)) => self.follow(record, Changed::Pack(&fact.name), with),
            ByNoun::CatalogFact(CatalogFact::PackRemoved(fact)) => self.follow(record, Changed::Pack(&fact.name), with),
            ByNoun::RuleFact(RuleFact::RuleModeSet(fact)) => self.follow(record, Changed::Rule(&fact.rule), with),
            ByNoun::RuleFact(RuleFact::LoopStopped(fact)) => self.follow(record, Changed::Rule(&fact.rule), with),
            ByNoun::HealthFact(HealthFact::NodeStarted(_)) => {
                // More workers than before may stand ready.
                let begun = schedules::at_start(self, record, with).or_else(|| flow::at_start(self, record, with));
                begun.unwrap_or_else(|| execution_reactions::start_waiting(self, record.id, with))
            }
            // What was put aside, or is held, may have left a worker free.
            ByNoun::HealthFact(HealthFact::ReactionParked(_) | HealthFact::ReactionHeld(_)) => {
                execution_reactions::start_waiting(self, record.id, with)
            }
            ByNoun::EventFact(EventFact::DeliveryRefused(_))
            | ByNoun::RuleFact(RuleFact::EnforcementMade(_) | RuleFact::RuleErred(_) | RuleFact::RuleErrorsCounted(_))
            | ByNoun::FlowFact(_)
            | ByNoun::ScheduleFact(_)
            | ByNoun::VarFact(_)
            | ByNoun::AccessFact(_)
            | ByNoun::LetterFact(_)
            | ByNoun::HealthFact(
                HealthFact::ClockStepped(_)
                | HealthFact::ClockAccepted(_)
                | HealthFact::LogRestored(_)
                | HealthFact::ReactionDeferred(_)
                | HealthFact::ReactionResumed(_)
                | HealthFact::ReactionRetried(_)
                | HealthFact::ReactionDismissed(_),
            ) => Reaction::nothing(),
        }
    }

    /// Follows a change of rules and sensors: first the schedules, then what flow control keeps.
    fn follow(&self, record: &Record, changed: Changed<'_>, with: &Context<'_>) -> Reaction {
        match schedules::follow(self, record, changed, with) {
            Reaction::Drafts { drafts, then: Then::Nothing, .. } if drafts.is_empty() => flow::follow(self, record, changed, with),
            Reaction::Drafts { drafts, then: Then::Nothing, .. } => Reaction::more(drafts),
            other => other,
        }
    }

    /// Says what the world owes after a record, the last that was folded.
    pub fn effects_of(&self, record: &Record) -> Vec<Effect> {
        match record.fact.by_noun() {
            ByNoun::ExecutionFact(fact) => self.state.executions.effects_of(record, fact).into_iter().collect(),
            ByNoun::TimerFact(fact) => self.state.executions.effects_of_timer(record, fact).into_iter().collect(),
            ByNoun::EventFact(_)
            | ByNoun::RuleFact(_)
            | ByNoun::FlowFact(_)
            | ByNoun::StepFact(_)
            | ByNoun::InquiryFact(_)
            | ByNoun::ScheduleFact(_)
            | ByNoun::CatalogFact(_)
            | ByNoun::VarFact(_)
            | ByNoun::AccessFact(_)
            | ByNoun::LetterFact(_)
            | ByNoun::HealthFact(_) => Vec::new(),
        }
    }

    /// Says what the world owes the whole state: at a start, the sum of what was owed and not yet settled.
    pub fn owed_effects(&self) -> Vec<Effect> {
        self.state.executions.owed_effects()
    }

    /// Gives the state in its versioned form, what is not committed included. `load(save(e))` folds on exactly as `e`.
    pub fn save(&self) -> SavedState {
        let json =
            serde_json::to_vec(&self.in_saved_form()).expect("the state holds only text, numbers and lists, which always have a JSON form");
        SavedState { format: STATE_FORMAT, json: json.into() }
    }

    /// Gives the state as it is saved, in the form [`STATE_FORMAT`], for whoever writes it piece by piece: a large one is never held twice.
    pub fn in_saved_form(&self) -> &impl Serialize {
        &self.state
    }

    /// Takes a state back from its versioned form.
    pub fn load(log: LogId, saved: &SavedState) -> Result<Self, LoadError> {
        let mut json = serde_json::Deserializer::from_slice(&saved.json);
        let engine = Self::of_saved_form(log, saved.format, &mut json)?;
        json.end().map_err(|why| LoadError::Damaged(why.to_string()))?;
        Ok(engine)
    }

    /// Takes a state back from what [`in_saved_form`](Self::in_saved_form) gave, for whoever reads it piece by piece.
    pub fn of_saved_form<'de, D: Deserializer<'de>>(log: LogId, format: u32, saved: D) -> Result<Self, LoadError> {
        if format != STATE_FORMAT {
            return Err(LoadError::Format(format));
        }
        let mut state = State::deserialize(saved).map_err(|why| LoadError::Damaged(why.to_string()))?;
        state.health.index();
        state.letters.index();
        state.executions.index();
        state.locks.index();
        Ok(Self { log, state })
    }

    /// Makes all that was folded since the last commit final.
    pub fn commit(&mut self) {
        let State {
            newest,
            streams,
            packs,
            rules,
            executions,
            workflows,
            inquiries,
            timers,
            schedules,
            flows,
            locks,
            vars,
            access,
            letters,
            health,
        } = &mut self.state;
        newest.commit();
        streams.commit();
        packs.commit();
        rules.commit();
        executions.commit();
        workflows.commit();
        inquiries.commit();
        timers.commit();
        schedules.commit();
        flows.commit();
        locks.commit();
        vars.commit();
        access.commit();
        letters.commit();
        health.commit();
    }

    /// Takes back all that was folded since the last commit.
    pub fn undo(&mut self) {
        let State {
            newest,
            streams,
            packs,
            rules,
            executions,
            workflows,
            inquiries,
            timers,
            schedules,
            flows,
            locks,
            vars,
            access,
            letters,
            health,
        } = &mut self.state;
        newest.undo();
        streams.undo();
        packs.undo();
        rules.undo();
        executions.undo();
        workflows.undo();
        inquiries.undo();
        timers.undo();
        schedules.undo();
        flows.undo();
        locks.undo();
        vars.undo();
        access.undo();
        letters.undo();
        health.undo();
    }

    /// Gives the log's id.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Gives the position of the newest record that is folded in.
    pub fn position(&self) -> Position {
        self.state.newest.get(&0).map(|(position, _)| *position).unwrap_or_default()
    }

    /// Gives the time of the newest record that is folded in.
    pub fn time(&self) -> Timestamp {
        self.state.newest.get(&0).map(|(_, time)| *time).unwrap_or_default()
    }

    /// Gives the revision that the next record of a stream gets.
    pub fn next_revision(&self, stream: &StreamId) -> Revision {
        match stream {
            StreamId::Event(_) => Revision(1),
            StreamId::Enforcement(id) => self.state.flows.next_revision(*id),
            stream => self.state.streams.get(stream).map_or(Revision(1), |revision| revision.next()),
        }
    }

    /// Gives the catalog's newest revision.
    pub fn catalog_revision(&self) -> CatalogRevision {
        self.state.packs.revision()
    }

    /// Gives the installed packs.
    pub fn packs(&self) -> &InstalledPacks {
        &self.state.packs
    }

    /// Gives what is known of rules.
    pub fn rules(&self) -> &Rules {
        &self.state.rules
    }

    /// Gives the open executions.
    pub fn executions(&self) -> &Executions {
        &self.state.executions
    }

    /// Gives the open workflows.
    pub fn workflows(&self) -> &Workflows {
        &self.state.workflows
    }

    /// Gives the inquiries that open executions wait for.
    pub fn inquiries(&self) -> &Inquiries {
        &self.state.inquiries
    }

    /// Gives the timers that are pending.
    pub fn timers(&self) -> &Timers {
        &self.state.timers
    }

    /// Returns when time alone leads to the next record: a timer fires, or errors of a rule are counted. None where nothing waits.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers().next_due().into_iter().chain(self.rules().next_due()).min()
    }

    /// Gives the schedules of rules and sensors.
    pub fn schedules(&self) -> &Schedules {
        &self.state.schedules
    }

    /// Gives what the flow control of rules knows and holds.
    pub fn flows(&self) -> &Flows {
        &self.state.flows
    }

    /// Gives who holds locks, and who waits for them.
    pub fn locks(&self) -> &Locks {
        &self.state.locks
    }

    /// Gives the vars.
    pub fn vars(&self) -> &Vars {
        &self.state.vars
    }

    /// Gives the keys and tokens.
    pub fn access(&self) -> &Access {
        &self.state.access
    }

    /// Gives the dead letters that nobody has dealt with.
    pub fn letters(&self) -> &Letters {
        &self.state.letters
    }

    /// Gives the reactions that are owed or parked.
    pub fn health(&self) -> &Health {
        &self.state.health
    }

    /// Says whether the body of a record that is about to be folded is likely to be read soon: by a workflow, an inquiry, a step that waits for
    /// an event, or the rules that judge an event of a schedule or read vars; and that of a var.
    pub(crate) fn is_read_soon(&self, record: &Record) -> bool {
        if matches!(record.stream, StreamId::Event(_)) {
            let is_undecided = matches!(&record.fact, Fact::EventReceived(fact) if fact.undecided > 0);
            return is_undecided || record.actor == Actor::Engine || self.waits_for(&record.fact);
        }
        let StreamId::Execution(id) = &record.stream else { return matches!(record.fact, Fact::VarSet(_)) };
        match &record.fact {
            Fact::ExecutionRequested(fact) => matches!(fact.pace, Pace::InSteps | Pace::Asks),
            Fact::AttemptSucceeded(_) | Fact::ExecutionSettled(_) => {
                self.executions().get(id).is_some_and(|execution| execution.part_of.is_some())
            }
            Fact::ExecutionSucceeded(fact) => fact.part_of.is_some(),
            Fact::StepExpanded(_) | Fact::RerunPlanned(_) | Fact::InquiryAnswered(_) => true,
            _ => false,
        }
    }

    /// Says whether some step waits for an event of the kind that a fact tells of.
    pub(crate) fn waits_for(&self, fact: &Fact) -> bool {
        matches!(fact, Fact::EventReceived(event) if self.workflows().waits().watches(&event.trigger))
    }

    /// Says whether more work may come in from outside; what the log leads to by itself is never refused.
    pub(crate) fn admits_work(&self, with: &Context<'_>) -> Result<(), Refusal> {
        let open = self.executions().open_work() + self.health().owed_count() as u64;
        let max = with.settings.open_work_max;
        if open >= max { Err(Refusal::TooMuchOpen { open, max }) } else { Ok(()) }
    }
}
