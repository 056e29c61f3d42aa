//! Locks: the number of open executions of an action or rule is limited, and none waits without end.

use ensue_engine::catalog::{Acts, Does, LockConflict, Mode};
use ensue_engine::command::{Answer, Ask};
use ensue_engine::engine::Engine;
use ensue_engine::executions::facts::{Evidence, FailureKind, Settlement};
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::rules::facts::Outcome as Enforced;
use ensue_test_support::NOON;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::definitions::{concurrency, flow, template};
use crate::support::random::again;
use crate::support::workflow::does;
use crate::support::{Pieces, Site, ana, asked_by, cancel, settle, workers};

const REGION: &str = "params.region";
const MINUTE: u64 = 60_000;

fn pieces(limit: u32, conflict: LockConflict) -> Pieces {
    Pieces::default().trigger("demo.ping").action("demo.say").action_with("demo.deploy", |action| {
        action.concurrency = concurrency(limit, REGION, conflict);
    })
}

fn site(limit: u32, conflict: LockConflict) -> Site {
    with(&pieces(limit, conflict))
}

fn with(pieces: &Pieces) -> Site {
    let mut site = Site::with(pieces);
    site.set(workers(100));
    site
}

/// Requests a deployment of a region.
fn deploy(site: &mut Site, region: &str) -> (ExecutionId, Outcome) {
    ask(site, "demo.deploy", &json!({ "region": region }))
}

fn ask(site: &mut Site, action: &str, params: &Value) -> (ExecutionId, Outcome) {
    let request = site.request_with(action, params, None);
    let outcome = site.when(request);
    let Answer::Execution(execution) = outcome.answer() else { panic!("an execution was asked for") };
    (execution, outcome)
}

fn runs(site: &Site, execution: ExecutionId) -> bool {
    matches!(site.phase(execution), Some(Phase::Running(_)))
}

fn waits(site: &Site, execution: ExecutionId) -> bool {
    site.phase(execution) == Some(Phase::Blocked)
}

/// Checks that the fold of the log equals the state, and that no lock is held or waited for.
#[track_caller]
fn assert_all_is_let_go(site: &Site) {
    let mut engine = Engine::new(site.engine().log());
    site.records().iter().for_each(|record| engine.apply(record));
    engine.commit();
    assert_eq!(engine, *site.engine());
    let saved: Value = serde_json::from_slice(&site.engine().save().json).unwrap();
    let tables = saved["locks"].as_object().unwrap();
    assert!(tables.values().all(|rows| rows == &json!([])), "{tables:?}");
}

fn of_step(site: &Site, flow: ExecutionId, step: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&step.parse().unwrap())))
}

#[test]
fn executions_with_one_lock_key_run_one_after_the_other() {
    let mut site = site(1, LockConflict::Queue);
    let (first, outcome) = deploy(&mut site, "eu");
    assert_eq!(outcome.kinds(), ["execution.requested", "attempt.started"]);
    let (second, outcome) = deploy(&mut site, "eu");
    let Some(Fact::LockAwaited(awaited)) = outcome.then(&["execution.requested", "lock.awaited"]).facts().nth(1).cloned() else { panic!() };
    assert_eq!((awaited.limit, awaited.behind), (1, vec![first]));
    let (third, _) = deploy(&mut site, "eu");
    let (other, _) = deploy(&mut site, "us");
    assert!(runs(&site, other), "another key is another lock");
    site.restart();
    site.succeed(first).then(&["attempt.succeeded", "execution.succeeded", "lock.acquired", "attempt.started"]);
    assert!(runs(&site, second) && waits(&site, third));
    site.fail(second, FailureKind::ExitCode);
    assert!(runs(&site, third));
    site.succeed(third);
    site.succeed(other);
    assert_all_is_let_go(&site);
}

#[test]
fn higher_priority_gets_the_lock_first() {
    let mut site = with(
        &pieces(1, LockConflict::Queue)
            .workflow("demo.flow", [does("urgent", "demo.deploy").with(&json!({ "region": "eu" })).priority(50)]),
    );
    let (first, _) = deploy(&mut site, "eu");
    let (second, _) = deploy(&mut site, "eu");
    let flow = site.run("demo.flow");
    let urgent = of_step(&site, flow, "urgent");
    assert!(waits(&site, urgent));
    site.succeed(first);
    assert!(runs(&site, urgent) && waits(&site, second));
}

