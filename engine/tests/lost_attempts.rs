//! Lost attempts: what is retried, what a person is asked, and what late reports mean.

use ensue_engine::catalog::OnLost;
use ensue_engine::command::{Answer, Ask, Refusal, ReportOutcome, Settings};
use ensue_engine::effect::Effect;
use ensue_engine::executions::facts::{Evidence, FailureKind, Settlement};
use ensue_engine::executions::react::ATTEMPTS_MAX;
use ensue_engine::executions::state::{Attempt, Phase};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, InquiryId};
use ensue_engine::record::{Actor, Digest, Position};
use ensue_test_support::spec::CatalogsHealth;
use serde_json::json;

use crate::support::random::again;
use crate::support::site::{failed_outcome, report};
use crate::support::{Pieces, Site, ana, answer_inquiry, asked_by, cancel, lose, retry, settle, workers};

fn site() -> Site {
    let pieces = Pieces::default()
        .action("demo.ask")
        .action_with("demo.fail", |action| action.on_lost = OnLost::Fail)
        .action_with("demo.retry", |action| action.on_lost = OnLost::Retry)
        .action_with("demo.idempotent", |action| action.idempotent = true);
    let mut site = Site::with(&pieces);
    site.set(workers(1));
    site
}

/// A site with an execution of `demo.ask` that became indeterminate.
fn indeterminate() -> (Site, ExecutionId) {
    let mut site = site();
    let execution = site.run("demo.ask");
    site.lose(execution, Evidence::MayHaveBegun).then(&["attempt.lost", "execution.became_indeterminate", "inquiry.opened"]);
    (site, execution)
}

#[test]
fn attempt_that_never_began_is_retried_with_next_number_and_larger_token() {
    for action in ["demo.ask", "demo.fail", "demo.retry", "demo.idempotent"] {
        let mut site = site();
        let execution = site.run(action);
        let first = site.attempt(execution);
        let outcome = site.lose(execution, Evidence::NotBegun).then(&["attempt.lost", "attempt.started"]);
        let second = site.attempt(execution);
        assert_eq!((second.number, second.token), (2, 2), "{action}");
        let [Effect::Release { attempt, .. }, Effect::Dispatch(dispatch)] = outcome.effects() else { panic!("{:?}", outcome.effects()) };
        assert_eq!((*attempt, dispatch.attempt), (first.id, second.id));
    }
}

#[test]
fn attempt_that_may_have_begun_is_retried_only_if_the_action_allows_it() {
    for (action, kinds) in [
        ("demo.ask", &["attempt.lost", "execution.became_indeterminate", "inquiry.opened"] as &[_]),
        ("demo.fail", &["attempt.lost", "execution.failed"]),
        ("demo.retry", &["attempt.lost", "attempt.started"]),
        ("demo.idempotent", &["attempt.lost", "attempt.started"]),
    ] {
        let mut site = site();
        let execution = site.run(action);
        site.lose(execution, Evidence::MayHaveBegun).then(kinds);
    }
}

#[test]
fn only_the_worker_of_an_attempt_can_report_that_it_had_not_begun() {
    for (action, kinds) in [
        ("demo.ask", &["attempt.lost", "execution.became_indeterminate", "inquiry.opened"] as &[_]),
        ("demo.fail", &["attempt.lost", "execution.failed"]),
        ("demo.retry", &["attempt.lost", "attempt.started"]),
        ("demo.idempotent", &["attempt.lost", "attempt.started"]),
    ] {
        for says in [Actor::Worker("another".into()), Actor::Engine, Actor::Operator] {
            let mut site = site();
            let execution = site.run(action);
            let (execution, attempt) = site.running(execution);
            let lost = Ask::LoseAttempt { execution, attempt, evidence: Evidence::NotBegun, error: None };
            let outcome = site.when(asked_by(says, lost)).then(kinds);
            let Fact::AttemptLost(lost) = &outcome.records()[0].fact else { panic!("{:?}", outcome.records()) };
            assert_eq!(lost.evidence, Evidence::MayHaveBegun, "{action}");
        }
    }
}

