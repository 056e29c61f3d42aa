//! Steps that assert a condition, that tolerate failures of items, that have local names, whose durations are
//! computed, and that need only some of several steps.

use std::time::Duration;

use ensue_engine::catalog::{FailAt, OnExpire, Period, Rest, Since, Wait};
use ensue_engine::command::Answer;
use ensue_engine::executions::facts::{Failure, FailureKind, Pace};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use serde_json::{Value, json};

use crate::support::workflow::{StepPiece, asserts, awaits, does, summarize, template, times};
use crate::support::{Pieces, Site, cancel, workers};

fn site<const N: usize>(steps: [StepPiece; N]) -> Site {
    let pieces = Pieces::default().action("demo.say").trigger("demo.ping").awaiting("core.wait");
    let mut site = Site::with(&pieces.workflow_giving("demo.flow", steps.into(), None));
    site.set(workers(100));
    site
}

/// Requests the workflow with these parameters.
#[track_caller]
fn begin(site: &mut Site, params: &Value) -> (ExecutionId, Vec<String>) {
    let request = site.request_with("demo.flow", params, None);
    let outcome = site.when(request);
    let Answer::Execution(flow) = outcome.answer() else { panic!("an execution was asked for") };
    (flow, summarize(&outcome))
}

fn step(site: &Site, flow: ExecutionId, name: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&name.parse().unwrap())))
}

fn item(site: &Site, flow: ExecutionId, name: &str, index: u32) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), step(site, flow, name).0, Role::Item(index)))
}

/// The latest failure of a step that did not start.
fn failure(site: &Site) -> &Failure {
    let found = site.records().iter().rev().find_map(|record| match &record.fact {
        Fact::StepFailed(fact) => Some(&fact.error),
        _ => None,
    });
    found.expect("a step failed")
}

/// The parameters of the latest execution.
fn asked_with(site: &Site) -> Value {
    let record = site.records().iter().rev().find(|record| record.kind() == "execution.requested").unwrap();
    serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()
}

mod assertions {
    use super::*;

    #[test]
    fn true_assertion_succeeds_without_an_execution_and_the_next_step_starts() {
        let mut site = site([asserts("ready", "params.load < 3", None), does("after", "demo.say").needs(["ready"])]);
        let (_, begun) = begin(&mut site, &json!({ "load": 2 }));
        assert_eq!(begun, ["flow asked", "ready ended", "after asked"]);
    }

    #[test]
    fn false_assertion_fails_the_workflow_and_explains_each_part() {
        let steps = [
            asserts("ready", "params.load < 3 && params.host == 'a'", Some("${{ params.host }} is busy")),
            does("after", "demo.say").needs(["ready"]),
        ];
        let mut site = site(steps);
        let (_, begun) = begin(&mut site, &json!({ "load": 7, "host": "b" }));
        assert_eq!(begun, ["flow asked", "ready did not start: b is busy", "after skipped: failing", "flow failed"]);
        let error = failure(&site);
        assert_eq!(error.kind, FailureKind::Assertion);
        let parts: Vec<(&str, &str)> = error.explained.iter().map(|part| (part.part.as_str(), part.value.as_str())).collect();
        let expected = [
            ("params.load < 3 && params.host == 'a'", "false"),
            ("params.load < 3", "false"),
            ("params.load", "7"),
            ("params.host == 'a'", "false"),
            ("params.host", "\"b\""),
        ];
        for part in expected {
            assert!(parts.contains(&part), "{part:?} is missing in {parts:?}");
        }
        assert_eq!(parts[0], expected[0]);
    }

    #[test]
    fn false_assertion_without_a_message_is_its_own_message() {
        let mut site = site([asserts("ready", "params.load < 3", None)]);
        begin(&mut site, &json!({ "load": 7 }));
        assert_eq!(failure(&site).message, "`params.load < 3` is false");
    }

    #[test]
    fn assertion_that_cannot_be_evaluated_fails_with_the_kind_expression() {
        let mut site = site([asserts("ready", "params.load < 3", None)]);
        begin(&mut site, &json!({}));
        assert_eq!(failure(&site).kind, FailureKind::Expression);
        assert!(failure(&site).explained.is_empty());
    }

