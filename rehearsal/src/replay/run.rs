//! The in-memory core of a replay: it receives what came from outside, in the order in which it came.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::batch::{OfferOutcome, Sequencing};
use ensue_engine::command::{Ask, Command, Moment, Report, ReportOutcome, Settings, TurnLimits, VarChange};
use ensue_engine::engine::Engine;
use ensue_engine::events::facts::EventReceived;
use ensue_engine::executions::facts::{ExecutionRequested, Pace};
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::health::state::OwedReaction;
use ensue_engine::ids::{AttemptId, ExecutionId, Id};
use ensue_engine::record::{Actor, Body, Draft, Epoch, Head, Position, Record, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::timers::facts::{TimerFired, TimerKind};
use ensue_engine::timers::state::{TimerId, TimerOwner};

use super::begin::find_rerun_plan;
use super::decisions::CoreDecisions;
use super::world::ReplayWorld;
use super::{
    Definitions, RECORDS_MAX, RecordedExecution, Unreplayable, body_gone, change_of, changed_by, draft_of, is_forbidden, put_off_again,
};
use crate::backtest::Payloads;

/// The waiting execution, the kind of timer, and its number within the kind.
type TimerKey = (ExecutionId, TimerKind, u32);

/// The in-memory core that receives what came from outside.
pub(super) struct Replay<'a> {
    sequencing: Sequencing,
    world: ReplayWorld<'a>,
    records: Vec<Record>,
    pub(super) recorded: CoreDecisions,
    pub(super) would: CoreDecisions,
    /// Whether something would fail because it is not permitted.
    pub(super) would_be_forbidden: bool,
    root: ExecutionId,
    /// The records whose consequences were deferred as a whole, because the turn was full or something that
    /// they needed was not available.
    put_off: BTreeSet<Position>,
    /// The positions of those records in the replay.
    placed: BTreeMap<Position, Position>,
    /// The records of the replay whose consequences were computed later.
    worked_out: BTreeSet<Position>,
    /// When each recorded timer was due, as it was set.
    dues: BTreeMap<TimerKey, Timestamp>,
    /// When each timer of the replay is due, as it was set, before any step of the clock.
    own_dues: BTreeMap<TimerKey, Timestamp>,
    /// How many inputs have come from outside.
    moment: usize,
    now: Timestamp,
    served: Option<Id>,
    with_own_timers: bool,
}

impl<'a> Replay<'a> {
    pub(super) fn of(recorded: &RecordedExecution, first: &Record, definitions: Definitions<'a>, payloads: &'a dyn Payloads) -> Self {
        // No worker is free, so that attempts start only when they started originally.
        let settings = Settings { workers: 0, ..Settings::default() };
        Self {
            sequencing: Sequencing::new(Engine::new(first.log), Head::default(), Epoch(1)),
            world: ReplayWorld { definitions, payloads, bodies: BTreeMap::new(), settings },
            records: Vec::new(),
            recorded: CoreDecisions::of(recorded.execution),
            would: CoreDecisions::of(recorded.execution),
            would_be_forbidden: false,
            root: recorded.execution,
            put_off: BTreeSet::new(),
            placed: BTreeMap::new(),
            worked_out: BTreeSet::new(),
            dues: BTreeMap::new(),
            own_dues: BTreeMap::new(),
            moment: 0,
            now: first.time,
            served: None,
            with_own_timers: matches!(definitions, Definitions::Other(_)),
        }
    }