#[test]
fn second_attempt_belongs_to_the_worker_that_it_is_given_to() {
    let mut site = site();
    let execution = site.run("demo.retry");
    site.set(Settings { worker: "second".into(), ..workers(1) });
    let outcome = site.lose(execution, Evidence::NotBegun).then(&["attempt.lost", "attempt.started"]);
    let Effect::Dispatch(dispatch) = &outcome.effects()[1] else { panic!("{:?}", outcome.effects()) };
    assert_eq!(&*dispatch.worker, "second");
    let outcome = site.lose(execution, Evidence::NotBegun).then(&["attempt.lost", "attempt.started"]);
    let Fact::AttemptLost(lost) = &outcome.records()[0].fact else { panic!("{:?}", outcome.records()) };
    assert_eq!(lost.evidence, Evidence::MayHaveBegun, "the first worker says nothing of it");
}

#[test]
fn requeued_execution_keeps_its_place() {
    let mut site = site();
    let first = site.run("demo.ask");
    site.run("demo.ask");
    let outcome = site.lose(first, Evidence::NotBegun).then(&["attempt.lost", "attempt.started"]);
    assert_eq!(outcome.records()[1].stream.to_string(), format!("execution/{first}"));
}

#[test]
fn lost_attempt_is_never_redispatched_and_frees_its_slot() {
    let (mut site, execution) = indeterminate();
    assert!(site.engine().owed_effects().is_empty());
    assert_eq!(site.engine().executions().running(), 0);
    site.ask("demo.ask").then(&["execution.requested", "attempt.started"]);
    assert!(matches!(site.phase(execution), Some(Phase::Indeterminate { .. })));
}

#[test]
fn indeterminate_execution_does_not_count_as_open_work() {
    let (site, _) = indeterminate();
    assert_eq!(site.engine().executions().open_work(), 0);
}

#[test]
fn repeated_or_outdated_loss_changes_nothing() {
    let mut site = site();
    let execution = site.run("demo.retry");
    let first = site.running(execution);
    site.when(lose(first, Evidence::MayHaveBegun));
    site.when(lose(first, Evidence::MayHaveBegun)).then(&[]);
    assert_eq!(site.attempt(execution).number, 2);
    site.succeed(execution);
    site.when(lose(first, Evidence::MayHaveBegun)).then(&[]);
}

#[test]
fn late_report_is_recorded_without_effect_if_a_newer_attempt_exists() {
    let mut site = site();
    let execution = site.run("demo.retry");
    let first = site.attempt(execution);
    site.lose(execution, Evidence::MayHaveBegun);
    let before = site.phase(execution);
    for (outcome, error) in [(ReportOutcome::Succeeded, None), (failed_outcome(FailureKind::Signal), Some(FailureKind::Signal))] {
        let outcome = site.when(report(execution, first, outcome)).then(&["attempt.reported_late"]);
        assert_eq!(outcome.answer(), Answer::ReportedLate);
        let Some(Fact::AttemptReportedLate(late)) = outcome.facts().next() else { panic!("it is kept") };
        assert_eq!((late.attempt, late.error.as_ref().map(|error| error.kind)), (first.id, error));
        assert!(outcome.effects().is_empty());
    }
    assert_eq!(site.phase(execution), before);
}

#[test]
fn late_report_changes_nothing_while_the_next_attempt_is_queued() {
    let mut site = site();
    let execution = site.run("demo.ask");
    let first = site.attempt(execution);
    site.set(workers(0));
    site.lose(execution, Evidence::NotBegun).then(&["attempt.lost"]);
    site.when(report(execution, first, ReportOutcome::Succeeded)).then(&["attempt.reported_late"]);
    assert_eq!(site.phase(execution), Some(Phase::Queued));
}

#[test]
fn late_success_settles_an_indeterminate_execution() {
    let (mut site, execution) = indeterminate();
    site.succeed(execution).then(&["attempt.succeeded", "inquiry.withdrawn", "execution.succeeded"]);
}