    #[test]
    fn explanation_is_read_by_later_steps_and_is_limited() {
        let condition = (0..60).map(|n| format!("params.text == '{}'", "x".repeat(60 + n))).collect::<Vec<_>>().join(" || ");
        let steps = [
            asserts("ready", &condition, Some("\u{1}".repeat(3_000).as_str())).tolerate_failure(),
            does("after", "demo.say").needs(["ready"]).with(&json!({ "text": "${{ steps.ready.error.explained[1].part }}" })),
        ];
        let mut site = site(steps);
        begin(&mut site, &json!({ "text": "y" }));
        let bytes = serde_json::to_vec(failure(&site)).unwrap().len();
        assert!(bytes < 14 * 1024, "{bytes}");
        let mut site = super::site([
            asserts("ready", "params.text == 'x'", None).tolerate_failure(),
            does("after", "demo.say").needs(["ready"]).with(&json!({ "text": "${{ steps.ready.error.explained[1].value }}" })),
        ]);
        begin(&mut site, &json!({ "text": "y" }));
        assert_eq!(asked_with(&site), json!({ "text": "\"y\"" }));
    }
}

mod tolerated_items {
    use super::*;

    fn ends(site: &mut Site, flow: ExecutionId, fails: &[u32], succeed: &[u32]) -> Vec<String> {
        let mut all = Vec::new();
        for index in fails {
            let item = item(site, flow, "each", *index);
            all.extend(summarize(&site.fail(item, FailureKind::ExitCode)));
        }
        for index in succeed {
            let item = item(site, flow, "each", *index);
            all.extend(summarize(&site.succeed(item)));
        }
        all
    }

    #[test]
    fn step_succeeds_if_no_more_items_fail_than_may() {
        let steps = [
            does("each", "demo.say").over("[1, 2, 3, 4]").fail_at(FailAt::Count(2)),
            does("after", "demo.say").needs(["each"]).with(&json!({ "text": "${{ steps.each.items.map(i, i.status) }}" })),
        ];
        let mut site = site(steps);
        let (flow, _) = begin(&mut site, &json!({}));
        let ended = ends(&mut site, flow, &[0, 3], &[1, 2]);
        assert_eq!(ended[3..], ["each[2] succeeded", "each ended", "after asked"]);
        assert_eq!(asked_with(&site), json!({ "text": ["failed", "succeeded", "succeeded", "failed"] }));
    }

    #[test]
    fn failure_that_passes_the_limit_stops_new_items_and_fails_the_step() {
        let steps = [does("each", "demo.say").over("[1, 2, 3, 4, 5, 6]").parallel(3).fail_at(FailAt::Count(1))];
        let mut site = site(steps);
        let (flow, _) = begin(&mut site, &json!({}));
        assert_eq!(ends(&mut site, flow, &[0], &[]), ["each[0] failed", "each[3] asked"]);
        assert_eq!(ends(&mut site, flow, &[1], &[]), ["each[1] failed"]);
        let ended = ends(&mut site, flow, &[], &[2, 3]);
        assert_eq!(ended[..2], ["each[2] succeeded", "each[3] succeeded"], "running items end by themselves");
        assert!(ended[2].starts_with("each ended: 2 of 6 items failed, and at most 1 may fail"), "{ended:?}");
        assert_eq!(ended[3], "flow failed");
    }

    #[test]
    fn limit_in_percent_is_recorded_as_a_number_of_items() {
        let mut site = site([does("each", "demo.say").over("params.all").fail_at(FailAt::Percent(10))]);
        begin(&mut site, &json!({ "all": (0..35).collect::<Vec<_>>() }));
        let limit = site.records().iter().find_map(|record| match &record.fact {
            Fact::StepExpanded(fact) => fact.fail_at,
            _ => None,
        });
        assert_eq!(limit, Some(3));
    }

