//! A site: a scenario with a catalog installed, and the edges' part of the work in short calls.

use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use ensue_engine::catalog::{Catalog, Run};
use ensue_engine::command::{
    Answer, Ask, Command, Conflict, Dedupe, DedupeKey, Message, MessageContent, ObservedEvent, PackChange, ReceivedEvent, Report,
    ReportOutcome, RequestExecution, Rerun, SaidArtifact, SeenVar, VarChange,
};
use ensue_engine::events::version::{TriggerVersion, VersionedTrigger};
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind};
use ensue_engine::executions::history::History;
use ensue_engine::executions::labels::Labels;
use ensue_engine::executions::state::{Attempt, Phase};
use ensue_engine::ids::{AttemptId, EventId, ExecutionId, Id, Role};
use ensue_engine::record::{Actor, Body, CatalogRevision, Digest, Record, StreamId};
use ensue_engine::rules::judge::{EventView, judge};
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::RerunFrom;
use ensue_expression::Document;
use ensue_test_support::spec::{Outcome, Spec};
use serde_json::{Value, json};

use super::{Pieces, ana, asked_by, fire_timers, lose, worker};

/// A scenario with the pack `demo` installed.
pub(crate) struct Site {
    spec: Spec,
    catalog: Arc<Catalog>,
    drawn: u128,
}

impl Deref for Site {
    type Target = Spec;

    fn deref(&self) -> &Spec {
        &self.spec
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Spec {
        &mut self.spec
    }
}

impl Site {
    /// A log whose catalog of revision 1 has these definitions.
    pub(crate) fn with(pieces: &Pieces) -> Self {
        let mut site = Self { spec: Spec::default(), catalog: Arc::default(), drawn: 1_000 };
        site.install(pieces);
        site
    }

    /// Replaces the pack `demo` by one with these definitions.
    pub(crate) fn install(&mut self, pieces: &Pieces) -> Outcome {
        let outcome = self.install_unseen(pieces);
        self.look_at_the_catalog(pieces);
        outcome
    }

    /// The same, but the edges keep using the previous catalog.
    pub(crate) fn install_unseen(&mut self, pieces: &Pieces) -> Outcome {
        let base = self.engine().catalog_revision();
        self.build(pieces.build(base.next()));
        let outcome = self.when(install_demo(base));
        assert_eq!(outcome.answer(), Answer::Catalog(base.next()));
        outcome
    }

    /// The edges use these definitions from now on.
    pub(crate) fn look_at_the_catalog(&mut self, pieces: &Pieces) {
        self.judge_by(pieces, self.engine().catalog_revision());
    }

    /// The edges use these definitions as the catalog of a revision.
    pub(crate) fn judge_by(&mut self, pieces: &Pieces, revision: CatalogRevision) {
        self.catalog = Arc::new(pieces.build(revision));
    }

    /// An event as an edge observes and evaluates it.
    pub(crate) fn event(&mut self, trigger: &str, payload: &Value) -> ObservedEvent {
        self.drawn += 1;
        let id = EventId(Id::root(self.now(), self.drawn));
        self.observed_event(id, trigger, payload)
    }

    /// An event with a dedupe key.
    pub(crate) fn keyed_event(&mut self, trigger: &str, payload: &Value, key: &str, conflict: Conflict) -> ObservedEvent {
        let mut event = self.event(trigger, payload);
        let key = DedupeKey { scope: "demo".into(), hash: Digest::of(key.as_bytes()) };
        event.dedupe = Some(Dedupe { key, content: event.body.digest, conflict });
        event
    }

    /// An event that an attempt emits.
    pub(crate) fn emitted_event(&self, attempt: AttemptId, trigger: &str, payload: &Value) -> ObservedEvent {
        let id = EventId(Id::derive(self.engine().log(), attempt.0, Role::Emit(0)));
        self.observed_event(id, trigger, payload)
    }

    /// An event with this id. The trigger may name a version of the payload.
    pub(crate) fn observed_event(&self, id: EventId, trigger: &str, payload: &Value) -> ObservedEvent {
        let named: VersionedTrigger = trigger.parse().unwrap();
        let payload = Document::from_value(payload);
        let newest = self.catalog.triggers().get(&named.name).map_or(TriggerVersion::FIRST, |trigger| trigger.version);
        let version = named.version.unwrap_or(newest);
        let newest = self.catalog.newest(&named.name, version, &payload).unwrap();
        let view = EventView { id, trigger: &named.name, source: "api", time: self.now(), payload: &newest, only: None };
        ObservedEvent::from_view(&view, judge(&self.catalog, &view)).came_as(version, &payload)
    }

    /// Sends one event.
    pub(crate) fn receive(&mut self, trigger: &str, payload: &Value) -> Outcome {
        let event = self.event(trigger, payload);
        self.when(receive_events(vec![event]))
    }

    /// The command that requests an action.
    pub(crate) fn request(&self, action: &str) -> Command {
        let name = action.parse().unwrap();
        let params = Document::from_value(&json!({ "text": "hello" }));
        asked_by(
            ana(),
            Ask::RequestExecution(RequestExecution {
                definition: self.catalog.actions()[&name].clone(),
                action: name,
                catalog: self.catalog.revision(),
                body: Body::json(params.bytes().clone()),
                params,
                start_at: None,
                labels: Labels::new(),
                rerun: None,
            }),
        )
    }

