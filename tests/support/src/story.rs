//! Logs written by hand, for tests of views and of their stores, without a core, a store or a clock.
//!
//! A story follows the core's order of records, but it decides nothing: its author does.

use std::collections::BTreeMap;

use ensue_engine::catalog::{Control, Mode};
use ensue_engine::dead_letters::facts::DeadLetterDismissed;
use ensue_engine::events::facts::{DeliveryRefused, EventReceived};
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::executions::facts::{
    ArtifactKept, AttemptEmitted, AttemptFailed, AttemptLost, AttemptProgressed, AttemptReportedLate, AttemptStarted, AttemptSucceeded,
    Evidence, ExecutionBecameIndeterminate, ExecutionCancelRequested, ExecutionCancelled, ExecutionFailed, ExecutionRequested,
    ExecutionSettled, ExecutionSucceeded, ExecutionTimedOut, Failure, FailureKind, MessageRefused, Settlement,
};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ArtifactId, AttemptId, EnforcementId, EventId, ExecutionId, Id, InquiryId, LogId, Role, RuleId};
use ensue_engine::inquiries::facts::{InquiryAnswered, InquiryOpened, Verdict};
use ensue_engine::names::{RuleRef, SensorRef, TriggerRef};
use ensue_engine::record::{Actor, Body, CatalogRevision, Cause, Chain, Digest, Epoch, Position, Record, Revision, StreamId};
use ensue_engine::rules::facts::{EnforcementMade, LoopStopped, Outcome, RuleErred, RuleErrorsCounted, RuleModeSet};
use ensue_engine::rules::flow::facts::{EnforcementHeldOn, EnforcementReleased, EnforcementSuperseded, Release, SupersededBecause};
use ensue_engine::time::Timestamp;
use ensue_engine::timers::facts::{TimerFired, TimerKind};
use ensue_engine::workflows::facts::PartOf;

use crate::NOON;
use crate::single::execution_request;

/// The time between two records, in milliseconds.
const PACE_MILLIS: u64 = 250;

/// A log that is being written.
#[derive(Clone, Debug)]
pub struct Story {
    log: LogId,
    now: Timestamp,
    records: Vec<Record>,
    revisions: BTreeMap<StreamId, u64>,
    causes: BTreeMap<StreamId, Cause>,
    open: Vec<Open>,
    ways: Vec<(RuleRef, Position)>,
    last_event: Option<EventId>,
}

/// An open execution of the story.
#[derive(Clone, Copy, Debug)]
struct Open {
    id: ExecutionId,
    attempts: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Queued,
    Running(AttemptId),
    Cancelling(AttemptId),
    Indeterminate(AttemptId),
    Asking,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            log: LogId(Id::root(NOON, 1)),
            now: NOON,
            records: Vec::new(),
            revisions: BTreeMap::new(),
            causes: BTreeMap::new(),
            open: Vec::new(),
            ways: Vec::new(),
            last_event: None,
        }
    }
}

impl Story {
    /// Creates a story with an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a log of any shape that the core could make. Each byte selects the next thing that happens.
    pub fn walk(choices: &[u8]) -> Self {
        let mut story = Self::new();
        for choice in choices {
            story.step(*choice);
        }
        story
    }

    /// Writes a log in which everything that a walk can select happens several times.
    pub fn of_everything() -> Self {
        // Steps of the golden ratio reach all bytes in an irregular order.
        let choices: Vec<u8> = (0..1_600u32).map(|step| (step.wrapping_mul(2_654_435_769) >> 24) as u8).collect();
        Self::walk(&choices)
    }