    #[test]
    fn cancelled_step_is_not_successful_because_its_failures_are_few() {
        let mut site = site([does("each", "demo.say").over("[1, 2, 3, 4]").parallel(1).fail_at(FailAt::Count(3))]);
        let (flow, _) = begin(&mut site, &json!({}));
        site.when(cancel(flow));
        let ended = ends(&mut site, flow, &[0], &[]);
        assert!(ended[1].starts_with("each ended: 1 of 4 items were started"), "{ended:?}");
    }
}

mod local_names {
    use super::*;

    #[test]
    fn local_names_of_a_step_are_read_in_its_condition_parameters_and_items() {
        let with = json!({ "text": "${{ local.who + string(index) }}" });
        let steps = [does("each", "demo.say")
            .local("all", "params.hosts.filter(host, host != 'b')")
            .local("who", "local.all[0]")
            .starts_if("local.all.size() > 0")
            .over("local.all")
            .with(&with)];
        let mut site = site(steps);
        let (_, begun) = begin(&mut site, &json!({ "hosts": ["a", "b", "c"] }));
        assert_eq!(begun, ["flow asked", "each of 2", "each[0] asked", "each[1] asked"]);
        assert_eq!(asked_with(&site), json!({ "text": "a1" }));
    }

    #[test]
    fn local_name_reads_a_step_that_is_needed() {
        let steps = [
            does("first", "demo.say"),
            does("after", "demo.say")
                .needs(["first"])
                .local("done", "steps.first.result.done")
                .with(&json!({ "text": "${{ local.done }}" })),
        ];
        let mut site = site(steps);
        let (flow, _) = begin(&mut site, &json!({}));
        let first = step(&site, flow, "first");
        site.succeed(first);
        assert_eq!(asked_with(&site), json!({ "text": true }));
    }

    #[test]
    fn local_name_that_errs_fails_only_a_step_that_reads_it() {
        let steps = [
            does("reads", "demo.say").local("no", "params.missing").with(&json!({ "text": "${{ local.no }}" })),
            does("ignores", "demo.say").local("no", "params.missing"),
        ];
        let mut site = site(steps);
        let (_, begun) = begin(&mut site, &json!({}));
        assert!(begun[1].starts_with("reads did not start"), "{begun:?}");
        assert_eq!(failure(&site).kind, FailureKind::Expression);
    }
}

mod durations {
    use super::*;

    fn limit(site: &Site) -> Option<u64> {
        site.records().iter().rev().find_map(|record| match &record.fact {
            Fact::ExecutionRequested(fact) => Some(fact.limit_millis),
            _ => None,
        })?
    }

    #[test]
    fn timeout_is_computed_when_the_step_begins_and_recorded() {
        let texts =
            [("90s", 90_000), ("1m30s", 90_000), ("2d", 172_800_000), ("PT1H", 3_600_000)].map(|(text, millis)| (json!(text), millis));
        for (value, millis) in texts.into_iter().chain([(json!(60), 60_000), (json!(1.5), 1_500)]) {
            let mut site = site([does("go", "demo.say").timeout_of(&json!("${{ params.limit }}"))]);
            begin(&mut site, &json!({ "limit": value }));
            assert_eq!(limit(&site), Some(millis), "{value}");
        }
    }

    #[test]
    fn invalid_duration_fails_the_step() {
        for value in [json!("soon"), json!("500ms"), json!("401d"), json!(0.5), json!(-1), json!(true), json!(null)] {
            let mut site = site([does("go", "demo.say").timeout_of(&json!("${{ params.limit }}"))]);
            begin(&mut site, &json!({ "limit": value }));
            assert_eq!(failure(&site).kind, FailureKind::Expression, "{value}");
            assert!(failure(&site).message.starts_with("`timeout` returns"), "{}", failure(&site).message);
        }
    }