    pub(super) fn play(&mut self, recorded: &RecordedExecution, begins: (ExecutionRequested, Body)) -> Result<(), Unreplayable> {
        for record in &recorded.records {
            match (&record.fact, &record.stream) {
                (Fact::TimerSet(set), StreamId::Execution(id)) => drop(self.dues.insert((*id, set.kind, set.number), set.due)),
                (Fact::ReactionDeferred(deferred), _) if deferred.next == 0 => drop(self.put_off.insert(deferred.of)),
                _ => {}
            }
        }
        let put_off_again = put_off_again(&recorded.records);
        let mut begins = Some(begins);
        let mut records = recorded.records.iter().peekable();
        while let Some(record) = records.next() {
            let is_root = record.stream == StreamId::Execution(self.root);
            match &record.fact {
                Fact::ExecutionRequested(_) if is_root => {
                    if let Some((fact, body)) = begins.take() {
                        self.now = record.time;
                        self.moment += 1;
                        let requested = Draft { fact: fact.into(), body: Some(body), ..draft_of(record) };
                        let planned = find_rerun_plan(recorded)?;
                        self.fold(&[record], std::iter::once(requested).chain(planned).collect())?;
                    }
                }
                Fact::ReactionResumed(_) if put_off_again.contains(&record.position) => {}
                Fact::ReactionResumed(resumed) => {
                    self.now = record.time;
                    match self.placed.get(&resumed.of) {
                        Some(of) => self.serve_at(*of)?,
                        None => drop(self.serve()?),
                    }
                }
                Fact::TimerFired(_) => {
                    // Timers that fired together did so in one turn.
                    let mut fired = vec![record];
                    let is_next = |next: &&Record| next.batch == record.batch && matches!(next.fact, Fact::TimerFired(_));
                    while let Some(next) = records.next_if(|next| is_next(next)) {
                        fired.push(next);
                    }
                    self.fire(&fired)?;
                }
                _ => match self.input(record)? {
                    Some(Input::Report(id, attempt, outcome, body, mut vars)) => {
                        // The vars that the attempt changed at its end were changed before anything followed
                        // from that end.
                        let is_its = |next: &&Record| next.batch == record.batch && changed_by(&next.fact) == Some(id);
                        while let Some(next) = records.next_if(|next| is_its(next)) {
                            vars.extend(change_of(next)?);
                        }
                        self.give(record, Input::Report(id, attempt, outcome, body, vars))?;
                    }
                    Some(input) => self.give(record, input)?,
                    None => self.recorded.note(record, self.moment),
                },
            }
        }
        while self.serve()? {}
        Ok(())
    }

    /// Returns the input for a record that came from outside, or `None` for other records.
    pub(super) fn input(&self, record: &Record) -> Result<Option<Input>, Unreplayable> {
        let whole = |body: &Option<Body>| match body {
            Some(body) if body.content.is_none() => Err(Unreplayable::BodyGone(record.position)),
            body => Ok(body.clone()),
        };
        let StreamId::Execution(id) = record.stream else {
            return Ok(match &record.fact {
                Fact::EventReceived(fact) => {
                    // The rules have judged it already. Here it only reaches the executions that wait for it.
                    let unjudged = EventReceived { matched: 0, erred: 0, undecided: 0, again: Vec::new(), ..fact.clone() };
                    Some(Input::Draft(Draft { fact: unjudged.into(), body: whole(&record.body)?, ..draft_of(record) }))
                }
                Fact::ClockStepped(_) | Fact::ClockAccepted(_) | Fact::LogRestored(_) => Some(Input::Draft(draft_of(record))),
                Fact::VarSet(_) | Fact::VarRemoved(_) => Some(Input::Draft(draft_of(record).with_body(whole(&record.body)?))),
                _ => None,
            });
        };
        Ok(Some(match &record.fact {
            Fact::AttemptStarted(_) => Input::Start(id, draft_of(record)),
            Fact::AttemptSucceeded(fact) => {
                Input::Report(id, fact.attempt, (ReportOutcome::Succeeded, None, None), whole(&record.body)?, Vec::new())
            }
            Fact::AttemptFailed(fact) => {
                let outcome = (ReportOutcome::Failed(fact.error.clone()), fact.retry_after_millis, fact.output_tail.clone());
                Input::Report(id, fact.attempt, outcome, whole(&record.body)?, Vec::new())
            }
            // What was known of it was judged then.
            Fact::AttemptLost(fact) => Input::Lost(id, fact.attempt, draft_of(record)),
            Fact::ExecutionCancelRequested(_) if record.actor != Actor::Engine => Input::Ask(id, Ask::CancelExecution { execution: id }),
            Fact::ExecutionPaused(_) => Input::Ask(id, Ask::PauseExecution { execution: id }),
            Fact::ExecutionResumed(_) => Input::Ask(id, Ask::ResumeExecution { execution: id }),
            Fact::ExecutionSettled(fact) => {
                let (outcome, result) = (fact.outcome.clone(), whole(&record.body)?);
                Input::Ask(id, Ask::SettleExecution { execution: id, outcome, result })
            }
            Fact::InquiryAnswered(_) | Fact::InquiryDelegated(_) | Fact::LinkMinted(_) | Fact::LinkUsed(_) => {
                Input::Inquiry(id, draft_of(record).with_body(whole(&record.body)?))
            }
            _ => return Ok(None),
        }))
    }

