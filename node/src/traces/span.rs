//! Spans, and how records become spans.
//!
//! An event or an enforcement begins and ends at once, and its span is created with its record; spans of
//! executions and attempts are created at their end.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_api::ports::LogAccess;
use ensue_engine::events::internal::InternalTrigger;
use ensue_engine::executions::facts::{ExecutionRequested, Failure};
use ensue_engine::executions::milestone::{HowAttemptEnded, HowEnded, Milestone};
use ensue_engine::fact::{ByNoun, EventFact, ExecutionFact, RuleFact};
use ensue_engine::ids::{AttemptId, ExecutionId, Id};
use ensue_engine::names::ActionRef;
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::{Record, Revision, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::time::Timestamp;
use ensue_engine::trace::{SpanId, TraceContext, TraceId, TraceParent};
use ensue_views::enforcements::OutcomeName;
use ensue_views::executions::{AttemptStatus, Status};

use super::waiting_spans::WaitingSpans;

/// The most executions whose beginnings are kept at once; the beginnings of others are read from the log at
/// their end.
const EXECUTIONS_MAX: usize = 10_000;
/// The longest reason for a failure in a span, in bytes.
const MESSAGE_BYTES_MAX: usize = 256;

/// One operation in a trace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) trace: TraceId,
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// Why it failed, as text, or empty if an attribute says it; none if it succeeded.
    pub(super) error: Option<String>,
    pub(super) attributes: Vec<(&'static str, Value)>,
}

/// The kind of a span, in OpenTelemetry's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request from outside.
    Server,
    /// A request that an action sends.
    Client,
    /// Something inside the node.
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(u64),
}

/// Creates spans from records as they arrive.
pub(crate) struct Tracing {
    open: BTreeMap<ExecutionId, OpenExecution>,
    log: Arc<dyn LogAccess>,
    to: Arc<WaitingSpans>,
}

/// How an execution that has not ended began.
#[derive(Clone, Debug)]
struct OpenExecution {
    trace: TraceParent,
    parent: SpanId,
    action: ActionRef,
    requested_at: Timestamp,
    attempt: Option<OpenAttempt>,
}

#[derive(Clone, Copy, Debug)]
struct OpenAttempt {
    id: Id,
    number: u32,
    started_at: Timestamp,
}

impl Tracing {
    /// Sends spans to `to`; beginnings that it did not see are read from the log.
    pub(crate) fn new(log: Arc<dyn LogAccess>, to: Arc<WaitingSpans>) -> Self {
        Self { open: BTreeMap::new(), log, to }
    }

    /// Creates the spans of records; each record is passed once.
    pub(crate) fn note(&mut self, records: &[Record]) {
        for record in records {
            let Some(trace) = sampled_trace(record) else { continue };
            match record.fact.by_noun() {
                ByNoun::EventFact(EventFact::EventReceived(event)) => {
                    // An event that an attempt emits is under the attempt; an event from outside is under the
                    // request that brought it.
                    let parent = match InternalTrigger::of(&event.trigger) {
                        None => record.cause.parent.map_or(trace.span(), SpanId::of),
                        // The engine's own events follow from a record that has no span; the parent is the
                        // execution that they are about.
                        Some(_) => {
                            let of = event.source.strip_prefix("execution/").and_then(|id| id.parse().ok());
                            of.map_or(trace.span(), SpanId::of)
                        }
                    };
                    let told = vec![("ensue.event", text(&record.id)), ("ensue.matched", Value::Number(event.matched.into()))];
                    self.push_instant(record, &trace, parent, format!("event {}", event.trigger), None, told);
                }
                ByNoun::RuleFact(RuleFact::EnforcementMade(made)) => {
                    let error = match &made.outcome {
                        Outcome::Rejected { error } => Some(cut(error)),
                        Outcome::Executed { .. }
                        | Outcome::Held { .. }
                        | Outcome::Deduplicated { .. }
                        | Outcome::Throttled
                        | Outcome::Skipped { .. }
                        | Outcome::Shadowed => None,
                    };
                    let told =
                        vec![("ensue.enforcement", text(&record.id)), ("ensue.outcome", text(OutcomeName::from(&made.outcome).as_str()))];
                    self.push_instant(record, &trace, SpanId::of(made.event.0), format!("enforcement {}", made.rule), error, told);
                }
                ByNoun::ExecutionFact(fact) => {
                    if let StreamId::Execution(id) = &record.stream {
                        self.note_execution(*id, record, &fact);
                    }
                }
                _ => {}
            }
        }
    }

    fn note_execution(&mut self, id: ExecutionId, record: &Record, fact: &ExecutionFact<'_>) {
        match fact.milestone() {
            Milestone::Asked(asked) => {
                if self.open.len() < EXECUTIONS_MAX
                    && let Some(open) = OpenExecution::of(record, asked)
                {
                    self.open.insert(id, open);
                }
            }
            Milestone::AttemptBegan(started) => {
                if let Some(open) = self.open.get_mut(&id) {
                    open.attempt = Some(OpenAttempt { id: record.id, number: started.number, started_at: record.time });
                }
            }
            Milestone::AttemptEnded(ended) => {
                let outcome = AttemptStatus::from(ended.how);
                let error = match ended.how {
                    HowAttemptEnded::Succeeded => None,
                    // A cancelled attempt is not an error: the caller got what it asked for.
                    HowAttemptEnded::Failed(error) => (outcome != AttemptStatus::Cancelled).then(|| why(error)),
                    HowAttemptEnded::Lost(lost) => Some(lost.error.as_ref().map_or_else(|| "its worker is gone".to_owned(), why)),
                };
                self.attempt_ended(id, record, ended.ended_at, ended.attempt, outcome, error);
            }
            // An end that somebody requested is not an error.
            Milestone::Ended(ended) => {
                let error = ended.error.filter(|_| ended.how != HowEnded::Cancelled);
                self.close_execution(id, record, Status::from(ended.how), error.map(why));
            }
            Milestone::Said { .. } | Milestone::Held | Milestone::Freed | Milestone::Settled(_) => {}
            Milestone::CancelRequested | Milestone::Noted => {}
        }
    }