#[test]
fn lock_limit_is_the_number_of_open_executions() {
    let mut site = site(2, LockConflict::Queue);
    let all: Vec<ExecutionId> = (0..5).map(|_| deploy(&mut site, "eu").0).collect();
    let open = |site: &Site| all.iter().filter(|id| runs(site, **id)).count();
    for left in (1..=5).rev() {
        assert_eq!(open(&site), left.min(2));
        let next = *all.iter().find(|id| runs(&site, **id)).unwrap();
        site.succeed(next);
    }
    assert_all_is_let_go(&site);
}

#[test]
fn every_kind_of_end_releases_the_lock() {
    type End = fn(&mut Site, ExecutionId);
    let ways: [(&str, End); 6] = [
        ("succeeded", |site, id| drop(site.succeed(id))),
        ("failed", |site, id| drop(site.fail(id, FailureKind::ExitCode))),
        ("timed out", |site, id| drop(site.fail(id, FailureKind::Timeout))),
        ("cancelled", |site, id| {
            site.when(cancel(id));
            site.fail(id, FailureKind::Cancelled);
        }),
        ("settled", |site, id| {
            site.lose(id, Evidence::MayHaveBegun);
            assert!(site.phase(id).is_some());
            let waiting = site.engine().locks().totals().1;
            assert_eq!(waiting, 1, "its outcome is unknown, so it keeps the lock");
            site.when(settle(id, Settlement::Succeeded));
        }),
        ("cancelled while it is unknown", |site, id| {
            site.lose(id, Evidence::MayHaveBegun);
            site.when(cancel(id));
        }),
    ];
    for (way, end) in ways {
        let mut site = site(1, LockConflict::Queue);
        let (first, _) = deploy(&mut site, "eu");
        let (second, _) = deploy(&mut site, "eu");
        end(&mut site, first);
        assert!(runs(&site, second), "{way}");
        site.succeed(second);
        assert_all_is_let_go(&site);
    }
}

#[test]
fn retried_execution_keeps_its_lock() {
    let mut site = with(&pieces(1, LockConflict::Queue).change_action("demo.deploy", |action| action.retry = Some(again(2))));
    let (first, _) = deploy(&mut site, "eu");
    let (second, _) = deploy(&mut site, "eu");
    site.fail(first, FailureKind::ExitCode).then(&["attempt.failed", "timer.set"]);
    assert!(waits(&site, second));
    site.restart();
    site.after(MINUTE).then(&["timer.fired", "attempt.started"]);
    site.fail(first, FailureKind::ExitCode);
    assert!(runs(&site, second));
}

#[test]
fn cancelled_execution_no_longer_waits_for_its_lock() {
    let mut site = site(1, LockConflict::Queue);
    let (first, _) = deploy(&mut site, "eu");
    let (second, _) = deploy(&mut site, "eu");
    let (third, _) = deploy(&mut site, "eu");
    site.when(cancel(second)).then(&["execution.cancel_requested", "execution.cancelled"]);
    site.succeed(first);
    assert!(runs(&site, third));
    site.succeed(third);
    assert_all_is_let_go(&site);
}

#[test]
fn delayed_execution_queues_for_its_lock_when_its_time_comes() {
    let mut site = site(1, LockConflict::Queue);
    let later = NOON.plus_millis(MINUTE);
    let request = site.request_with("demo.deploy", &json!({ "region": "eu" }), Some(later));
    site.when(request).then(&["execution.requested", "timer.set"]);
    let (first, _) = deploy(&mut site, "eu");
    assert!(runs(&site, first), "a delayed execution blocks no others");
    let (second, _) = deploy(&mut site, "eu");
    site.after(MINUTE).then(&["timer.fired", "lock.awaited"]);
    site.succeed(first).then(&["attempt.succeeded", "execution.succeeded", "lock.acquired", "attempt.started"]);
    assert!(runs(&site, second), "who waited before goes first");
    site.succeed(second).then(&["attempt.succeeded", "execution.succeeded", "lock.acquired", "attempt.started"]);
}