    /// Passes an input from outside to its addressee. Without an addressee, nothing happens.
    fn give(&mut self, record: &Record, input: Input) -> Result<(), Unreplayable> {
        self.fire_own(record.time)?;
        self.now = record.time;
        self.moment += 1;
        // The beginning of its addressee may still be owed.
        while !self.has_taker(&input) {
            // Executions that the node starts by itself have already started.
            let has_begun = matches!(&input, Input::Start(id, _) if self.sequencing.engine().executions().get(id).is_some());
            if has_begun || !self.serve()? {
                return Ok(());
            }
        }
        match input {
            Input::Draft(draft) | Input::Start(_, draft) | Input::Lost(_, _, draft) | Input::Inquiry(_, draft) => {
                self.fold(&[record], vec![draft])
            }
            Input::Ask(_, ask) => self.ask(record, ask),
            Input::Report(execution, attempt, (outcome, retry_after_millis, output_tail), body, vars) => {
                vars.iter().filter_map(|var| var.value.as_ref()).for_each(|value| self.world.keep(value));
                let running = self.sequencing.engine().executions().get(&execution).and_then(|execution| execution.phase.attempt());
                let Some(token) = running.map(|attempt| attempt.token) else { return Ok(()) };
                self.ask(
                    record,
                    Ask::ReportAttempt(Report {
                        execution,
                        attempt,
                        token,
                        outcome,
                        retry_after_millis,
                        output_tail,
                        body,
                        emitted: None,
                        vars,
                        ended_before: None,
                    }),
                )
            }
        }
    }

    fn has_taker(&self, input: &Input) -> bool {
        let engine = self.sequencing.engine();
        let executions = engine.executions();
        match input {
            Input::Draft(_) => true,
            Input::Start(id, _) => executions.get(id).is_some_and(|one| one.phase == Phase::Queued && one.pace == Pace::Worked),
            Input::Report(id, attempt, ..) | Input::Lost(id, attempt, _) => {
                executions.get(id).and_then(|one| one.phase.attempt()).is_some_and(|current| current.id == *attempt)
            }
            Input::Ask(id, _) => executions.get(id).is_some(),
            Input::Inquiry(id, _) => engine.inquiries().of(id).is_some(),
        }
    }

    /// Fires timers that fired together. Timers that are not set now are skipped.
    fn fire(&mut self, fired: &[&Record]) -> Result<(), Unreplayable> {
        let Some(last) = fired.last() else { return Ok(()) };
        self.fire_own(last.time)?;
        self.now = last.time;
        self.moment += 1;
        loop {
            let is_set = |record: &Record| match (&record.fact, &record.stream) {
                (Fact::TimerFired(fact), StreamId::Execution(id)) => {
                    let timer = TimerId { owner: TimerOwner::Execution(*id), kind: fact.kind, number: fact.number };
                    self.sequencing.engine().timers().of(timer.owner).any(|(id, _)| id == timer)
                }
                _ => false,
            };
            let drafts: Vec<Draft> = fired.iter().filter(|record| is_set(record)).map(|record| draft_of(record)).collect();
            // The beginning of a timer's owner may still be owed.
            if drafts.len() == fired.len() || !self.serve()? {
                return if drafts.is_empty() { Ok(()) } else { self.fold(fired, drafts) };
            }
        }
    }