#[test]
fn late_failure_settles_an_indeterminate_execution() {
    let (mut site, execution) = indeterminate();
    site.fail(execution, FailureKind::HttpStatus).then(&["attempt.failed", "inquiry.withdrawn", "execution.failed"]);
}

#[test]
fn late_report_with_another_token_settles_nothing() {
    let (mut site, execution) = indeterminate();
    let mut attempt = site.attempt(execution);
    attempt.token += 1;
    let refusal = Refusal::WrongToken { attempt: attempt.id, given: attempt.token };
    site.when(report(execution, attempt, ReportOutcome::Succeeded)).then_refused(&refusal);
}

#[test]
fn indeterminate_execution_can_be_settled_as_succeeded() {
    let (mut site, execution) = indeterminate();
    site.when(settle(execution, Settlement::Succeeded)).then(&["execution.settled", "inquiry.withdrawn", "execution.succeeded"]);
}

#[test]
fn indeterminate_execution_can_be_settled_as_failed_with_a_reason() {
    let (mut site, execution) = indeterminate();
    let outcome = site.when(settle(execution, Settlement::Failed { error: "the page is not there".into() }));
    let outcome = outcome.then(&["execution.settled", "inquiry.withdrawn", "execution.failed"]);
    let Some(Fact::ExecutionFailed(end)) = outcome.facts().last() else { panic!("it failed") };
    assert_eq!((end.error.kind, end.error.message.as_str()), (FailureKind::Lost, "the page is not there"));
}

#[test]
fn indeterminate_execution_can_be_retried_by_a_person() {
    let (mut site, execution) = indeterminate();
    site.when(settle(execution, Settlement::Retry)).then(&["execution.settled", "inquiry.withdrawn", "attempt.started"]);
    assert_eq!(site.attempt(execution).number, 2);
    assert_eq!(site.engine().executions().open_work(), 1);
}

#[test]
fn overlong_reason_is_truncated() {
    let (mut site, execution) = indeterminate();
    let outcome = site.when(settle(execution, Settlement::Failed { error: "\u{1}".repeat(100_000) }));
    outcome.then(&["execution.settled", "inquiry.withdrawn", "execution.failed"]);
}

#[test]
fn only_an_indeterminate_execution_can_be_settled() {
    let mut site = site();
    let execution = site.run("demo.ask");
    let waits = site.run("demo.ask");
    for open in [execution, waits] {
        site.when(settle(open, Settlement::Succeeded)).then_refused(&Refusal::NotIndeterminate(open));
    }
    site.succeed(execution);
    site.when(settle(execution, Settlement::Succeeded)).then_refused(&Refusal::NotOpen(execution));
}

#[test]
fn cancelled_indeterminate_execution_ends_at_once() {
    let (mut site, execution) = indeterminate();
    site.when(cancel(execution)).then(&["execution.cancel_requested", "inquiry.withdrawn", "execution.cancelled"]);
}

#[test]
fn cancelled_execution_with_a_lost_worker_is_not_retried() {
    for (action, evidence, end) in [
        ("demo.ask", Evidence::NotBegun, &["execution.cancelled"] as &[_]),
        ("demo.retry", Evidence::MayHaveBegun, &["execution.cancelled"]),
        ("demo.idempotent", Evidence::MayHaveBegun, &["execution.cancelled"]),
        ("demo.ask", Evidence::MayHaveBegun, &["execution.became_indeterminate", "inquiry.opened"]),
        ("demo.fail", Evidence::MayHaveBegun, &["execution.failed"]),
    ] {
        let mut site = site();
        let execution = site.run(action);
        site.when(cancel(execution));
        site.lose(execution, evidence).then(&[&["attempt.lost"], end].concat());
    }
}