#[test]
fn undo_is_neither_skipped_nor_cancelled_because_of_a_lock() {
    for conflict in [LockConflict::Skip, LockConflict::CancelRunning] {
        let back = json!({ "region": "eu" });
        let steps = [does("done", "demo.say").undone_by("demo.deploy", &back), does("long", "demo.say").needs(["done"])];
        let mut site = with(&pieces(1, conflict).workflow("demo.flow", steps));
        let flow = site.run("demo.flow");
        site.succeed(of_step(&site, flow, "done"));
        let (first, _) = deploy(&mut site, "eu");
        site.fail(of_step(&site, flow, "long"), FailureKind::ExitCode);
        let undo = ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Undo(&"done".parse().unwrap(), 0)));
        assert!(waits(&site, undo), "{conflict:?}");
        site.fail(first, FailureKind::Cancelled);
        assert!(runs(&site, undo), "{conflict:?}");
        let (newcomer, _) = deploy(&mut site, "eu");
        assert!(runs(&site, undo), "{conflict:?}: it continues");
        site.succeed(undo);
        assert_eq!(runs(&site, newcomer), conflict == LockConflict::CancelRunning);
    }
}

#[test]
fn execution_over_the_limit_is_skipped_with_conflict_skip() {
    let mut site = site(1, LockConflict::Skip);
    let (first, _) = deploy(&mut site, "eu");
    let (_, outcome) = deploy(&mut site, "eu");
    let end = outcome.then(&["execution.requested", "execution.cancelled"]).facts().nth(1).cloned();
    let Some(Fact::ExecutionCancelled(cancelled)) = end else { panic!("{end:?}") };
    let error = cancelled.error.unwrap();
    assert_eq!(error.kind, FailureKind::Cancelled);
    assert!(error.message.contains(&first.to_string()), "{}", error.message);
    site.succeed(first);
    let (again, _) = deploy(&mut site, "eu");
    assert!(runs(&site, again));
}

#[test]
fn skipped_step_counts_as_cancelled_with_the_reason() {
    let steps = [does("one", "demo.deploy").with(&json!({ "region": "eu" }))];
    let mut site = with(&pieces(1, LockConflict::Skip).workflow("demo.flow", steps));
    deploy(&mut site, "eu");
    let outcome = site.ask("demo.flow");
    let failed = outcome.facts().find_map(|fact| if let Fact::ExecutionFailed(failed) = fact { Some(failed) } else { None });
    let message = &failed.unwrap().error.message;
    assert!(message.starts_with("step `one` was cancelled: the action `demo.deploy` already has as many"), "{message}");
}

#[test]
fn cancel_running_cancels_earlier_executions_and_waits_for_them() {
    let mut site = site(1, LockConflict::CancelRunning);
    let (first, _) = deploy(&mut site, "eu");
    let (second, outcome) = deploy(&mut site, "eu");
    let outcome = outcome.then(&["execution.requested", "lock.awaited", "execution.cancel_requested"]);
    let cancelled = &outcome.records()[2];
    assert_eq!(cancelled.stream.to_string(), format!("execution/{first}"));
    assert_eq!(cancelled.cause.root, second.0, "the record names the execution that it ends for");
    assert!(waits(&site, second));
    // A third one replaces the second, which never began.
    let (third, _) = deploy(&mut site, "eu");
    assert_eq!(site.phase(second), None);
    site.restart();
    site.fail(first, FailureKind::Cancelled);
    assert!(runs(&site, third));
    site.succeed(third);
    assert_all_is_let_go(&site);
}

#[test]
fn cancel_running_cancels_only_the_oldest_as_needed() {
    let mut site = site(2, LockConflict::CancelRunning);
    let (first, _) = deploy(&mut site, "eu");
    let (second, _) = deploy(&mut site, "eu");
    let (third, _) = deploy(&mut site, "eu");
    assert!(matches!(site.phase(first), Some(Phase::Cancelling { .. })));
    assert!(runs(&site, second) && waits(&site, third));
    site.fail(first, FailureKind::Cancelled);
    assert!(runs(&site, second) && runs(&site, third));
}