    /// Fires the timers that are due and were not recorded, or are due earlier than recorded: nothing else
    /// would fire them.
    fn fire_own(&mut self, until: Timestamp) -> Result<(), Unreplayable> {
        const LOOKED_AT_MAX: usize = 1_000;
        if !self.with_own_timers {
            return Ok(());
        }
        loop {
            let due = self.sequencing.engine().timers().due(until, LOOKED_AT_MAX);
            let own = due.into_iter().find_map(|(id, due)| match id.owner {
                TimerOwner::Execution(execution) => {
                    let key = (execution, id.kind, id.number);
                    let recorded = self.dues.get(&key);
                    recorded.is_none_or(|recorded| self.own_dues.get(&key) < Some(recorded)).then_some((execution, id, due))
                }
                TimerOwner::Schedule(_) | TimerOwner::Enforcement(_) => None,
            });
            let Some((execution, timer, due)) = own else { return Ok(()) };
            let engine = self.sequencing.engine();
            let Some(owner) = engine.executions().get(&execution) else { return Ok(()) };
            let draft = Draft::by_engine(
                StreamId::Execution(execution),
                TimerFired { kind: timer.kind, number: timer.number, due, schedule: None },
            )
            .because(owner.cause(timer.record_id(engine.log())));
            self.now = self.now.max(due);
            self.fold(&[], vec![draft])?;
        }
    }

    /// Folds drafts from outside, which these records recorded, and whatever follows unless it was deferred.
    fn fold(&mut self, came: &[&Record], drafts: Vec<Draft>) -> Result<(), Unreplayable> {
        let entropy = came.first().map(|record| u128::from(record.position.0)).unwrap_or_default();
        self.set_turn(came);
        drafts.iter().filter_map(|draft| draft.body.as_ref()).for_each(|body| self.world.keep(body));
        let at = Moment { time: self.now, entropy };
        let first = self.records.len();
        self.sequencing.repeat(drafts, &at, &self.world.beside()).map_err(|error| Unreplayable::PutAside(error.to_string()))?;
        self.take_in()?;
        self.place(came, first);
        Ok(())
    }

    /// Notes the positions here, starting at `first`, of records whose consequences were deferred.
    fn place(&mut self, came: &[&Record], first: usize) {
        let here = self.records.get(first..).unwrap_or_default();
        for came in came.iter().filter(|came| self.put_off.contains(&came.position)) {
            let place = here.iter().find(|here| here.stream == came.stream && is_same(&here.fact, &came.fact));
            self.placed.extend(place.map(|here| (came.position, here.position)));
        }
    }

    /// Prevents immediate consequences for records whose consequences were deferred.
    fn set_turn(&mut self, came: &[&Record]) {
        let is_put_off = came.iter().any(|record| self.put_off.contains(&record.position));
        self.world.settings.turn =
            if is_put_off { TurnLimits { drafts: 0, bytes: 0, ..TurnLimits::default() } } else { TurnLimits::default() };
    }

    fn ask(&mut self, record: &Record, ask: Ask) -> Result<(), Unreplayable> {
        self.set_turn(&[record]);
        let command = Command { actor: record.actor.clone(), trace: record.cause.trace.clone(), ask };
        let at = Moment { time: self.now, entropy: u128::from(record.position.0) };
        let first = self.records.len();
        match self.sequencing.offer(&command, &at, &self.world.beside()) {
            OfferOutcome::Taken { .. } => {
                self.take_in()?;
                self.place(&[record], first);
                Ok(())
            }
            // The current state does not allow it, which is a difference that is found anyway.
            OfferOutcome::Refused(_) => Ok(()),
            OfferOutcome::Needs(bodies) => Err(body_gone(&bodies)),
        }
    }

