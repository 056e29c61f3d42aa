//! Tests of spans from records: which spans there are, and the parent of each.

use ensue_api::{Queue, QueueName};
use ensue_engine::events::facts::EventReceived;
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::executions::facts::{AttemptFailed, AttemptSucceeded, ExecutionRequested, ExecutionSucceeded, FailureKind};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EnforcementId, EventId, RuleId};
use ensue_engine::ports::LogError;
use ensue_engine::record::CatalogRevision;
use ensue_engine::rules::facts::EnforcementMade;
use ensue_engine::trace::Sampler;
use ensue_test_support::single::{attempt_start, execution_request, id, record};

use super::*;
use crate::clock::SystemClock;
use crate::log_access::LogReaders;
use crate::traces::SpanCounts;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const EVENT: u128 = 10;
const ENFORCEMENT: u128 = 11;
const EXECUTION: u128 = 12;
const ATTEMPTS: [u128; 2] = [13, 14];

fn requested_by(enforcement: EnforcementId) -> ExecutionRequested {
    ExecutionRequested { enforcement: Some(enforcement), ..execution_request("core.echo") }
}

fn sample_enforcement() -> EnforcementMade {
    EnforcementMade {
        rule: "examples.echo".parse().unwrap(),
        rule_id: RuleId(id(3)),
        catalog: CatalogRevision(1),
        event: EventId(id(EVENT)),
        outcome: Outcome::Executed { execution: ExecutionId(id(EXECUTION)) },
        flow: None,
    }
}

/// The records that follow an event if the action fails once.
fn story(trace: &str) -> Vec<Record> {
    let enforcement = StreamId::Enforcement(EnforcementId(id(ENFORCEMENT)));
    let of_execution = |of, at, fact: Fact| record(id(of), StreamId::Execution(ExecutionId(id(EXECUTION))), at, Some(trace), fact);
    let error = Failure::new(FailureKind::ExitCode, "it ended with 1");
    vec![
        record(id(ENFORCEMENT), enforcement, 10, Some(trace), sample_enforcement()),
        of_execution(EXECUTION, 10, requested_by(EnforcementId(id(ENFORCEMENT))).into()),
        of_execution(ATTEMPTS[0], 20, attempt_start(1).into()),
        of_execution(
            100,
            30,
            AttemptFailed { attempt: AttemptId(id(ATTEMPTS[0])), error, retry_after_millis: None, output_tail: None, ended_at: None }
                .into(),
        ),
        of_execution(ATTEMPTS[1], 40, attempt_start(2).into()),
        of_execution(101, 50, AttemptSucceeded { attempt: AttemptId(id(ATTEMPTS[1])), ended_at: None }.into()),
        of_execution(102, 60, ExecutionSucceeded::default().into()),
    ]
}

/// An event that an attempt emits.
fn sample_emitted(by: u128) -> Record {
    let event = EventReceived {
        trigger: "examples.hello".parse().unwrap(),
        version: TriggerVersion::FIRST,
        source: "execution".to_owned(),
        sensor: None,
        rule: None,
        occurred_at: Timestamp::from_micros(25),
        catalog: CatalogRevision(1),
        undecided: 0,
        matched: 0,
        erred: 0,
        again: Vec::new(),
        dedupe: None,
        internal_above: std::collections::BTreeSet::new(),
    };
    let mut record = record(id(200), StreamId::Event(EventId(id(200))), 25, Some(TRACE), event);
    record.cause.parent = Some(id(by));
    record
}

#[test]
fn event_emitted_by_an_attempt_is_a_child_of_the_attempt() {
    let (spans, _) = spans_of(&[sample_emitted(ATTEMPTS[0])], 1);
    assert_eq!((spans[0].name.as_str(), spans[0].parent), ("event examples.hello", Some(SpanId::of(id(ATTEMPTS[0])))));
}

#[test]
fn engine_s_event_about_an_execution_is_its_child() {
    let mut told = sample_emitted(102);
    let Fact::EventReceived(event) = &mut told.fact else { panic!("it is an event") };
    event.trigger = "core.execution_ended".parse().unwrap();
    event.source = StreamId::Execution(ExecutionId(id(EXECUTION))).to_string();
    let (spans, _) = spans_of(&[told], 1);
    assert_eq!(spans[0].parent, Some(SpanId::of(id(EXECUTION))));
}

#[test]
fn stopped_attempt_is_not_an_error() {
    let mut records = story(TRACE);
    let error = Failure::new(FailureKind::Cancelled, "somebody asked for that");
    records[3].fact =
        AttemptFailed { attempt: AttemptId(id(ATTEMPTS[0])), error, retry_after_millis: None, output_tail: None, ended_at: None }.into();
    let (spans, _) = spans_of(&records, 100);
    let told = ("ensue.outcome", Value::Text("cancelled".to_owned()));
    assert!(spans[1].error.is_none() && spans[1].attributes.contains(&told), "{spans:#?}");
}

/// Returns the spans of records, without a log to look anything up in.
fn spans_of(records: &[Record], room: u64) -> (Vec<Span>, u64) {
    let queue = Queue::new(QueueName::Spans, room);
    let waiting =
        Arc::new(WaitingSpans::new(queue.clone(), Arc::new(SpanCounts::default()), Arc::new(SystemClock::default()), Sampler::default()));
    let log = LogReaders::new(Box::new(|| Err(LogError::Store("there is none".to_owned()))));
    let mut tracing = Tracing::new(Arc::new(log), waiting.clone());
    tracing.note(records);
    assert!(tracing.open.is_empty());
    (waiting.next().into_iter().map(|(span, _)| span).collect(), queue.rejections())
}

#[test]
fn span_has_its_cause_as_parent_and_lasts_from_beginning_to_end() {
    let (spans, _) = spans_of(&story(TRACE), 100);
    let told: Vec<_> = spans
        .iter()
        .map(|span| (span.name.as_str(), span.id, span.parent, span.from.micros(), span.until.micros(), span.error.as_deref()))
        .collect();
    let of = |number| SpanId::of(id(number));
    let failed = Some("exit_code: it ended with 1");
    let expected = [
        ("enforcement examples.echo", of(ENFORCEMENT), Some(of(EVENT)), 10, 10, None),
        ("attempt core.echo", of(ATTEMPTS[0]), Some(of(EXECUTION)), 20, 30, failed),
        ("attempt core.echo", of(ATTEMPTS[1]), Some(of(EXECUTION)), 40, 50, None),
        ("execution core.echo", of(EXECUTION), Some(of(ENFORCEMENT)), 10, 60, None),
    ];
    assert_eq!(told, expected);
    assert!(spans.iter().all(|span| span.trace.to_string() == "0af7651916cd43dd8448eb211c80319c"));
}

#[test]
fn unsampled_trace_has_no_spans() {
    assert_eq!(spans_of(&story(&TRACE.replace("-01", "-00")), 100).0, []);
}

#[test]
fn spans_over_the_limit_are_dropped_and_counted() {
    let (spans, dropped) = spans_of(&story(TRACE), 3);
    assert_eq!((spans.len(), dropped), (3, 1));
}

#[test]
fn failure_reason_is_truncated_at_a_character_boundary() {
    let told = cut(&"é".repeat(1_000));
    assert!(told.len() <= MESSAGE_BYTES_MAX && told.len() > MESSAGE_BYTES_MAX - 2);
}