#[test]
fn workflow_that_is_undoing_is_not_cancelled_again() {
    let steps = [does("done", "demo.echo").undone_by("demo.say", &json!({})), does("long", "demo.say").needs(["done"])];
    let pieces = Pieces::default().action("demo.say").action_at_once("demo.echo").workflow("demo.flow", steps);
    let mut site = with(&pieces.change_action("demo.flow", |action| action.concurrency = concurrency(1, "", LockConflict::CancelRunning)));
    let first = site.run("demo.flow");
    site.succeed(of_step(&site, first, "done"));
    let second = site.run("demo.flow");
    let long = of_step(&site, first, "long");
    site.fail(long, FailureKind::Cancelled);
    let third = site.run("demo.flow");
    assert_eq!(site.phase(second), None);
    let undo = ExecutionId(Id::derive(site.engine().log(), first.0, Role::Undo(&"done".parse().unwrap(), 0)));
    assert!(runs(&site, undo), "the undo continues");
    site.succeed(undo);
    assert!(matches!(site.phase(third), Some(Phase::InSteps { .. })));
    assert!(runs(&site, of_step(&site, third, "done")));
}

#[test]
fn workflow_holds_its_lock_from_its_first_step_to_its_end() {
    let pieces =
        Pieces::default().action("demo.say").workflow("demo.flow", [does("one", "demo.say"), does("two", "demo.say").needs(["one"])]);
    let pieces = pieces.change_action("demo.flow", |action| {
        action.concurrency = concurrency(1, "", LockConflict::Queue);
        action.limit = Some(std::time::Duration::from_secs(600));
    });
    let mut site = with(&pieces);
    let first = site.run("demo.flow");
    let second = site.run("demo.flow");
    assert!(waits(&site, second));
    for name in ["one", "two"] {
        assert!(waits(&site, second));
        site.succeed(of_step(&site, first, name));
    }
    assert!(runs(&site, of_step(&site, second, "one")));
    // The workflow's timeout includes the time it waits.
    let third = site.run("demo.flow");
    assert!(waits(&site, third));
    site.after(600_000);
    assert_eq!(site.phase(third), None);
}

#[test]
fn nested_execution_does_not_wait_for_the_lock_of_its_parent() {
    let pieces = Pieces::default().action("demo.say");
    let mut pieces = pieces;
    // The inner workflow needs the lock of the outer one: both are of the same action here.
    pieces = pieces.workflow(
        "demo.loop",
        [does("again", "demo.loop").starts_if("params.depth < 2").with(&json!({ "depth": "${{ params.depth + 1 }}" }))],
    );
    pieces = pieces.change_action("demo.loop", |action| action.concurrency = concurrency(1, "", LockConflict::Queue));
    let mut site = with(&pieces);
    let (outer, outcome) = ask(&mut site, "demo.loop", &json!({ "depth": 0 }));
    assert!(!outcome.kinds().contains(&"lock.awaited"), "{:?}", outcome.kinds());
    assert_eq!(site.phase(outer), None, "it came to its end");
    assert_all_is_let_go(&site);
}

#[test]
fn paused_execution_lets_others_pass_and_keeps_its_place() {
    let mut site = site(1, LockConflict::Queue);
    let (first, _) = deploy(&mut site, "eu");
    let (second, _) = deploy(&mut site, "eu");
    let (third, _) = deploy(&mut site, "eu");
    let (fourth, _) = deploy(&mut site, "eu");
    site.when(asked_by(ana(), Ask::PauseExecution { execution: second })).then(&["execution.paused"]);
    site.restart();
    site.succeed(first);
    assert!(runs(&site, third) && waits(&site, second));
    site.when(asked_by(ana(), Ask::ResumeExecution { execution: second })).then(&["execution.resumed"]);
    site.succeed(third);
    assert!(runs(&site, second) && waits(&site, fourth));
    site.when(asked_by(ana(), Ask::PauseExecution { execution: fourth }));
    site.succeed(second);
    assert!(waits(&site, fourth), "nobody holds it, and it is paused");
    site.when(asked_by(ana(), Ask::ResumeExecution { execution: fourth })).then(&["execution.resumed", "lock.acquired", "attempt.started"]);
    site.succeed(fourth);
    assert_all_is_let_go(&site);
}

