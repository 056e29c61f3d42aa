//! The stage: an in-memory core with a catalog in force and its own clock, which moves to the next moment
//! that something waits for as soon as nothing else is left to do.
//!
//! A [`OutsideWorld`] decides how attempts end and what people answer. Where a cast says nothing and no harm is
//! possible, the stage does what a worker would do: it returns values, waits and emits events.

mod answerer;
mod harmless_work;
mod in_memory;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::batch::CommittedBatch;
use ensue_engine::catalog::{Catalog, Mode};
use ensue_engine::command::{
    Answer, Ask, Command, InquiryAnswer, ObservedEvent, PackChange, Report, ReportOutcome, RequestExecution, SeenVar, Settings, VarChange,
};
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind, Pace};
use ensue_engine::executions::state::{Execution, Phase};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{AttemptId, EventId, ExecutionId, Id, InquiryId};
use ensue_engine::names::{ActionRef, RuleRef, TriggerRef, VarName};
use ensue_engine::record::{Actor, Body, Position, StreamId};
use ensue_engine::rules::judge::{EventView, Judgement, Verdict, complete, judge, judge_rule};
use ensue_engine::time::Timestamp;
use ensue_engine::timers::state::TimerOwner;
use ensue_engine::vars::values::SeenVars;
use ensue_engine::workflows::facts::Purpose;
use ensue_expression::Document;
use ensue_packs::cases::GivenEvent;
use serde_json::Value;

use self::in_memory::Core;
use crate::error::RehearsalError;
use crate::history::{ExecutionPath, History};

/// The maximum number of records of a rehearsal. One that makes more never ends.
pub const RECORDS_MAX: usize = 200_000;

/// The name of the caller on a stage.
pub const ASKER: &str = "test";

/// The outside world of a rehearsal.
pub trait OutsideWorld {
    /// Returns the outcome of an attempt, or `None` if the cast does not define it.
    ///
    /// # Errors
    /// If the defined outcome is impossible.
    fn attempt(&mut self, way: &ExecutionPath, dispatch: &Dispatch, params: &Value) -> Result<Option<AttemptOutcome>, RehearsalError>;

    /// Returns the answer of people, `given` of whom have answered already.
    ///
    /// # Errors
    /// If no answer is defined, or the defined one is impossible.
    fn answer(&mut self, way: &ExecutionPath, question: &Value, given: usize) -> Result<InquiryOutcome, RehearsalError>;

    /// Returns the payload of the event that a step waits for, or `None` if it does not come in time.
    ///
    /// # Errors
    /// If nothing is defined.
    fn await_event(&mut self, way: &ExecutionPath, trigger: &str) -> Result<Option<Value>, RehearsalError>;

    /// Returns the payload of the event that cancels a step which asks or waits, if one does. `given` people have
    /// answered already.
    ///
    /// # Errors
    /// If the defined outcome is impossible.
    fn cancelling_event(&mut self, _way: &ExecutionPath, _given: usize) -> Result<Option<Value>, RehearsalError> {
        Ok(None)
    }

    /// Returns how steps are undone, and people notified.
    fn aside(&self) -> Aside {
        Aside::Pretended
    }
}

/// How work beside the steps is done: the undoing of steps, and notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// It succeeds and does nothing, because there is nothing to reverse and nobody to notify.
    Pretended,
    /// As any other attempt.
    Played,
}

/// The outcome of an attempt.
#[derive(Clone, Debug)]
pub enum AttemptOutcome {
    /// It returns this.
    Result(Value),
    /// Its runner returns this, from which the action's `output` computes the result.
    Raw(Value),
    /// It fails.
    Failed(Failure),
}

/// The answer of the people who are asked.
#[derive(Clone, Debug)]
pub enum InquiryOutcome {
    /// An answer, by this person or by anyone who may answer.
    Answer {
        /// The answer.
        answer: Value,
        /// The person.
        by: Option<String>,
    },
    /// No answer until the inquiry expires.
    Nothing,
}

/// A rule that erred on an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErredRule {
    /// The rule.
    pub rule: RuleRef,
    /// The error.
    pub message: String,
}

/// An attempt that ends later.
struct PendingAttempt {
    dispatch: Box<Dispatch>,
    outcome: Result<Value, Failure>,
}