/// A site with an execution of `demo.ask` that was cancelled and became indeterminate before it ended.
fn cancelled_and_indeterminate() -> (Site, ExecutionId) {
    let mut site = site();
    let execution = site.run("demo.ask");
    site.when(cancel(execution));
    site.lose(execution, Evidence::MayHaveBegun).then(&["attempt.lost", "execution.became_indeterminate", "inquiry.opened"]);
    (site, execution)
}

#[test]
fn settling_a_cancelled_execution_as_retry_ends_it_as_cancelled() {
    let (mut site, execution) = cancelled_and_indeterminate();
    site.when(settle(execution, Settlement::Retry)).then(&["execution.settled", "inquiry.withdrawn", "execution.cancelled"]);
    assert_eq!((site.engine().executions().queued_count(), site.engine().executions().open_work()), (0, 0));
}

#[test]
fn late_report_of_a_stop_ends_a_cancelled_execution_as_cancelled() {
    let (mut site, execution) = cancelled_and_indeterminate();
    let Some(Phase::Indeterminate { attempt, .. }) = site.phase(execution) else { panic!("it waits for a person") };
    site.when(report(execution, attempt, failed_outcome(FailureKind::Cancelled))).then(&[
        "attempt.failed",
        "inquiry.withdrawn",
        "execution.cancelled",
    ]);
}

/// The engine's inquiry about an execution.
fn question(site: &Site, execution: ExecutionId) -> InquiryId {
    site.engine().inquiries().of(&execution).expect("somebody is asked").0
}