#[test]
fn lock_held_in_a_paused_workflow_is_released_at_its_end() {
    let steps = [does("one", "demo.deploy").with(&json!({ "region": "eu" })), does("two", "demo.say").needs(["one"])];
    let mut site = with(&pieces(1, LockConflict::Queue).workflow("demo.flow", steps));
    let flow = site.run("demo.flow");
    let (other, _) = deploy(&mut site, "eu");
    site.when(asked_by(ana(), Ask::PauseExecution { execution: flow }));
    site.succeed(of_step(&site, flow, "one"));
    assert!(runs(&site, other));
}

#[test]
fn raised_limit_wakes_executions_that_wait_for_other_keys() {
    let mut site = site(1, LockConflict::Queue);
    let [_, in_eu, _, in_us] = ["eu", "eu", "us", "us"].map(|region| deploy(&mut site, region).0);
    assert!(waits(&site, in_eu) && waits(&site, in_us));
    site.install(&pieces(3, LockConflict::Queue));
    deploy(&mut site, "eu");
    assert!(runs(&site, in_eu), "its key is the one that was asked for");
    assert!(runs(&site, in_us), "the limit is that of all keys of the action");
}

#[test]
fn changed_limit_applies_from_the_next_request_on() {
    let mut site = site(1, LockConflict::Queue);
    let (first, _) = deploy(&mut site, "eu");
    let (second, _) = deploy(&mut site, "eu");
    site.install(&pieces(3, LockConflict::Queue));
    let (third, _) = deploy(&mut site, "eu");
    assert!(runs(&site, third));
    site.install(&pieces(1, LockConflict::Queue));
    let (fourth, _) = deploy(&mut site, "eu");
    for ends in [first, second] {
        site.succeed(ends);
        assert!(waits(&site, fourth), "more than one hold it still");
    }
    site.succeed(third);
    assert!(runs(&site, fourth));
}

#[test]
fn waiting_executions_start_even_if_the_action_or_its_limit_is_removed() {
    for changed in [
        Pieces::default().action("demo.say"),
        pieces(1, LockConflict::Queue).change_action("demo.deploy", |action| action.concurrency = None),
    ] {
        let mut site = site(1, LockConflict::Queue);
        let (first, _) = deploy(&mut site, "eu");
        let (second, _) = deploy(&mut site, "eu");
        let (third, _) = deploy(&mut site, "eu");
        site.install(&changed);
        for ends in [first, second, third] {
            site.succeed(ends);
        }
        assert_all_is_let_go(&site);
    }
}

#[test]
fn request_with_an_invalid_lock_key_is_rejected() {
    let mut site = site(1, LockConflict::Queue);
    for params in [json!({}), json!({ "region": ["eu"] })] {
        let request = site.request_with("demo.deploy", &params, None);
        assert!(site.when(request).result().is_err());
    }
}

// Rules.

fn rule(limit: u32, conflict: LockConflict) -> Site {
    with(&pieces(1, LockConflict::Queue).rule_with("demo.on_ping", "demo.ping", "", "demo.say", |rule| {
        rule.flow = flow([(Does::Concurrency { limit, conflict }, "event.payload.host")]);
        rule.with = template(&json!({}));
    }))
}

/// The outcome of an event: its enforcement's outcome, and the execution.
fn ping(site: &mut Site, host: &str) -> (&'static str, Option<ExecutionId>) {
    let outcome = site.receive("demo.ping", &json!({ "host": host }));
    let made = outcome.facts().find_map(|fact| if let Fact::EnforcementMade(made) = fact { Some(&made.outcome) } else { None }).unwrap();
    let execution = if let Enforced::Executed { execution } = made { Some(*execution) } else { None };
    (made.as_str(), execution)
}