    /// The command that requests an action with these parameters, to start at a time.
    pub(crate) fn request_with(&self, action: &str, params: &Value, at: Option<Timestamp>) -> Command {
        let mut command = self.request(action);
        if let Ask::RequestExecution(request) = &mut command.ask {
            request.params = Document::from_value(params);
            request.body = Body::json(request.params.bytes().clone());
            request.start_at = at;
        }
        command
    }

    /// The records of an execution.
    pub(crate) fn of_stream(&self, execution: ExecutionId) -> Vec<Record> {
        self.records().iter().filter(|record| record.stream == StreamId::Execution(execution)).cloned().collect()
    }

    /// The rerun command as an edge creates it from the log, or `None` if the log does not know the
    /// execution.
    pub(crate) fn rerun_of(&self, of: ExecutionId, from: RerunFrom, params: Option<&Value>) -> Option<Command> {
        let records = self.of_stream(of);
        let history = History::of(of, &records)?;
        let action = self.catalog.actions().get(&history.requested.action)?;
        let kept = match &action.run {
            Run::Workflow(workflow) if from != RerunFrom::Start => {
                let read = |id| Ok::<_, Infallible>(self.of_stream(id));
                let kept = history.reusable_steps(self.engine().log(), workflow, &from, read).ok()?;
                Some((u32::try_from(kept.len()).ok()?, Body::json(serde_json::to_vec(&kept).ok()?)))
            }
            _ => None,
        };
        let rerun = Rerun {
            of,
            cause: history.cause,
            rule: None,
            scope: history.requested.scope(),
            principal: None,
            rule_claim: None,
            priority: None,
            from,
            kept,
        };
        let body = records.first()?.body.clone()?;
        let params = params.map_or_else(|| Document::parse(body.content?).ok(), |params| Some(Document::from_value(params)))?;
        let labels = history.requested.labels_given();
        let ask = RequestExecution {
            definition: action.clone(),
            action: history.requested.action,
            catalog: self.catalog.revision(),
            body: Body::json(params.bytes().clone()),
            params,
            start_at: None,
            labels,
            rerun: Some(Box::new(rerun)),
        };
        Some(asked_by(ana(), Ask::RequestExecution(ask)))
    }

    /// Steps the clock, and lets the log record that.
    pub(crate) fn clock_steps_to(&mut self, to: Timestamp) -> Outcome {
        let from = self.now();
        self.step_clock(to);
        self.when(asked_by(Actor::Engine, Ask::NoteClockStep { from, to }))
    }

    /// Lets time pass, and fires due timers.
    pub(crate) fn after(&mut self, millis: u64) -> Outcome {
        self.later(millis);
        self.when(fire_timers())
    }

    /// Requests an action.
    pub(crate) fn ask(&mut self, action: &str) -> Outcome {
        let request = self.request(action);
        self.when(request)
    }

    /// Requests an action and returns the execution.
    #[track_caller]
    pub(crate) fn run(&mut self, action: &str) -> ExecutionId {
        let outcome = self.ask(action);
        match outcome.answer() {
            Answer::Execution(execution) => execution,
            other => panic!("an execution was asked for: {other:?}"),
        }
    }

    /// The latest attempt of an open execution.
    #[track_caller]
    pub(crate) fn attempt(&self, execution: ExecutionId) -> Attempt {
        let phase = self.phase(execution);
        phase.and_then(Phase::attempt).unwrap_or_else(|| panic!("the execution has no attempt: {phase:?}"))
    }

    /// Returns true if an execution has an attempt that may still be reported on.
    pub(crate) fn has_attempt(&self, execution: ExecutionId) -> bool {
        self.phase(execution).and_then(Phase::attempt).is_some()
    }

    /// An execution with the id of its latest attempt.
    #[track_caller]
    pub(crate) fn running(&self, execution: ExecutionId) -> (ExecutionId, AttemptId) {
        (execution, self.attempt(execution).id)
    }

    /// The phase of an execution, or `None` if it has ended.
    pub(crate) fn phase(&self, execution: ExecutionId) -> Option<Phase> {
        self.engine().executions().get(&execution).map(|open| open.phase)
    }

    #[track_caller]
    pub(crate) fn succeed(&mut self, execution: ExecutionId) -> Outcome {
        let report = report(execution, self.attempt(execution), ReportOutcome::Succeeded);
        self.when(report)
    }

    #[track_caller]
    pub(crate) fn fail(&mut self, execution: ExecutionId, kind: FailureKind) -> Outcome {
        let report = report(execution, self.attempt(execution), failed_outcome(kind));
        self.when(report)
    }

    /// The worker of the latest attempt is lost.
    #[track_caller]
    pub(crate) fn lose(&mut self, execution: ExecutionId, evidence: Evidence) -> Outcome {
        let lost = lose(self.running(execution), evidence);
        self.when(lost)
    }

