//! Tests of the tally: counted records and the times between them.

use ensue_api::metrics::SHORT;
use ensue_engine::catalog::Control;
use ensue_engine::executions::facts::{
    AttemptFailed, AttemptLost, AttemptSucceeded, Evidence, ExecutionCancelled, ExecutionFailed, ExecutionRequested, ExecutionSucceeded,
    ExecutionTimedOut, Failure, FailureKind,
};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{AttemptId, EnforcementId, EventId, Id, RuleId};
use ensue_engine::locks::facts::{Lock, LockAcquired, LockAwaited, LockOwner};
use ensue_engine::record::{CatalogRevision, Digest};
use ensue_engine::rules::facts::{EnforcementMade, Outcome};
use ensue_test_support::NOON;
use ensue_test_support::single::{self, attempt_start};
use prometheus_client::encoding::text::encode;

use super::*;

const MILLISECOND: i64 = 1_000;

fn id() -> Id {
    single::id(1)
}

fn record(at_micros: i64, fact: impl Into<Fact>) -> Record {
    single::record(id(), StreamId::Execution(ExecutionId(id())), at_micros, None, fact)
}

fn sample_request() -> ExecutionRequested {
    single::execution_request("core.echo")
}

fn render_metrics(counts: &TallyCounts) -> String {
    let mut registry = Registry::default();
    counts.register(&mut registry, &Distribution::new(Unit::Seconds, SHORT));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

#[test]
fn attempt_waits_from_when_it_could_start_and_runs_until_its_end() {
    let counts = Arc::new(TallyCounts::default());
    let mut tally = Tally::new(counts.clone());
    let attempt = AttemptId(id());
    tally.note(&[record(0, sample_request()), record(3 * MILLISECOND, attempt_start(1))]);
    let error = Failure::new(FailureKind::ExitCode, "it ended with 1");
    tally.note(&[
        record(10 * MILLISECOND, AttemptFailed { attempt, error, retry_after_millis: None, output_tail: None, ended_at: None }),
        record(30 * MILLISECOND, attempt_start(2)),
    ]);
    tally.note(&[
        record(70 * MILLISECOND, AttemptSucceeded { attempt, ended_at: None }),
        record(70 * MILLISECOND, ExecutionSucceeded::default()),
    ]);
    let text = render_metrics(&counts);
    for line in [
        "records_total 6",
        "attempts_total{outcome=\"succeeded\"} 1",
        "attempts_total{outcome=\"failed\"} 1",
        "attempts_total{outcome=\"lost\"} 0",
        "executions_total{outcome=\"succeeded\"} 1",
        // 3 ms, and 20 ms after the first attempt's end.
        "stage_seconds_sum{stage=\"dispatched\"} 0.023",
        "stage_seconds_count{stage=\"dispatched\"} 2",
        // 7 ms and 40 ms.
        "stage_seconds_sum{stage=\"finished\"} 0.047",
        "execution_seconds_sum 0.07",
        "execution_seconds_count 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
    }
    assert!(tally.open.is_empty());
}

#[test]
fn wait_for_a_lock_is_counted_once_it_is_acquired() {
    let counts = Arc::new(TallyCounts::default());
    let mut tally = Tally::new(counts.clone());
    let lock = || Lock { owner: LockOwner::Action("core.echo".parse().unwrap()), key: Digest::of(b"eu") };
    let awaited = || LockAwaited { lock: lock(), limit: 1, behind: Vec::new() };
    tally.note(&[record(0, sample_request()), record(2 * MILLISECOND, awaited())]);
    assert!(render_metrics(&counts).contains("lock_wait_seconds_count 0\n"), "it still waits");
    tally.note(&[
        record(32 * MILLISECOND, LockAcquired { lock: lock() }),
        // Others hold another lock that it needs.
        record(32 * MILLISECOND, awaited()),
        record(42 * MILLISECOND, LockAcquired { lock: lock() }),
        record(45 * MILLISECOND, attempt_start(1)),
    ]);
    let text = render_metrics(&counts);
    for line in ["lock_wait_seconds_sum 0.04", "lock_wait_seconds_count 2", "stage_seconds_sum{stage=\"dispatched\"} 0.003"] {
        assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
    }
}

#[test]
fn execution_requested_before_the_start_counts_its_end_without_duration() {
    let counts = Arc::new(TallyCounts::default());
    Tally::new(counts.clone()).note(&[record(70 * MILLISECOND, ExecutionSucceeded::default())]);
    let text = render_metrics(&counts);
    assert!(text.contains("executions_total{outcome=\"succeeded\"} 1\n") && text.contains("execution_seconds_count 0\n"), "{text}");
}

#[test]
fn clock_set_back_gives_no_duration_and_no_panic() {
    let counts = Arc::new(TallyCounts::default());
    Tally::new(counts.clone()).note(&[record(5 * MILLISECOND, sample_request()), record(0, attempt_start(1))]);
    assert!(render_metrics(&counts).contains("stage_seconds_sum{stage=\"dispatched\"} 0.0\n"));
}

#[test]
fn each_kind_of_end_is_counted_separately() {
    let counts = Arc::new(TallyCounts::default());
    let mut tally = Tally::new(counts.clone());
    let attempt = AttemptId(id());
    let because = |kind| Failure::new(kind, "it ended with 1");
    let error = || because(FailureKind::ExitCode);
    let made = |outcome| EnforcementMade {
        rule: "examples.echo".parse().unwrap(),
        rule_id: RuleId(id()),
        catalog: CatalogRevision(1),
        event: EventId(id()),
        outcome,
        flow: None,
    };
    let facts: [(Fact, &str, &str); 15] = [
        (made(Outcome::Executed { execution: ExecutionId(id()) }).into(), "enforcements", "executed"),
        (made(Outcome::Held { by: Control::Debounce, until: NOON }).into(), "enforcements", "held"),
        (made(Outcome::Deduplicated { of: EnforcementId(id()) }).into(), "enforcements", "deduplicated"),
        (made(Outcome::Throttled).into(), "enforcements", "throttled"),
        (made(Outcome::Shadowed).into(), "enforcements", "shadowed"),
        (made(Outcome::Rejected { error: "no".into() }).into(), "enforcements", "rejected"),
        (AttemptSucceeded { attempt, ended_at: None }.into(), "attempts", "succeeded"),
        (
            AttemptFailed { attempt, error: error(), retry_after_millis: None, output_tail: None, ended_at: None }.into(),
            "attempts",
            "failed",
        ),
        (
            AttemptFailed { attempt, error: because(FailureKind::Timeout), retry_after_millis: None, output_tail: None, ended_at: None }
                .into(),
            "attempts",
            "timed_out",
        ),
        (
            AttemptFailed { attempt, error: because(FailureKind::Cancelled), retry_after_millis: None, output_tail: None, ended_at: None }
                .into(),
            "attempts",
            "cancelled",
        ),
        (AttemptLost { attempt, evidence: Evidence::NotBegun, error: None }.into(), "attempts", "lost"),
        (ExecutionSucceeded::default().into(), "executions", "succeeded"),
        (ExecutionFailed { error: error(), part_of: None, scope: None }.into(), "executions", "failed"),
        (ExecutionTimedOut { error: error(), part_of: None, scope: None }.into(), "executions", "timed_out"),
        (ExecutionCancelled::default().into(), "executions", "cancelled"),
    ];
    for (fact, what, outcome) in facts {
        let line = |count: u32| format!("{what}_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(render_metrics(&counts).contains(&line(0)), "{}", line(0));
        tally.note(&[record(0, fact)]);
        assert!(render_metrics(&counts).contains(&line(1)), "{}", line(1));
    }
}