#[test]
fn executions_of_a_rule_with_a_lock_run_one_after_the_other() {
    let mut site = rule(1, LockConflict::Queue);
    let (reported, first) = ping(&mut site, "a");
    let (second_told, second) = ping(&mut site, "a");
    let (_, other) = ping(&mut site, "b");
    assert_eq!((reported, second_told), ("executed", "executed"));
    let [first, second, other] = [first, second, other].map(Option::unwrap);
    assert!(runs(&site, first) && waits(&site, second) && runs(&site, other));
    site.restart();
    site.succeed(first);
    assert!(runs(&site, second));
    site.succeed(second);
    site.succeed(other);
    assert_all_is_let_go(&site);
}

#[test]
fn match_is_skipped_while_another_execution_of_the_rule_runs() {
    let mut site = rule(1, LockConflict::Skip);
    let (_, first) = ping(&mut site, "a");
    assert_eq!(ping(&mut site, "a"), ("skipped", None));
    assert_eq!(ping(&mut site, "b").0, "executed");
    site.succeed(first.unwrap());
    assert_eq!(ping(&mut site, "a").0, "executed");
}

#[test]
fn match_cancels_the_execution_of_an_earlier_match() {
    let mut site = rule(1, LockConflict::CancelRunning);
    let first = ping(&mut site, "a").1.unwrap();
    let second = ping(&mut site, "a").1.unwrap();
    assert!(matches!(site.phase(first), Some(Phase::Cancelling { .. })) && waits(&site, second));
    site.fail(first, FailureKind::Cancelled);
    assert!(runs(&site, second));
}

#[test]
fn concurrency_applies_after_flow_control_that_holds() {
    let pieces = pieces(1, LockConflict::Queue).rule_with("demo.on_ping", "demo.ping", "", "demo.say", |rule| {
        rule.flow = flow([
            (Does::Debounce { quiet_millis: MINUTE, most_millis: None, acts: Acts::OnLast }, ""),
            (Does::Concurrency { limit: 1, conflict: LockConflict::Skip }, "event.payload.host"),
        ]);
        rule.with = template(&json!({}));
    });
    let mut site = with(&pieces);
    assert_eq!(ping(&mut site, "a").0, "held");
    let outcome = site.after(MINUTE);
    assert!(outcome.kinds().contains(&"attempt.started"), "{:?}", outcome.kinds());
    assert_eq!(ping(&mut site, "a").0, "held");
    let outcome = site.after(MINUTE).then(&["timer.fired", "enforcement.released"]);
    let Some(Fact::EnforcementReleased(released)) = outcome.facts().nth(1) else { panic!() };
    assert!(matches!(released.outcome, ensue_engine::rules::flow::facts::Release::Skipped { .. }), "{released:?}");
}

#[test]
fn shadow_rule_takes_no_lock() {
    let mut site = rule(1, LockConflict::Skip);
    ping(&mut site, "a");
    site.when(crate::support::set_mode("demo.on_ping", Mode::Shadow));
    assert_eq!(ping(&mut site, "a").0, "shadowed");
}

#[test]
fn execution_takes_its_rule_s_lock_and_then_its_action_s() {
    let pieces = pieces(1, LockConflict::Queue).rule_with("demo.on_ping", "demo.ping", "", "demo.deploy", |rule| {
        rule.flow = flow([(Does::Concurrency { limit: 1, conflict: LockConflict::Queue }, "")]);
        rule.with = template(&json!({ "region": "${{ event.payload.host }}" }));
    });
    let mut site = with(&pieces);
    let (direct, _) = deploy(&mut site, "eu");
    let first = ping(&mut site, "eu").1.unwrap();
    let second = ping(&mut site, "us").1.unwrap();
    let awaits = |site: &Site, id: ExecutionId| site.engine().locks().claimant(&id).unwrap().awaits().map(|claim| claim.owner.noun());
    assert_eq!((awaits(&site, first), awaits(&site, second)), (Some("action"), Some("rule")));
    site.restart();
    site.succeed(direct);
    assert!(runs(&site, first) && waits(&site, second));
    site.succeed(first);
    assert!(runs(&site, second));
    site.succeed(second);
    assert_all_is_let_go(&site);
}