    /// The worker reports that the attempt succeeded and emitted an event.
    #[track_caller]
    pub(crate) fn emit(&mut self, execution: ExecutionId, trigger: &str, payload: &Value) -> Outcome {
        let attempt = self.attempt(execution);
        let event = self.emitted_event(attempt.id, trigger, payload);
        self.when(report_emitting(execution, attempt, event))
    }
}

pub(crate) fn install_demo(base: CatalogRevision) -> Command {
    let digest = Digest::of(format!("demo {base}").as_bytes());
    let manifest = Body::json(&b"{}"[..]);
    let change = PackChange::Install { name: "demo".parse().unwrap(), version: format!("1.{base}.0"), digest, manifest };
    asked_by(ana(), Ask::ChangePacks { base, changes: vec![change] })
}

pub(crate) fn receive_events(events: Vec<ObservedEvent>) -> Command {
    asked_by(ana(), Ask::ReceiveEvents(events))
}

/// The report of an attempt that succeeded without a result.
fn success_report(execution: ExecutionId, attempt: Attempt) -> Report {
    Report {
        execution,
        attempt: attempt.id,
        token: attempt.token,
        outcome: ReportOutcome::Succeeded,
        retry_after_millis: None,
        output_tail: None,
        body: None,
        emitted: None,
        vars: Vec::new(),
        ended_before: None,
    }
}

pub(crate) fn report(execution: ExecutionId, attempt: Attempt, outcome: ReportOutcome) -> Command {
    let body = (outcome == ReportOutcome::Succeeded).then(|| Body::json(&b"{\"done\":true}"[..]));
    report_attempt(Report { outcome, body, ..success_report(execution, attempt) })
}

pub(crate) fn report_giving(execution: ExecutionId, attempt: Attempt, body: Body) -> Command {
    report_attempt(Report { body: Some(body), ..success_report(execution, attempt) })
}

pub(crate) fn report_emitting(execution: ExecutionId, attempt: Attempt, emitted: ObservedEvent) -> Command {
    report_attempt(Report { emitted: Some(Box::new(emitted)), ..success_report(execution, attempt) })
}

/// The report of an attempt that has a result and emits an event.
pub(crate) fn report_giving_and_emitting(execution: ExecutionId, attempt: Attempt, body: Body, emitted: ObservedEvent) -> Command {
    report_attempt(Report { body: Some(body), emitted: Some(Box::new(emitted)), ..success_report(execution, attempt) })
}

/// The report of an attempt that sets or removes vars.
pub(crate) fn report_changing(execution: ExecutionId, attempt: Attempt, vars: &[(&str, Value)]) -> Command {
    let change = |(name, value): &(&str, Value)| VarChange {
        name: name.parse().unwrap(),
        value: (!value.is_null()).then(|| Body::json(value.to_string())),
    };
    let vars = vars.iter().map(change).collect();
    report_attempt(Report { vars, ..success_report(execution, attempt) })
}

/// A person sets a var.
pub(crate) fn set_var(name: &str, value: &Value) -> Command {
    set_var_seen(name, value, SeenVar::Anyhow)
}

/// The same, on the condition that the var is as it was seen.
pub(crate) fn set_var_seen(name: &str, value: &Value, seen: SeenVar) -> Command {
    asked_by(ana(), Ask::SetVar { name: name.parse().unwrap(), value: Body::json(value.to_string()), seen })
}

/// A person removes a var.
pub(crate) fn remove_var(name: &str) -> Command {
    asked_by(ana(), Ask::RemoveVar { name: name.parse().unwrap(), seen: SeenVar::Anyhow })
}

/// A message that the worker received from a running attempt.
pub(crate) fn take_message(execution: ExecutionId, attempt: Attempt, index: u32, said: MessageContent) -> Command {
    asked_by(worker(), Ask::TakeMessage(Message { execution, attempt: attempt.id, token: attempt.token, index, said }))
}

/// The attempt gives a file away.
pub(crate) fn artifact(name: &str) -> MessageContent {
    MessageContent::Artifact(SaidArtifact { name: name.parse().unwrap(), media_type: None, blob: Digest::of(name.as_bytes()), bytes: 3 })
}

/// The attempt reports a progress of 40 %.
pub(crate) fn progress(execution: ExecutionId, attempt: Attempt, index: u32) -> Command {
    let body = Some(Body::json(&br#"{"message":"on its way"}"#[..]));
    take_message(execution, attempt, index, MessageContent::Progress { thousandths: Some(400), body })
}

pub(crate) fn report_attempt(report: Report) -> Command {
    asked_by(worker(), Ask::ReportAttempt(report))
}

pub(crate) fn failed_outcome(kind: FailureKind) -> ReportOutcome {
    ReportOutcome::Failed(Failure::new(kind, "it did not work"))
}

/// The answer to the caller for one event.
#[track_caller]
pub(crate) fn result_of_one(outcome: &Outcome) -> ReceivedEvent {
    match outcome.answer() {
        Answer::Events(mut events) if events.len() == 1 => events.remove(0),
        other => panic!("one event was sent in: {other:?}"),
    }
}