    /// Returns the log's id.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Returns the log's records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns the time of the next record.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets time pass without records.
    pub fn later(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Continues at another time, as after a step of the clock.
    pub fn go_on_at(&mut self, time: Timestamp) {
        self.now = time;
    }

    /// Records an event from outside, and returns its id.
    pub fn event(&mut self, trigger: &str, payload: &str) -> EventId {
        let id = EventId(self.fresh());
        let sensor: SensorRef = name("garden.gauge");
        let fact = EventReceived {
            trigger: name(trigger),
            version: TriggerVersion::FIRST,
            source: sensor.to_string(),
            sensor: Some(sensor.clone()),
            rule: None,
            occurred_at: self.now,
            catalog: CatalogRevision(1),
            matched: 1,
            undecided: 0,
            erred: 0,
            again: Vec::new(),
            dedupe: None,
            internal_above: std::collections::BTreeSet::new(),
        };
        let body = Body::json(payload.to_owned());
        self.append_fact(StreamId::Event(id), Some(id.0), Actor::Sensor(sensor), None, fact.into(), Some(body));
        self.last_event = Some(id);
        id
    }

    /// Records that a rule requested an action for an event, and returns the execution.
    pub fn execute(&mut self, rule: &str, event: EventId, action: &str) -> ExecutionId {
        self.executed_with(rule, event, action, &[])
    }

    /// The same, for an execution with these labels.
    pub fn executed_with(&mut self, rule: &str, event: EventId, action: &str, labels: &[(&str, &str)]) -> ExecutionId {
        let labels = labels.iter().map(|(label, value)| (name(label), name(value))).collect();
        let rule: RuleRef = name(rule);
        let enforcement = self.enforcement_id(&rule, event);
        let execution = ExecutionId(Id::derive(self.log, enforcement.0, Role::Execution));
        self.enforce(&rule, event, Outcome::Executed { execution });
        let fact = ExecutionRequested {
            rule: Some(rule),
            event: Some(event),
            enforcement: Some(enforcement),
            labels,
            ..execution_request(action)
        };
        let cause = self.causes.get(&StreamId::Enforcement(enforcement)).map(|cause| cause.from_parent(enforcement.0));
        let body = Some(Body::json(r#"{"gate":"north"}"#));
        self.append_fact(StreamId::Execution(execution), Some(execution.0), Actor::Engine, cause, fact.into(), body);
        self.open.push(Open { id: execution, attempts: 0, phase: Phase::Queued });
        execution
    }

    /// Records that a worker took an execution, and returns the attempt.
    pub fn start(&mut self, execution: ExecutionId) -> AttemptId {
        let number = self.open.iter().find(|open| open.id == execution).map_or(1, |open| open.attempts + 1);
        let attempt = AttemptId(Id::derive(self.log, execution.0, Role::Attempt(number)));
        let token = self.records.len() as u64;
        let fact = AttemptStarted { number, token, worker: "local".into(), lease_millis: 30_000 };
        self.append_execution_fact(execution, Some(attempt.0), fact.into(), None);
        self.set(execution, |open| (open.attempts, open.phase) = (number, Phase::Running(attempt)));
        attempt
    }

    /// Records that an attempt published a file, and returns the artifact.
    pub fn gave_away(&mut self, execution: ExecutionId, attempt: AttemptId, file: &str) -> ArtifactId {
        let index = self.records.len() as u32;
        let id = ArtifactId(Id::derive(self.log, attempt.0, Role::Artifact(index)));
        let blob = Digest::of(file.as_bytes());
        let media_type = Some(name("text/csv"));
        let fact = ArtifactKept { attempt, index, name: name(file), media_type, blob, bytes: 1_024 };
        self.append_execution_fact(execution, Some(id.0), fact.into(), None);
        id
    }

    /// Records that an attempt returned a result, with which its execution succeeded.
    pub fn succeed(&mut self, execution: ExecutionId, attempt: AttemptId) {
        let body = Some(Body::json(r#"{"open":true}"#));
        self.append_execution_fact(execution, None, AttemptSucceeded { attempt, ended_at: None }.into(), body);
        self.end(execution, ExecutionSucceeded::default().into());
    }

    /// Records that an attempt failed, and its execution with it.
    pub fn fail(&mut self, execution: ExecutionId, attempt: AttemptId, error: Failure) {
        self.append_execution_fact(
            execution,
            None,
            AttemptFailed { attempt, error: error.clone(), retry_after_millis: None, output_tail: None, ended_at: None }.into(),
            None,
        );
        let ended: Fact = if error.kind == FailureKind::Timeout {
            ExecutionTimedOut { error, part_of: None, scope: None }.into()
        } else {
            ExecutionFailed { error, part_of: None, scope: None }.into()
        };
        self.end(execution, ended);
    }

    /// Records that an execution opened an inquiry with a quorum of two, and returns the inquiry.
    pub fn open_inquiry(&mut self, execution: ExecutionId, assignees: &[&str], part_of: Option<PartOf>) -> InquiryId {
        let id = Id::derive(self.log, execution.0, Role::Inquiry(1));
        let fact = InquiryOpened {
            title: "Open the gate?".into(),
            assignees: assignees.iter().map(|assignee| name(assignee)).collect(),
            excluded: vec!["eve".into()],
            quorum: 2,
            veto: None,
            expires_at: Some(self.now.plus_millis(3_600_000)),
            digest: Digest::of(b"asked"),
            digest_required: false,
            part_of,
            attempt: None,
            scope: None,
        };
        self.append_execution_fact(execution, Some(id), fact.into(), None);
        InquiryId(id)
    }

    /// Records an answer.
    pub fn answer(&mut self, execution: ExecutionId, by: &str, verdict: Verdict) {
        let inquiry = InquiryId(Id::derive(self.log, execution.0, Role::Inquiry(1)));
        let body = Some(Body::json(r#"{"open":true}"#));
        self.append_execution_fact(
            execution,
            None,
            InquiryAnswered { inquiry, by: by.into(), verdict, digest: None, on_behalf_of: None }.into(),
            body,
        );
    }

    /// Records that an inquiry expired.
    pub fn expire(&mut self, execution: ExecutionId) {
        let fact = TimerFired { kind: TimerKind::Expiry, number: 1, due: self.now, schedule: None };
        self.append_execution_fact(execution, None, fact.into(), None);
        let error = Failure::new(FailureKind::Expired, "nobody answered within 1h");
        self.end(execution, ExecutionFailed { error, part_of: None, scope: None }.into());
    }

    /// Records that an execution ended because it was asked to.
    pub fn cancel(&mut self, execution: ExecutionId) {
        self.end(execution, ExecutionCancelled::default().into());
    }

    /// Records the outcome of a rule's match on an event.
    pub fn enforce(&mut self, rule: &RuleRef, event: EventId, outcome: Outcome) -> EnforcementId {
        let id = self.enforcement_id(rule, event);
        let fact =
            EnforcementMade { rule: rule.clone(), rule_id: self.rule_id(rule), catalog: CatalogRevision(1), event, outcome, flow: None };
        let cause = self.causes.get(&StreamId::Event(event)).map(|cause| cause.from_parent(event.0));
        self.append_fact(StreamId::Enforcement(id), Some(id.0), Actor::Engine, cause, fact.into(), None);
        id
    }

    /// Records any fact, as the next record of a stream.
    pub fn append_fact(
        &mut self,
        stream: StreamId,
        begins: Option<Id>,
        actor: Actor,
        cause: Option<Cause>,
        fact: Fact,
        body: Option<Body>,
    ) -> Position {
        let revision = self.revisions.entry(stream.clone()).or_insert(0);
        *revision += 1;
        let position = Position(self.records.len() as u64 + 1);
        let id = begins.unwrap_or_else(|| Id::derive(self.log, self.log.0, Role::Revision(position.0)));
        let cause = cause.unwrap_or_else(|| Cause::root(id, None));
        self.causes.entry(stream.clone()).or_insert_with(|| cause.clone());
        self.records.push(Record {
            position,
            log: self.log,
            epoch: Epoch(1),
            batch: id,
            stream,
            revision: Revision(*revision),
            schema: fact.schema(),
            id,
            time: self.now,
            actor,
            cause,
            fact_json: fact.to_json().expect("a story's facts are small"),
            fact,
            body,
            chain: Chain::default(),
        });
        self.now = self.now.plus_millis(PACE_MILLIS);
        position
    }

    /// Returns the id of a rule of the story.
    pub fn rule_id(&self, rule: &RuleRef) -> RuleId {
        RuleId(Id::derive(self.log, self.log.0, Role::Stream(&StreamId::Rule(rule.clone()))))
    }

    fn enforcement_id(&self, rule: &RuleRef, event: EventId) -> EnforcementId {
        EnforcementId(Id::derive(self.log, event.0, Role::Enforcement(self.rule_id(rule))))
    }

    fn fresh(&self) -> Id {
        Id::root(self.now, self.records.len() as u128 + 2)
    }

    fn append_execution_fact(&mut self, execution: ExecutionId, begins: Option<Id>, fact: Fact, body: Option<Body>) {
        let stream = StreamId::Execution(execution);
        let cause = self.causes.get(&stream).map(|cause| cause.from_parent(execution.0));
        self.append_fact(stream, begins, Actor::Engine, cause, fact, body);
    }

    fn end(&mut self, execution: ExecutionId, fact: Fact) {
        self.append_execution_fact(execution, None, fact, None);
        self.open.retain(|open| open.id != execution);
    }

    fn set(&mut self, execution: ExecutionId, change: impl FnOnce(&mut Open)) {
        if let Some(open) = self.open.iter_mut().find(|open| open.id == execution) {
            change(open);
        }
    }

    /// Records a message of a running attempt.
    fn add_message(&mut self, id: ExecutionId, attempt: AttemptId, variant: usize) {
        let index = self.records.len() as u32;
        match (variant % 4, self.last_event) {
            (0, _) => {
                let fact = AttemptProgressed { attempt, index, thousandths: Some(400) };
                self.append_execution_fact(id, None, fact.into(), Some(Body::json(r#"{"message":"the gate creaks"}"#)));
            }
            (1, _) => {
                self.gave_away(id, attempt, "gate.csv");
            }
            (2, Some(event)) => self.append_execution_fact(id, None, AttemptEmitted { attempt, index, event }.into(), None),
            (3, _) => {
                let fact = MessageRefused { attempt, index, reason: "it is not JSON".into() };
                self.append_execution_fact(id, None, fact.into(), None);
            }
            (_, _) => {}
        }
    }

    fn step(&mut self, choice: u8) {
        const TRIGGERS: [&str; 2] = ["garden.rained", "garden.knocked"];
        let variant = usize::from(choice / 16);
        match choice % 16 {
            0 | 1 => {
                self.event(TRIGGERS[variant % TRIGGERS.len()], r#"{"litres":3}"#);
            }
            2..=4 => self.step_rule(variant),
            5 => self.step_rule_error(variant),
            6 => self.step_operator(variant),
            _ => self.step_execution(variant, choice % 16),
        }
    }

    fn step_rule(&mut self, variant: usize) {
        const RULES: [&str; 3] = ["garden.open_gate", "garden.greet", "garden.watch"];
        let Some(event) = self.last_event else { return };
        let rule = RULES[variant % RULES.len()];
        let name: RuleRef = name(rule);
        if self.revisions.contains_key(&StreamId::Enforcement(self.enforcement_id(&name, event))) {
            return;
        }
        let outcome = match variant % 5 {
            0 | 1 if variant > 4 => return self.step_held(&name, event, variant),
            0 => Outcome::Rejected { error: "`gate` is missing".into() },
            1 => Outcome::Shadowed,
            _ => {
                let labels: &[(&str, &str)] = &[("site", ["north", "south"][variant % 2]), ("team", "water")];
                self.executed_with(rule, event, ["garden.open", "garden.speak"][variant % 2], &labels[..variant % 3]);
                return;
            }
        };
        self.enforce(&name, event, outcome);
    }

    /// Records a match that flow control handles, and its outcome.
    fn step_held(&mut self, rule: &RuleRef, event: EventId, variant: usize) {
        if variant == 15 {
            self.enforce(rule, event, Outcome::Throttled);
            return;
        }
        let id = self.enforce(rule, event, Outcome::Held { by: Control::Debounce, until: self.now });
        let (rule, rule_id) = (rule.clone(), self.rule_id(rule));
        let fact: Fact = match variant {
            5 => EnforcementHeldOn { rule, rule_id, by: Control::Missing, until: self.now }.into(),
            6 => EnforcementReleased { rule, rule_id, outcome: Release::Shadowed }.into(),
            _ => EnforcementSuperseded { rule, rule_id, why: SupersededBecause::Newer, by: Some(id) }.into(),
        };
        self.append_fact(StreamId::Enforcement(id), None, Actor::Engine, None, fact, None);
    }

    fn step_rule_error(&mut self, variant: usize) {
        let Some(event) = self.last_event else { return };
        let known = self.ways.get(variant).cloned();
        let rule: RuleRef = known.as_ref().map_or_else(|| name("garden.watch"), |(rule, _)| rule.clone());
        let rule_id = self.rule_id(&rule);
        let fact: Fact = match &known {
            Some((rule, error)) => RuleErrorsCounted { rule: rule.clone(), rule_id, event, error: *error, count: 7 }.into(),
            None => {
                let message = format!("way {} of erring", self.ways.len());
                RuleErred { rule: rule.clone(), rule_id, event, error: Digest::of(message.as_bytes()), message }.into()
            }
        };
        let position = self.append_fact(StreamId::Rule(rule.clone()), None, Actor::Engine, None, fact, None);
        if known.is_none() {
            self.ways.push((rule, position));
        }
    }

    fn step_operator(&mut self, variant: usize) {
        let rule: RuleRef = name("garden.greet");
        let rule_id = self.rule_id(&rule);
        let sensor: SensorRef = name("garden.gauge");
        let operator = Actor::Token("ana".into());
        match (variant % 3, self.last_event) {
            (0, _) => {
                let fact = RuleModeSet { rule: rule.clone(), rule_id, mode: Mode::Shadow };
                self.append_fact(StreamId::Rule(rule), None, operator, None, fact.into(), None);
            }
            (1, Some(event)) => {
                let fact = LoopStopped { rule: rule.clone(), rule_id, event, depth: 17 };
                self.append_fact(StreamId::Rule(rule), None, Actor::Engine, None, fact.into(), None);
            }
            (_, _) => {
                let trigger: TriggerRef = name("garden.rained");
                let fact =
                    DeliveryRefused { sensor: sensor.clone(), trigger: Some(trigger), reason: "`litres` is missing".into(), with: None };
                let body = Some(Body::json("{}"));
                self.append_fact(StreamId::Sensor(sensor.clone()), None, Actor::Sensor(sensor), None, fact.into(), body);
                let of = self.records.last().map_or(self.log.0, |record| record.id);
                if variant.is_multiple_of(2) {
                    self.append_fact(StreamId::Log(self.log), None, operator, None, DeadLetterDismissed { of }.into(), None);
                }
            }
        }
    }

    fn step_execution(&mut self, variant: usize, what: u8) {
        if self.open.is_empty() {
            return;
        }
        let Open { id, phase, .. } = self.open[variant % self.open.len()];
        match (phase, what) {
            (Phase::Queued, 7) => {
                self.append_execution_fact(id, None, ExecutionCancelRequested {}.into(), None);
                self.end(id, ExecutionCancelled::default().into());
            }
            (Phase::Queued, 12) => {
                self.open_inquiry(id, [&["role:keepers", "ana"][..], &["bo"]][variant % 2], None);
                self.set(id, |open| open.phase = Phase::Asking);
            }
            (Phase::Asking, 7) => self.cancel(id),
            (Phase::Asking, 8) => self.expire(id),
            (Phase::Asking, 9) => {
                self.answer(id, "ana", Verdict::Decides);
                self.end(id, ExecutionSucceeded::default().into());
            }
            (Phase::Asking, _) => self.answer(id, "bo", Verdict::Counts),
            (Phase::Queued, _) => {
                self.start(id);
            }
            (Phase::Running(attempt), 7) => {
                self.append_execution_fact(id, None, ExecutionCancelRequested {}.into(), None);
                self.set(id, |open| open.phase = Phase::Cancelling(attempt));
            }
            (Phase::Running(attempt), 8) => self.fail(id, attempt, Failure::new(FailureKind::ExitCode, "it stuck").with_detail(1)),
            (Phase::Running(attempt), 9) => self.fail(id, attempt, Failure::new(FailureKind::Timeout, "it took too long")),
            (Phase::Running(attempt), 10) => {
                self.append_execution_fact(id, None, AttemptLost { attempt, evidence: Evidence::NotBegun, error: None }.into(), None);
                self.set(id, |open| open.phase = Phase::Queued);
            }
            (Phase::Running(attempt), 11) => {
                self.append_execution_fact(id, None, AttemptLost { attempt, evidence: Evidence::MayHaveBegun, error: None }.into(), None);
                self.append_execution_fact(id, None, ExecutionBecameIndeterminate {}.into(), None);
                self.set(id, |open| open.phase = Phase::Indeterminate(attempt));
            }
            (Phase::Running(attempt), 12) if variant % 2 == 1 => self.add_message(id, attempt, variant / 2),
            (Phase::Running(attempt), 12) => {
                let late = AttemptReportedLate { attempt, error: Some(Failure::new(FailureKind::Network, "no route")) };
                self.append_execution_fact(id, None, late.into(), None);
            }
            (Phase::Running(attempt) | Phase::Indeterminate(attempt), 13..) => self.succeed(id, attempt),
            (Phase::Running(_), _) => {}
            (Phase::Cancelling(attempt), _) => {
                let error = Failure::new(FailureKind::Cancelled, "it was stopped");
                self.append_execution_fact(
                    id,
                    None,
                    AttemptFailed { attempt, error, retry_after_millis: None, output_tail: None, ended_at: None }.into(),
                    None,
                );
                self.end(id, ExecutionCancelled::default().into());
            }
            (Phase::Indeterminate(_), 7 | 8) => {
                self.append_execution_fact(id, None, ExecutionSettled { outcome: Settlement::Retry }.into(), None);
                self.set(id, |open| open.phase = Phase::Queued);
            }
            (Phase::Indeterminate(_), 9 | 10) => {
                let body = Some(Body::json(r#"{"open":"seen"}"#));
                self.append_execution_fact(id, None, ExecutionSettled { outcome: Settlement::Succeeded }.into(), body);
                self.end(id, ExecutionSucceeded::default().into());
            }
            (Phase::Indeterminate(_), _) => {
                let error = "the gate is shut".to_owned();
                self.append_execution_fact(
                    id,
                    None,
                    ExecutionSettled { outcome: Settlement::Failed { error: error.clone() } }.into(),
                    None,
                );
                self.end(id, ExecutionFailed { error: Failure::new(FailureKind::Lost, error), part_of: None, scope: None }.into());
            }
        }
    }
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a story's names are names")
}