/// The core on a stage.
pub struct RehearsalStage {
    core: Core,
    catalog: Arc<Catalog>,
    history: History,
    erred: Vec<ErredRule>,
    /// The events that the engine itself made. They are judged only once they are in the log.
    own_events: BTreeMap<EventId, Vec<Position>>,
    begun: VecDeque<Box<Dispatch>>,
    stopped: BTreeSet<AttemptId>,
    pending: BTreeMap<(Timestamp, AttemptId), PendingAttempt>,
    /// The inquiries that will expire.
    unanswered: BTreeSet<InquiryId>,
    /// The executions whose event does not come.
    in_vain: BTreeSet<ExecutionId>,
    /// The executions that no event cancels, with how many people had answered each.
    uncancelled: BTreeSet<(ExecutionId, usize)>,
    drawn: u128,
}

impl RehearsalStage {
    /// Sets the stage: an empty log in which the packs of a catalog of the first revision are installed.
    ///
    /// # Errors
    /// If the log rejects the packs.
    pub fn set(catalog: Arc<Catalog>) -> Result<Self, RehearsalError> {
        // The operator's queues are not known here, so every named queue has workers.
        let settings = Settings::default();
        let named = catalog.actions().values().map(|action| action.queue.clone()).filter(|queue| !queue.is_default());
        let settings = Settings { queues: named.map(|queue| (queue, settings.workers)).collect(), ..settings };
        let mut stage = Self {
            // A schedule is due again and again, so the clock would never stop.
            core: Core::new(Catalog::clone(&catalog).without_schedules(), settings),
            catalog,
            history: History::default(),
            erred: Vec::new(),
            own_events: BTreeMap::new(),
            begun: VecDeque::new(),
            stopped: BTreeSet::new(),
            pending: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            in_vain: BTreeSet::new(),
            uncancelled: BTreeSet::new(),
            drawn: 0,
        };
        let install = |pack: &Arc<ensue_engine::catalog::Pack>| PackChange::Install {
            name: pack.name.clone(),
            version: pack.version.clone(),
            digest: pack.digest,
            manifest: Body::json(&b"{}"[..]),
        };
        let base = stage.core.engine().catalog_revision();
        let permit = |pack: &Arc<ensue_engine::catalog::Pack>| {
            let permissions = pack.permissions.clone()?;
            Some(PackChange::Permit { name: pack.name.clone(), permissions: Some(permissions) })
        };
        let packs = stage.catalog.packs();
        let changes = packs.values().map(install).chain(packs.values().filter_map(permit)).collect();
        stage.ask(Actor::Operator, Ask::ChangePacks { base, changes })?;
        Ok(stage)
    }

    /// Returns the history so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Sets a var.
    ///
    /// # Errors
    /// If the log rejects it.
    pub fn set_var(&mut self, name: &VarName, value: &Value) -> Result<(), RehearsalError> {
        let ask = Ask::SetVar { name: name.clone(), value: Body::json(value.to_string()), seen: SeenVar::Anyhow };
        self.ask(Actor::Operator, ask).map(|_| ())
    }

    /// Returns the values of all vars.
    pub fn vars(&self) -> Vec<(VarName, Document)> {
        let all = self.core.engine().vars().iter();
        all.filter_map(|(name, value)| Some((name.clone(), Document::parse(self.body_at(value.at)?).ok()?))).collect()
    }

    fn body_at(&self, position: Position) -> Option<Bytes> {
        let record = self.core.records().iter().find(|record| record.position == position)?;
        record.body.as_ref()?.content.clone()
    }

    /// Returns the rules that erred, in order.
    pub fn erred_rules(&self) -> &[ErredRule] {
        &self.erred
    }