    #[test]
    fn expiry_of_a_wait_and_the_delay_of_turns_are_computed() {
        let computed = |value: &str| Some(Period::Computed(template(&json!(value))));
        let wait = Wait {
            trigger: "demo.ping".parse().unwrap(),
            when: None,
            since: Since::Step,
            expires: computed("${{ params.limit }}"),
            on_expire: OnExpire::Fail,
        };
        let turns = times(2).every_of(&json!("${{ iteration }}0s"));
        let mut site = site([awaits("come", wait), does("again", "demo.say").repeat(turns)]);
        let (flow, _) = begin(&mut site, &json!({ "limit": "5m" }));
        let awaits = site.engine().executions().get(&step(&site, flow, "come")).unwrap().pace;
        assert_eq!(awaits, Pace::Awaits { expires_millis: Some(300_000) });
        let first = ExecutionId(Id::derive(site.engine().log(), step(&site, flow, "again").0, Role::Iteration(1)));
        let outcome = site.succeed(first);
        let wait = outcome.records().iter().find_map(|record| match &record.fact {
            Fact::ExecutionRequested(fact) => fact.wait_millis,
            _ => None,
        });
        assert_eq!(wait.map(Duration::from_millis), Some(Duration::from_secs(20)));
    }
}

mod some_of_several {
    use super::*;

    fn three(rest: Rest) -> Site {
        let reads = json!({ "text": "${{ steps.a.status + ' ' + steps.b.status + ' ' + steps.c.status }}" });
        site([
            does("a", "demo.say"),
            does("b", "demo.say").tolerate_failure(),
            does("c", "demo.say").tolerate_failure(),
            does("both", "demo.say").needs_any(2, ["a", "b", "c"], rest).with(&reads),
        ])
    }

    #[track_caller]
    fn succeeds(site: &mut Site, flow: ExecutionId, name: &str) -> Vec<String> {
        let child = step(site, flow, name);
        summarize(&site.succeed(child))
    }

    #[test]
    fn step_starts_when_enough_succeeded_and_sees_the_others_as_running() {
        let mut site = three(Rest::GoesOn);
        let (flow, begun) = begin(&mut site, &json!({}));
        assert_eq!(begun, ["flow asked", "a asked", "b asked", "c asked"]);
        assert_eq!(succeeds(&mut site, flow, "c"), ["c succeeded"]);
        assert_eq!(succeeds(&mut site, flow, "a"), ["a succeeded", "both follows a and c", "both asked"]);
        assert_eq!(asked_with(&site), json!({ "text": "succeeded running succeeded" }));
        assert_eq!(succeeds(&mut site, flow, "both"), ["both succeeded"]);
        assert_eq!(succeeds(&mut site, flow, "b"), ["b succeeded", "flow succeeded"]);
    }

    #[test]
    fn rest_is_cancelled_and_does_not_fail_the_workflow() {
        let steps = [
            does("a", "demo.say"),
            does("b", "demo.say"),
            does("each", "demo.say").over("[1, 2, 3]").parallel(1),
            does("later", "demo.say").needs(["b"]),
            does("first", "demo.say").needs_any(1, ["a", "b", "each", "later"], Rest::IsCancelled),
        ];
        let mut site = site(steps);
        let (flow, _) = begin(&mut site, &json!({}));
        assert_eq!(succeeds(&mut site, flow, "a"), ["a succeeded", "first follows a", "first asked"]);
        let requests = site.records().iter().filter(|record| record.kind() == "execution.cancel_requested").count();
        assert_eq!(requests, 2, "`b` and an item run");
        let b = step(&site, flow, "b");
        assert_eq!(summarize(&site.fail(b, FailureKind::ExitCode)), ["b cancelled", "later skipped: cancelled"]);
        let item = item(&site, flow, "each", 0);
        let ended = summarize(&site.fail(item, FailureKind::ExitCode));
        assert!(ended[1].starts_with("each ended"), "{ended:?}");
        assert_eq!(succeeds(&mut site, flow, "first"), ["first succeeded", "flow succeeded"]);
    }

    /// Lets a turn of a step succeed.
    #[track_caller]
    fn turn_succeeds(site: &mut Site, flow: ExecutionId, name: &str, number: u32) -> Vec<String> {
        let turn = ExecutionId(Id::derive(site.engine().log(), step(site, flow, name).0, Role::Iteration(number)));
        summarize(&site.succeed(turn))
    }