#[test]
fn people_who_may_settle_are_asked_about_an_indeterminate_attempt() {
    let (mut site, execution) = indeterminate();
    let (inquiry, asked) = site.engine().inquiries().of(&execution).unwrap();
    let attempt = site.attempt(execution);
    assert_eq!((asked.attempt, asked.quorum, asked.expires_at), (Some(attempt.id), 1, None));
    let answer = json!({ "outcome": "succeeded", "result": { "page": 3 } });
    let not_asked = Refusal::NotAsked { inquiry, name: "cy".to_owned() };
    site.when(answer_inquiry(inquiry, "cy viewer author", &answer, None)).then_refused(&not_asked);
    let outcome = site.when(answer_inquiry(inquiry, "bo operator", &answer, None));
    let outcome = outcome.then(&["inquiry.answered", "execution.settled", "execution.succeeded"]);
    let settled = &outcome.records()[1];
    assert_eq!(settled.body.as_ref().and_then(|body| body.content.as_deref()), Some(br#"{"page":3}"#.as_slice()));
    assert_eq!(settled.actor.to_string(), "token/bo");
    assert_eq!(site.engine().inquiries().count(), 0);
    site.when(answer_inquiry(inquiry, "ana admin", &answer, None)).then_refused(&Refusal::InquiryClosed(inquiry));
}

#[test]
fn answer_without_a_valid_outcome_is_rejected_with_the_field() {
    let (mut site, execution) = indeterminate();
    let inquiry = question(&site, execution);
    for (answer, place) in [(json!({ "ship": true }), "/ship"), (json!({ "outcome": "failed" }), "/error")] {
        let refused = site.when(answer_inquiry(inquiry, "bo operator", &answer, None));
        assert!(matches!(refused.result(), Err(Refusal::AnswerMisfit { misfit, .. }) if misfit.contains(place)), "{refused:?}");
    }
    let stale = site.when(answer_inquiry(inquiry, "bo operator", &json!({ "outcome": "retry" }), Some(Digest::of(b"other"))));
    assert!(matches!(stale.result(), Err(Refusal::ApprovalStale { .. })), "{stale:?}");
}

#[test]
fn each_lost_attempt_opens_its_own_inquiry() {
    let (mut site, execution) = indeterminate();
    let first = question(&site, execution);
    let retry = json!({ "outcome": "retry" });
    site.when(answer_inquiry(first, "bo operator", &retry, None)).then(&["inquiry.answered", "execution.settled", "attempt.started"]);
    site.lose(execution, Evidence::MayHaveBegun).then(&["attempt.lost", "execution.became_indeterminate", "inquiry.opened"]);
    let second = question(&site, execution);
    assert_ne!(first, second);
    site.when(answer_inquiry(first, "bo operator", &retry, None)).then_refused(&Refusal::InquiryClosed(first));
    let cancel_of = |inquiry| asked_by(ana(), Ask::CancelInquiry(inquiry));
    site.when(cancel_of(first)).then_refused(&Refusal::InquiryClosed(first));
    let failed = json!({ "outcome": "failed", "error": "the page is not there" });
    site.when(answer_inquiry(second, "bo operator", &failed, None)).then(&["inquiry.answered", "execution.settled", "execution.failed"]);
}

#[test]
fn cancelled_inquiry_ends_its_indeterminate_execution() {
    let (mut site, execution) = indeterminate();
    let inquiry = question(&site, execution);
    let cancelled = asked_by(ana(), Ask::CancelInquiry(inquiry));
    site.when(cancelled).then(&["execution.cancel_requested", "inquiry.withdrawn", "execution.cancelled"]);
}

#[test]
fn inquiry_is_withdrawn_when_its_execution_times_out() {
    let pieces = Pieces::default().action_with("demo.ask", |action| action.limit = Some(std::time::Duration::from_secs(60)));
    let mut site = Site::with(&pieces);
    site.set(workers(1));
    let execution = site.run("demo.ask");
    site.lose(execution, Evidence::MayHaveBegun).then(&["attempt.lost", "execution.became_indeterminate", "inquiry.opened"]);
    let inquiry = question(&site, execution);
    site.after(60_000).then(&["timer.fired", "inquiry.withdrawn", "execution.timed_out"]);
    site.when(answer_inquiry(inquiry, "bo operator", &json!({ "outcome": "retry" }), None)).then_refused(&Refusal::InquiryClosed(inquiry));
}

#[test]
fn execution_fails_after_the_maximum_of_lost_attempts() {
    let mut site = site();
    let execution = site.run("demo.ask");
    for number in 1..ATTEMPTS_MAX {
        assert_eq!(site.attempt(execution).number, number);
        site.lose(execution, Evidence::NotBegun).then(&["attempt.lost", "attempt.started"]);
    }
    site.lose(execution, Evidence::NotBegun).then(&["attempt.lost", "execution.failed"]);
    assert_eq!(site.engine().executions().queued_count(), 0);
}

#[test]
fn lost_attempt_with_an_owed_reaction_is_not_dispatched_after_a_restart() {
    // The loss is folded but its reaction is not: as after a full turn.
    let mut site = site();
    let execution = site.run("demo.ask");
    let lost = lose(site.running(execution), Evidence::MayHaveBegun);
    let outcome = site.when(lost);
    let mut folded = ensue_engine::engine::Engine::new(site.engine().log());
    let until = outcome.records()[0].position;
    site.records().iter().filter(|record| record.position <= until).for_each(|record| folded.apply(record));
    assert!(folded.owed_effects().is_empty());
}

/// An execution with a lost attempt, and the loss's position; its reaction is parked, and the catalogs are
/// still broken.
fn with_a_loss_put_aside() -> (Site, ExecutionId, Position) {
    let mut site = site();
    let execution = site.run("demo.fail");
    site.set_catalogs(CatalogsHealth::Broken);
    let lost = site.lose(execution, Evidence::MayHaveBegun).then(&["attempt.lost", "reaction.parked"]).records()[0].position;
    (site, execution, lost)
}

#[test]
fn settlement_applies_even_if_the_reaction_to_the_loss_was_parked() {
    let (mut site, execution, lost) = with_a_loss_put_aside();
    let settled = site.when(settle(execution, Settlement::Succeeded)).then(&["execution.settled", "reaction.parked"]).records()[0].position;
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(retry(lost)).then(&["reaction.retried", "reaction.resumed"]);
    site.when(retry(settled)).then(&["reaction.retried", "reaction.resumed", "execution.succeeded"]);
}

#[test]
fn late_success_counts_if_the_reaction_to_the_loss_was_parked() {
    let (mut site, execution, lost) = with_a_loss_put_aside();
    let succeeded = site.succeed(execution).then(&["attempt.succeeded", "reaction.parked"]).records()[0].position;
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(retry(lost)).then(&["reaction.retried", "reaction.resumed"]);
    site.when(retry(succeeded)).then(&["reaction.retried", "reaction.resumed", "execution.succeeded"]);
}

/// Returns the attempt that a person is asked about.
fn in_doubt(site: &Site, execution: ExecutionId) -> Attempt {
    let Some(Phase::Indeterminate { attempt, .. }) = site.phase(execution) else { panic!("it waits for a person") };
    attempt
}

#[test]
fn report_counts_if_the_end_by_a_settlement_of_a_cancelled_execution_is_parked() {
    let (mut site, execution) = cancelled_and_indeterminate();
    let attempt = in_doubt(&site, execution);
    site.set_catalogs(CatalogsHealth::Broken);
    let settled = site.when(settle(execution, Settlement::Retry)).then(&["execution.settled", "reaction.parked"]).records()[0].position;
    let reported = site.when(report(execution, attempt, ReportOutcome::Succeeded)).then(&["attempt.succeeded", "reaction.parked"]);
    let reported = reported.records()[0].position;
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(retry(settled)).then(&["reaction.retried", "reaction.resumed", "inquiry.withdrawn"]);
    site.when(retry(reported)).then(&["reaction.retried", "reaction.resumed", "execution.succeeded"]);
}

#[test]
fn report_is_late_if_the_reaction_to_a_person_s_retry_is_parked() {
    let (mut site, execution) = indeterminate();
    let attempt = in_doubt(&site, execution);
    site.set_catalogs(CatalogsHealth::Broken);
    let settled = site.when(settle(execution, Settlement::Retry)).then(&["execution.settled", "reaction.parked", "attempt.started"]);
    let settled = settled.records()[0].position;
    site.when(report(execution, attempt, ReportOutcome::Succeeded)).then(&["attempt.reported_late"]);
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(retry(settled)).then(&["reaction.retried", "reaction.resumed", "inquiry.withdrawn"]);
}

#[test]
fn report_is_late_if_the_end_by_a_cancel_is_parked() {
    let (mut site, execution) = indeterminate();
    let attempt = in_doubt(&site, execution);
    site.set_catalogs(CatalogsHealth::Broken);
    let cancelled = site.when(cancel(execution)).then(&["execution.cancel_requested", "reaction.parked"]).records()[0].position;
    site.when(report(execution, attempt, ReportOutcome::Succeeded)).then(&["attempt.reported_late"]);
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(retry(cancelled)).then(&["reaction.retried", "reaction.resumed", "inquiry.withdrawn", "execution.cancelled"]);
}

#[test]
fn settlement_of_one_attempt_does_not_apply_to_a_later_one() {
    let mut site = Site::with(&Pieces::default().action_with("demo.ask", |action| action.retry = Some(again(3))));
    let execution = site.run("demo.ask");
    let lost = ["attempt.lost", "execution.became_indeterminate", "inquiry.opened"];
    site.lose(execution, Evidence::MayHaveBegun).then(&lost);
    site.set_catalogs(CatalogsHealth::Broken);
    let settled = site.when(settle(execution, Settlement::Succeeded)).then(&["execution.settled", "reaction.parked"]).records()[0].position;
    site.set_catalogs(CatalogsHealth::Whole);
    site.fail(execution, FailureKind::ExitCode).then(&["attempt.failed", "inquiry.withdrawn", "timer.set"]);
    site.after(2_000).then(&["timer.fired", "attempt.started"]);
    site.lose(execution, Evidence::MayHaveBegun).then(&lost);
    site.when(retry(settled)).then(&["reaction.retried", "reaction.resumed"]);
    assert!(matches!(site.phase(execution), Some(Phase::Indeterminate { attempt, .. }) if attempt.number == 2));
}