    /// Returns the catalog in force.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        self.core.now()
    }

    /// Receives an event. Its payload may be partial: the case contains the parts that matter.
    ///
    /// # Errors
    /// If there is no such trigger, or the log rejects the event.
    pub fn receive(&mut self, event: &GivenEvent) -> Result<EventId, RehearsalError> {
        let id = self.drawn_event();
        let payload = Document::from_value(&event.payload);
        let at = event.time.unwrap_or_else(|| self.now());
        let Some(trigger) = self.catalog.triggers().get(&event.trigger).cloned() else {
            return Err(RehearsalError::NoTrigger(event.trigger.clone()));
        };
        let version = event.version.unwrap_or(trigger.version);
        let newest = trigger.newest(version, &payload).map_err(|why| RehearsalError::Refused(why.to_string()))?;
        let observed = self.observe(id, &event.trigger, (&event.source, at), &newest).came_as(version, &payload);
        self.ask(asker(), Ask::ReceiveEvents(vec![observed]))?;
        Ok(id)
    }

    fn drawn_event(&mut self) -> EventId {
        self.drawn += 1;
        EventId(Id::root(self.now(), self.drawn))
    }

    /// Requests an execution of an action.
    ///
    /// # Errors
    /// If there is no such action, or its parameters do not fit.
    pub fn request(&mut self, name: &ActionRef, with: &Value) -> Result<ExecutionId, RehearsalError> {
        let definition = self.catalog.actions().get(name).cloned().ok_or_else(|| RehearsalError::NoAction(name.clone()))?;
        let params = complete(&definition.parameters, Document::from_value(with)).map_err(|misfits| {
            let misfits: Vec<String> = misfits.iter().map(ToString::to_string).collect();
            RehearsalError::Refused(format!("the parameters do not fit `{name}`: {}", misfits.join("; ")))
        })?;
        let body = Body::json(params.bytes().clone());
        let catalog = self.catalog.revision();
        let request = RequestExecution {
            action: name.clone(),
            definition,
            catalog,
            body,
            params,
            start_at: None,
            labels: std::collections::BTreeMap::new(),
            rerun: None,
        };
        match self.ask(asker(), Ask::RequestExecution(request))? {
            Answer::Execution(execution) => Ok(execution),
            Answer::Done | Answer::Events(_) | Answer::Catalog(_) | Answer::ReportedLate | Answer::Before(_) => {
                Err(RehearsalError::Refused("no question was asked".to_owned()))
            }
        }
    }

    /// Runs everything that was requested, until nothing is left to do and nothing waits for a time.
    ///
    /// # Errors
    /// If the cast does not define what comes next, or the run does not end.
    pub fn play(&mut self, cast: &mut impl OutsideWorld) -> Result<(), RehearsalError> {
        loop {
            if let Some(why) = self.history.put_aside() {
                return Err(RehearsalError::PutAside(why.to_owned()));
            }
            if self.core.records().len() > RECORDS_MAX {
                return Err(RehearsalError::Endless(RECORDS_MAX));
            }
            if let Some(dispatch) = self.begun.pop_front() {
                self.attempt(dispatch, cast)?;
            } else if let Some((execution, given)) = self.next_cancellable() {
                self.cancel(execution, given, cast)?;
            } else if let Some((inquiry, execution)) = self.next_inquiry() {
                self.put(inquiry, execution, cast)?;
            } else if let Some((execution, expires_millis)) = self.next_wait() {
                self.send(execution, expires_millis, cast)?;
            } else if !self.go_on()? {
                return Ok(());
            }
        }
    }

    /// Advances the clock and releases what flow control holds until then.
    ///
    /// # Errors
    /// If the log rejects it.
    pub fn wait(&mut self, millis: u64) -> Result<(), RehearsalError> {
        let until = self.now().plus_millis(millis);
        while let Some(due) = self.next_let_go().filter(|due| *due <= until) {
            self.let_go_at(due)?;
        }
        self.core.step_clock(until);
        Ok(())
    }

    /// Advances the clock until flow control holds nothing.
    ///
    /// # Errors
    /// If that never happens.
    pub fn let_go(&mut self) -> Result<(), RehearsalError> {
        while let Some(due) = self.next_let_go() {
            self.let_go_at(due)?;
        }
        self.history.put_aside().map_or(Ok(()), |why| Err(RehearsalError::PutAside(why.to_owned())))
    }

    fn let_go_at(&mut self, due: Timestamp) -> Result<(), RehearsalError> {
        if self.core.records().len() > RECORDS_MAX {
            return Err(RehearsalError::Endless(RECORDS_MAX));
        }
        self.core.step_clock(due.max(self.now()));
        self.ask(Actor::Engine, Ask::FireTimers).map(|_| ())
    }

    /// Returns when the next held enforcement is released.
    fn next_let_go(&self) -> Option<Timestamp> {
        let (flows, timers) = (self.core.engine().flows(), self.core.engine().timers());
        let held = flows.rules().flat_map(|(rule, _)| flows.held_for(rule));
        held.flat_map(|(id, _)| timers.of(TimerOwner::Enforcement(id))).map(|(_, due)| due).min()
    }

    /// Advances the clock to the next moment that something waits for. Returns true if there is one.
    fn go_on(&mut self) -> Result<bool, RehearsalError> {
        let ends = self.pending.keys().next().map(|(at, _)| *at);
        let fires = self.core.engine().timers().next_due();
        let Some(next) = ends.into_iter().chain(fires).min() else { return Ok(false) };
        self.core.step_clock(next.max(self.now()));
        if fires == Some(next) {
            self.ask(Actor::Engine, Ask::FireTimers)?;
        }
        if ends == Some(next)
            && let Some((_, pending)) = self.pending.pop_first()
        {
            self.report(&pending.dispatch, pending.outcome, None)?;
        }
        Ok(true)
    }

    fn attempt(&mut self, dispatch: Box<Dispatch>, cast: &mut impl OutsideWorld) -> Result<(), RehearsalError> {
        if self.stopped.contains(&dispatch.attempt) {
            return self.report(&dispatch, Err(Failure::new(FailureKind::Cancelled, "its cancellation was requested")), None);
        }
        let is_aside = self.history.undoes(dispatch.execution) || self.history.is_notification(dispatch.execution);
        if is_aside && cast.aside() == Aside::Pretended {
            // The work that it reverses never happened, and there is nobody to notify.
            return self.report(&dispatch, Ok(Value::Null), None);
        }
        let way = self.history.way(dispatch.execution);
        let params = self.history.execution(dispatch.execution).map(|execution| execution.params.clone()).unwrap_or_default();
        match cast.attempt(&way, &dispatch, &params)? {
            Some(AttemptOutcome::Result(result)) => self.report(&dispatch, Ok(result), None),
            Some(AttemptOutcome::Raw(raw)) => self.report_mapped(&dispatch, &raw),
            Some(AttemptOutcome::Failed(failure)) if failure.kind == FailureKind::Lost => {
                let (execution, attempt) = (dispatch.execution, dispatch.attempt);
                self.ask(worker(), Ask::LoseAttempt { execution, attempt, evidence: Evidence::MayHaveBegun, error: None }).map(|_| ())
            }
            Some(AttemptOutcome::Failed(failure)) => self.report(&dispatch, Err(failure), None),
            None => self.by_itself(dispatch, way),
        }
    }

    fn report(
        &mut self,
        dispatch: &Dispatch,
        outcome: Result<Value, Failure>,
        emitted: Option<ObservedEvent>,
    ) -> Result<(), RehearsalError> {
        let (outcome, body) = match outcome {
            Ok(Value::Null) => (ReportOutcome::Succeeded, None),
            Ok(result) => (ReportOutcome::Succeeded, Some(Body::json(result.to_string()))),
            Err(failure) => (ReportOutcome::Failed(failure), None),
        };
        let (execution, attempt, token) = (dispatch.execution, dispatch.attempt, dispatch.token);
        self.ask(
            worker(),
            Ask::ReportAttempt(Report {
                execution,
                attempt,
                token,
                outcome,
                retry_after_millis: None,
                output_tail: None,
                body,
                emitted: emitted.map(Box::new),
                vars: Vec::new(),
                ended_before: None,
            }),
        )
        .map(|_| ())
    }

    fn report_changing(&mut self, dispatch: &Dispatch, change: VarChange) -> Result<(), RehearsalError> {
        let (execution, attempt, token) = (dispatch.execution, dispatch.attempt, dispatch.token);
        let (outcome, vars) = (ReportOutcome::Succeeded, vec![change]);
        self.ask(
            worker(),
            Ask::ReportAttempt(Report {
                execution,
                attempt,
                token,
                outcome,
                retry_after_millis: None,
                output_tail: None,
                body: None,
                emitted: None,
                vars,
                ended_before: None,
            }),
        )
        .map(|_| ())
    }

    /// Returns an open inquiry that nobody has been asked yet, or that needs more answers.
    fn next_inquiry(&self) -> Option<(InquiryId, ExecutionId)> {
        let engine = self.core.engine();
        let asking = self.history.open().filter_map(|(id, _)| Some((engine.inquiries().of(&id)?.0, id)));
        asking.into_iter().find(|(inquiry, _)| !self.unanswered.contains(inquiry))
    }

    /// Returns an execution that waits for an event, with its time limit.
    fn next_wait(&self) -> Option<(ExecutionId, Option<u64>)> {
        let executions = self.core.engine().executions();
        let waits = self.history.open().filter_map(|(id, _)| match executions.get(&id)? {
            Execution { phase: Phase::Awaiting, pace: Pace::Awaits { expires_millis }, .. } => Some((id, *expires_millis)),
            _ => None,
        });
        waits.into_iter().find(|(id, _)| !self.in_vain.contains(id))
    }

    /// Sends the event that an execution waits for, as the cast defines it.
    fn send(&mut self, id: ExecutionId, expires_millis: Option<u64>, cast: &mut impl OutsideWorld) -> Result<(), RehearsalError> {
        let way = self.history.way(id);
        let params = self.history.execution(id).map(|execution| execution.params.clone()).unwrap_or_default();
        let trigger = params["trigger"].as_str().unwrap_or_default();
        match cast.await_event(&way, trigger)? {
            None if expires_millis.is_none() => Err(RehearsalError::NeverExpires { path: way.path }),
            None => {
                self.in_vain.insert(id);
                Ok(())
            }
            Some(payload) => {
                let trigger: TriggerRef =
                    trigger.parse().map_err(|error| RehearsalError::Refused(format!("`{trigger}` does not name a trigger: {error}")))?;
                self.send_to_step(&trigger, &payload)?;
                let is_unmoved = self.core.engine().executions().get(&id).is_some_and(|execution| execution.phase == Phase::Awaiting);
                if is_unmoved { Err(RehearsalError::EventUnfit { path: way.path }) } else { Ok(()) }
            }
        }
    }

    /// Sends an event to the steps that watch for it. No rule is judged, because the case does not describe that.
    fn send_to_step(&mut self, trigger: &TriggerRef, payload: &Value) -> Result<(), RehearsalError> {
        let unseen = Judgement::of_no_rule(self.catalog.revision());
        let (id, now) = (self.drawn_event(), self.now());
        let payload = Document::from_value(payload);
        let view = EventView { id, trigger, source: ASKER, time: now, payload: &payload, only: None };
        let version = self.catalog.triggers().get(trigger).map_or(TriggerVersion::FIRST, |trigger| trigger.version);
        let event = ObservedEvent::from_view(&view, unseen).came_as(version, &payload);
        self.ask(asker(), Ask::ReceiveEvents(vec![event])).map(drop)
    }

    /// Returns the trigger whose event cancels a step that asks or waits.
    fn cancel_trigger(&self, id: ExecutionId) -> Option<TriggerRef> {
        let engine = self.core.engine();
        let execution = engine.executions().get(&id)?;
        let part_of = execution.part_of.as_ref().filter(|_| matches!(execution.phase, Phase::Asleep | Phase::Asking | Phase::Awaiting))?;
        let wait = engine.workflows().waits_for(Purpose::Cancels).get(part_of.workflow, &part_of.step)?;
        wait.matched.is_none().then(|| wait.trigger.clone())
    }

    /// Returns an execution that an event may cancel, with how many people have answered it.
    fn next_cancellable(&self) -> Option<(ExecutionId, usize)> {
        let inquiries = self.core.engine().inquiries();
        let cancellable = self.history.open().filter_map(|(id, _)| {
            self.cancel_trigger(id)?;
            Some((id, inquiries.of(&id).map_or(0, |(_, inquiry)| inquiry.answers.len())))
        });
        cancellable.into_iter().find(|one| !self.uncancelled.contains(one))
    }

    /// Sends the event that cancels an execution, if the cast defines one.
    fn cancel(&mut self, id: ExecutionId, given: usize, cast: &mut impl OutsideWorld) -> Result<(), RehearsalError> {
        let way = self.history.way(id);
        self.uncancelled.insert((id, given));
        let Some((payload, trigger)) = cast.cancelling_event(&way, given)?.zip(self.cancel_trigger(id)) else { return Ok(()) };
        self.send_to_step(&trigger, &payload)?;
        if self.cancel_trigger(id).is_some() { Err(RehearsalError::CancelUnfit { path: way.path }) } else { Ok(()) }
    }

    fn put(&mut self, id: InquiryId, execution: ExecutionId, cast: &mut impl OutsideWorld) -> Result<(), RehearsalError> {
        let way = self.history.way(execution);
        let question = self.history.execution(execution).map(|execution| execution.params.clone()).unwrap_or_default();
        let Some(inquiry) = self.core.engine().inquiries().get(&id) else { return Ok(()) };
        match cast.answer(&way, &question, inquiry.answers.len())? {
            InquiryOutcome::Nothing => {
                let is_open_for_ever = question.get("expires").is_none_or(Value::is_null);
                if is_open_for_ever {
                    return Err(RehearsalError::NeverExpires { path: way.path });
                }
                self.unanswered.insert(id);
                Ok(())
            }
            InquiryOutcome::Answer { answer, by } => {
                let (by, roles) = answerer::somebody(inquiry, by);
                let answer = Document::from_value(&answer);
                let body = Body::json(answer.bytes().clone());
                let ask = InquiryAnswer {
                    inquiry: id,
                    by: by.clone(),
                    name: None,
                    roles,
                    behalf: None,
                    digest: Some(inquiry.digest),
                    body,
                    answer,
                };
                self.ask(Actor::Token(by), Ask::AnswerInquiry(ask)).map(|_| ()).map_err(|stuck| match stuck {
                    RehearsalError::Refused(why) => RehearsalError::AnswerRefused { path: way.path, why },
                    other => other,
                })
            }
        }
    }

    fn observe(
        &mut self,
        id: EventId,
        trigger: &TriggerRef,
        (source, occurred_at): (&str, Timestamp),
        payload: &Document,
    ) -> ObservedEvent {
        let view = EventView { id, trigger, source, time: occurred_at, payload, only: None };
        let judgement = judge(&self.catalog, &view);
        let vars = SeenVars::from_values(self.vars());
        for judged in &judgement.verdicts {
            let message = match (&judged.verdict, judged.rule.mode) {
                (_, Mode::Disabled) | (Verdict::Matched(_), _) => None,
                (Verdict::Erred { message }, _) => Some(message.clone()),
                (Verdict::Undecided, _) => match judge_rule(&judged.rule, &view, &vars) {
                    Some(Verdict::Erred { message }) => Some(message),
                    Some(Verdict::Matched(_) | Verdict::Undecided) | None => None,
                },
            };
            if let Some(message) = message {
                self.erred.push(ErredRule { rule: judged.rule.name.clone(), message });
            }
        }
        ObservedEvent::from_view(&view, judgement)
    }

    /// Runs a command in the core, with everything that follows from it at once.
    fn ask(&mut self, actor: Actor, ask: Ask) -> Result<Answer, RehearsalError> {
        let (told, committed) = self.core.turn(&Command { actor, trace: None, ask });
        self.take_in(&committed);
        while self.core.records().len() <= RECORDS_MAX
            && let Some(piece) = self.core.serve()
        {
            self.take_in(&piece);
        }
        told.map_err(|refusal| RehearsalError::Refused(refusal.to_string()))
    }

    /// Notes that a rule erred with the error that was first recorded at a position.
    fn erred_at(&mut self, first: Position) {
        let record = self.core.records().iter().find(|record| record.position == first);
        if let Some(Fact::RuleErred(fact)) = record.map(|record| &record.fact) {
            self.erred.push(ErredRule { rule: fact.rule.clone(), message: fact.message.clone() });
        }
    }

    fn take_in(&mut self, committed: &CommittedBatch) {
        for record in &committed.records {
            self.history.apply(record);
            match (&record.fact, &record.stream) {
                (Fact::EventReceived(fact), StreamId::Event(id)) if record.actor == Actor::Engine => {
                    self.own_events.insert(*id, fact.again.clone());
                    fact.again.iter().for_each(|first| self.erred_at(*first));
                }
                (Fact::RuleErred(fact), _) if self.own_events.contains_key(&fact.event) => self.erred_at(record.position),
                // Errors that are listed in the event itself were counted there.
                (Fact::RuleErrorsCounted(fact), _)
                    if self.own_events.get(&fact.event).is_some_and(|again| !again.contains(&fact.error)) =>
                {
                    self.erred_at(fact.error);
                }
                _ => {}
            }
        }
        for effect in &committed.effects {
            match effect {
                Effect::Dispatch(dispatch) => self.begun.push_back(dispatch.clone()),
                Effect::Stop { attempt, .. } => self.stop(*attempt),
                Effect::Release { attempt, .. } => {
                    self.begun.retain(|dispatch| dispatch.attempt != *attempt);
                    self.pending.retain(|(_, pending), _| pending != attempt);
                }
                // A rehearsal reads no sources.
                Effect::RunSensor(_) | Effect::StopSensor { .. } => {}
            }
        }
    }

    /// Asks an attempt to stop. If it was pending, it ends now.
    fn stop(&mut self, attempt: AttemptId) {
        self.stopped.insert(attempt);
        let key = self.pending.keys().find(|(_, pending)| *pending == attempt).copied();
        if let Some(pending) = key.and_then(|key| self.pending.remove(&key)) {
            self.begun.push_back(pending.dispatch);
        }
    }
}

fn asker() -> Actor {
    Actor::Token(ASKER.to_owned())
}

fn worker() -> Actor {
    Actor::Worker("test".to_owned())
}