    #[test]
    fn rest_begins_no_further_turn_although_its_turn_ended_well() {
        let again = || times(3).until("result.done == false");
        let steps = [
            does("a", "demo.say"),
            does("again", "demo.say").repeat(again()),
            does("waits", "demo.say").repeat(again().every(Duration::from_secs(60))),
            does("other", "demo.say").repeat(times(2)),
            does("first", "demo.say").needs_any(1, ["a", "again", "waits"], Rest::IsCancelled),
        ];
        let mut site = site(steps);
        let (flow, _) = begin(&mut site, &json!({}));
        assert_eq!(succeeds(&mut site, flow, "a"), ["a succeeded", "first follows a", "first asked"]);
        for name in ["again", "waits"] {
            let ended = turn_succeeds(&mut site, flow, name, 1);
            assert_eq!(ended, [format!("{name}[0] succeeded"), format!("{name} ended: 1 turns were made before it was cancelled")]);
        }
        // A step that nobody chose between continues.
        assert_eq!(turn_succeeds(&mut site, flow, "other", 1), ["other[0] succeeded", "other[1] asked"]);
        assert_eq!(turn_succeeds(&mut site, flow, "other", 2), ["other[1] succeeded", "other ended"]);
        assert_eq!(succeeds(&mut site, flow, "first"), ["first succeeded", "flow succeeded"], "the rest does not fail it");
    }

    #[test]
    fn rest_whose_last_turn_ended_well_succeeded() {
        let steps = [
            does("a", "demo.say"),
            does("again", "demo.say").repeat(times(2)),
            does("enough", "demo.say").repeat(times(9).until("result.done")),
            does("first", "demo.say").needs_any(1, ["a", "again", "enough"], Rest::IsCancelled),
        ];
        let mut site = site(steps);
        let (flow, _) = begin(&mut site, &json!({}));
        assert_eq!(turn_succeeds(&mut site, flow, "again", 1), ["again[0] succeeded", "again[1] asked"]);
        succeeds(&mut site, flow, "a");
        assert_eq!(turn_succeeds(&mut site, flow, "again", 2), ["again[1] succeeded", "again ended"]);
        assert_eq!(turn_succeeds(&mut site, flow, "enough", 1), ["enough[0] succeeded", "enough ended"]);
    }

    #[test]
    fn step_is_skipped_as_soon_as_enough_cannot_succeed() {
        let mut site = three(Rest::GoesOn);
        let (flow, _) = begin(&mut site, &json!({}));
        for (name, then) in [("b", vec!["b failed"]), ("c", vec!["c failed", "both skipped: needs"])] {
            let child = step(&site, flow, name);
            assert_eq!(summarize(&site.fail(child, FailureKind::ExitCode)), then);
        }
        assert_eq!(succeeds(&mut site, flow, "a"), ["a succeeded", "flow succeeded"]);
    }

    #[test]
    fn condition_decides_which_ends_count() {
        for (condition, then) in [("failed()", "any follows b"), ("always()", "any follows a")] {
            let any = does("any", "demo.say").needs_any(1, ["a", "b"], Rest::GoesOn).starts_if(condition);
            let mut site = site([does("a", "demo.say"), does("b", "demo.say").tolerate_failure(), any]);
            let (flow, _) = begin(&mut site, &json!({}));
            let mut all = succeeds(&mut site, flow, "a");
            let b = step(&site, flow, "b");
            all.extend(summarize(&site.fail(b, FailureKind::ExitCode)));
            assert!(all.contains(&then.to_owned()) && all.contains(&"any asked".to_owned()), "{all:?}");
        }
    }

    #[test]
    fn failing_or_cancelled_workflow_cancels_no_rest() {
        let steps = [
            does("a", "demo.say"),
            does("b", "demo.say"),
            does("c", "demo.say"),
            does("any", "demo.say").needs_any(1, ["a", "b"], Rest::IsCancelled),
        ];
        let mut site = site(steps);
        let (flow, _) = begin(&mut site, &json!({}));
        let c = step(&site, flow, "c");
        site.fail(c, FailureKind::ExitCode);
        assert_eq!(succeeds(&mut site, flow, "a"), ["a succeeded", "any skipped: failing"]);
        assert_eq!(succeeds(&mut site, flow, "b"), ["b succeeded", "flow failed"]);
    }
}