    /// Computes one owed reaction. Returns true if there was one.
    fn serve(&mut self) -> Result<bool, Unreplayable> {
        let Some(owed) = self.sequencing.next_owed(self.served) else { return Ok(false) };
        self.served = Some(owed.root);
        self.work_out(owed)?;
        Ok(true)
    }

    /// Computes the deferred consequences of a record. Here they may not be owed at all, because consequences
    /// for other executions are not replayed.
    fn serve_at(&mut self, of: Position) -> Result<(), Unreplayable> {
        match self.sequencing.engine().health().owed_at(of) {
            Some(owed) => self.work_out(owed),
            None if self.worked_out.contains(&of) => Ok(()),
            None => self.work_out(OwedReaction { of, next: 0, root: self.root.0 }),
        }
    }

    fn work_out(&mut self, owed: OwedReaction) -> Result<(), Unreplayable> {
        self.worked_out.insert(owed.of);
        self.set_turn(&[]);
        // Positions have no gaps.
        let place = usize::try_from(owed.of.0).ok().and_then(|position| position.checked_sub(1));
        let record = place.and_then(|place| self.records.get(place)).cloned();
        let record = record.ok_or_else(|| Unreplayable::PutAside("the record of an owed reaction is missing".to_owned()))?;
        let at = Moment { time: self.now, entropy: u128::from(owed.of.0) };
        match self.sequencing.serve(&record, owed, &at, &self.world.beside()) {
            OfferOutcome::Taken { .. } => self.take_in(),
            OfferOutcome::Refused(refusal) => Err(Unreplayable::PutAside(refusal.to_string())),
            OfferOutcome::Needs(bodies) => Err(body_gone(&bodies)),
        }
    }

    fn take_in(&mut self) -> Result<(), Unreplayable> {
        for record in self.sequencing.mark_committed().records {
            if let Fact::ReactionParked(parked) = &record.fact {
                return Err(Unreplayable::PutAside(parked.error.clone()));
            }
            if let Some(body) = &record.body {
                self.world.keep(body);
            }
            if let (Fact::TimerSet(set), StreamId::Execution(id)) = (&record.fact, &record.stream) {
                self.own_dues.insert((*id, set.kind, set.number), set.due);
            }
            self.would_be_forbidden |= is_forbidden(&record.fact);
            self.would.note(&record, self.moment);
            self.records.push(record);
        }
        if self.records.len() > RECORDS_MAX { Err(Unreplayable::TooLong(RECORDS_MAX)) } else { Ok(()) }
    }
}

/// Something that came from outside, with its addressee.
pub(super) enum Input {
    /// For everything that it concerns.
    Draft(Draft),
    /// A worker took an execution.
    Start(ExecutionId, Draft),
    /// An attempt ended, possibly with a delay in milliseconds that the other side asks for before the next
    /// attempt.
    Report(ExecutionId, AttemptId, (ReportOutcome, Option<u64>, Option<String>), Option<Body>, Vec<VarChange>),
    /// An attempt was lost.
    Lost(ExecutionId, AttemptId, Draft),
    /// Somebody asked something of an execution.
    Ask(ExecutionId, Ask),
    /// Somebody answered or delegated the open inquiry of an execution, or made or used a link to it.
    Inquiry(ExecutionId, Draft),
}

/// Returns true if a fact of a stream is the one that came. Within a turn there is one fact of each kind,
/// except for timers.
fn is_same(here: &Fact, came: &Fact) -> bool {
    match (here, came) {
        (Fact::TimerFired(here), Fact::TimerFired(came)) => (here.kind, here.number) == (came.kind, came.number),
        (here, came) => here.kind() == came.kind(),
    }
}