    fn attempt_ended(
        &mut self,
        id: ExecutionId,
        end: &Record,
        ended_at: Option<Timestamp>,
        attempt: AttemptId,
        outcome: AttemptStatus,
        error: Option<String>,
    ) {
        let Some(open) = self.find_open(id, end) else { return };
        let Some(begun) = open.attempt.filter(|begun| begun.id == attempt.0) else { return };
        self.to.push(Span {
            trace: open.trace.trace(),
            id: SpanId::of(attempt.0),
            parent: Some(SpanId::of(id.0)),
            name: format!("attempt {}", open.action),
            kind: Kind::Internal,
            from: begun.started_at,
            until: ended_at.map_or(end.time, |ended_at| ended_at.max(begun.started_at)),
            error,
            attributes: vec![
                ("ensue.attempt", text(&attempt)),
                ("ensue.execution", text(&id)),
                ("ensue.number", Value::Number(begun.number.into())),
                ("ensue.outcome", text(outcome.as_str())),
                ("ensue.position", Value::Number(end.position.0)),
            ],
        });
    }

    fn close_execution(&mut self, id: ExecutionId, end: &Record, outcome: Status, error: Option<String>) {
        let Some(open) = self.find_open(id, end) else { return };
        self.open.remove(&id);
        self.to.push(Span {
            trace: open.trace.trace(),
            id: SpanId::of(id.0),
            parent: Some(open.parent),
            name: format!("execution {}", open.action),
            kind: Kind::Internal,
            from: open.requested_at,
            until: end.time,
            error,
            attributes: vec![
                ("ensue.execution", text(&id)),
                ("ensue.outcome", text(outcome.as_str())),
                ("ensue.position", Value::Number(end.position.0)),
            ],
        });
    }

    /// Returns how an execution began, read from the log if the beginning was not seen, as of the record
    /// `until`.
    fn find_open(&mut self, id: ExecutionId, until: &Record) -> Option<OpenExecution> {
        if let Some(open) = self.open.get(&id) {
            return Some(open.clone());
        }
        let mut open: Option<OpenExecution> = None;
        let mut after = Revision(0);
        loop {
            let records = match self.log.read_stream(&StreamId::Execution(id), after, ReadLimit::default()) {
                Ok(records) => records,
                Err(error) => {
                    tracing::debug!(%error, execution = %id, "an execution is missing from its trace");
                    return None;
                }
            };
            let Some(last) = records.last() else { break };
            after = last.revision;
            for record in records.iter().take_while(|record| record.position < until.position) {
                if let ByNoun::ExecutionFact(ExecutionFact::ExecutionRequested(asked)) = record.fact.by_noun() {
                    open = OpenExecution::of(record, asked);
                }
                if let (ByNoun::ExecutionFact(ExecutionFact::AttemptStarted(started)), Some(open)) = (record.fact.by_noun(), &mut open) {
                    open.attempt = Some(OpenAttempt { id: record.id, number: started.number, started_at: record.time });
                }
            }
            if last.position >= until.position {
                break;
            }
        }
        if let Some(open) = open.clone().filter(|_| self.open.len() < EXECUTIONS_MAX) {
            self.open.insert(id, open);
        }
        open
    }

    fn push_instant(
        &self,
        record: &Record,
        trace: &TraceParent,
        parent: SpanId,
        name: String,
        error: Option<String>,
        mut attributes: Vec<(&'static str, Value)>,
    ) {
        attributes.push(("ensue.position", Value::Number(record.position.0)));
        self.to.push(Span {
            trace: trace.trace(),
            id: SpanId::of(record.id),
            parent: Some(parent),
            name,
            kind: Kind::Internal,
            from: record.time,
            until: record.time,
            error,
            attributes,
        });
    }
}

impl OpenExecution {
    /// Returns none if the trace is not recorded.
    fn of(record: &Record, asked: &ExecutionRequested) -> Option<Self> {
        let trace = sampled_trace(record)?;
        let above = asked
            .part_of
            .as_ref()
            .map(|part_of| part_of.workflow.0)
            .or(asked.rerun_of.map(|of| of.0))
            .or(asked.enforcement.map(|enforcement| enforcement.0));
        let parent = above.map_or(trace.span(), SpanId::of);
        Some(Self { trace, parent, action: asked.action.clone(), requested_at: record.time, attempt: None })
    }
}

/// Returns the trace that a record is part of, or none if it is part of none or of one that is not recorded.
fn sampled_trace(record: &Record) -> Option<TraceParent> {
    let trace: TraceContext = record.cause.trace.as_ref()?.parse().ok()?;
    Some(trace.parent).filter(TraceParent::is_sampled)
}

fn why(error: &Failure) -> String {
    cut(&format!("{}: {}", error.kind.as_str(), error.message))
}

fn cut(message: &str) -> String {
    message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned()
}

fn text(value: &(impl ToString + ?Sized)) -> Value {
    Value::Text(value.to_string())
}

#[cfg(test)]
mod tests;
