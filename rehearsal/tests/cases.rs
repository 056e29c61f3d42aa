//! Tests that expectations of cases are compared with what the engine does, without real work and without
//! real time.

use std::time::{Duration, Instant};

use crate::support::{failures, run, run_steps};

const GREET: (&str, &str) = (
    "rules/greet.yaml",
    "trigger: demo.ping\nwhen: event.payload.host == config.owner\naction: core.echo\nwith: { message: 'Hello, ${{ event.payload.host }}!' }\n",
);

#[track_caller]
fn passes(steps: &str, case: &str) {
    assert_eq!(failures(&run_steps(steps, case)), "");
}

#[track_caller]
fn fails(steps: &str, case: &str) -> String {
    let failures = failures(&run_steps(steps, case));
    assert_ne!(failures, "", "it passes");
    failures
}

#[test]
fn rules_use_the_settings_of_the_test() {
    let verdicts = run(
        &[GREET],
        "- it: greets the owner\n  given: { event: { trigger: demo.ping, payload: { host: acme } } }\n  expect: [{ rule: demo.greet, action: core.echo, with: { message: 'Hello, acme!' } }]\n\
         - it: greets another owner\n  config: { owner: other }\n  given: { event: { trigger: demo.ping, payload: { host: other } } }\n  expect: [{ rule: demo.greet }]\n\
         - it: greets nobody else\n  given: { event: { trigger: demo.ping, payload: { host: other } } }\n  expect: []\n",
    );
    assert!(verdicts.iter().all(|verdict| verdict.is_passed()), "{verdicts:?}");
}

#[test]
fn each_difference_of_a_decision_is_reported() {
    let verdicts = run(
        &[GREET],
        "- it: does not match\n  given: { event: { trigger: demo.ping, payload: { host: other } } }\n  expect: [{ rule: demo.greet }]\n\
         - it: matches\n  given: { event: { trigger: demo.ping, payload: { host: acme } } }\n  expect: []\n\
         - it: differs\n  given: { event: { trigger: demo.ping, payload: { host: acme } } }\n  expect: [{ rule: demo.greet, action: core.noop, with: { message: Bye }, outcome: rejected }]\n\
         - it: errs\n  given: { event: { trigger: demo.ping } }\n  expect: []\n",
    );
    let failures: Vec<String> = verdicts.iter().map(failures).collect();
    insta::assert_snapshot!(failures.join("\n"));
}

#[test]
fn errors_rejections_and_shadow_decisions_can_be_expected() {
    let files = [
        GREET,
        ("rules/watch.yaml", "mode: shadow\ntrigger: demo.ping\naction: core.echo\n"),
        ("actions/picky.yaml", "parameters: { name: { type: string, pattern: '^x' } }\nrun: { shell: { script: make } }\n"),
        ("rules/wrong.yaml", "trigger: demo.ping\naction: demo.picky\nwith: { name: '${{ event.trigger }}' }\n"),
    ];
    let verdicts = run(
        &files,
        "- it: errs\n  given: { event: { trigger: demo.ping, payload: { load: 1 } } }\n  expect:\n\
         \x20   - { rule: demo.greet, outcome: erred, error: { message: host } }\n\
         \x20   - { rule: demo.watch, outcome: shadowed }\n\
         \x20   - { rule: demo.wrong, outcome: rejected, error: { message: should match the pattern } }\n",
    );
    assert_eq!(failures(&verdicts[0]), "");
}

#[test]
fn engine_s_own_event_can_be_given_or_can_result() {
    let when = "event.payload.status == 'failed' && event.payload.error.kind == 'exit_code'";
    let alert =
        format!("trigger: core.execution_ended\nwhen: {when}\naction: core.echo\nwith: {{ message: '${{{{ event.payload.action }}}}' }}\n");
    let files = [
        ("rules/alert.yaml", alert.as_str()),
        ("rules/work.yaml", "trigger: demo.ping\naction: demo.made\n"),
        ("rules/wrong.yaml", "trigger: core.execution_ended\nwhen: event.payload.labels.there == 1\naction: core.echo\n"),
    ];
    let verdicts = run(
        &files,
        "- it: is given\n  given: { event: { trigger: core.execution_ended, payload: { action: demo.it, status: failed, error: { kind: exit_code } } } }\n  expect:\n\
         \x20   - { rule: demo.alert, with: { message: demo.it } }\n\
         \x20   - { rule: demo.wrong, outcome: erred }\n\
         - it: comes about\n  given: { event: { trigger: demo.ping, payload: { host: acme } } }\n  mocks: { work: { error: { kind: exit_code } } }\n  expect:\n\
         \x20   - { rule: demo.work, status: failed }\n\
         \x20   - { rule: demo.alert, with: { message: demo.made } }\n\
         \x20   - { rule: demo.wrong, outcome: erred }\n",
    );
    let failures: String = verdicts.iter().map(failures).collect();
    assert_eq!(failures, "");
}

#[test]
fn repeated_error_can_be_expected() {
    let verdicts = run(
        &[GREET],
        "- it: errs twice\n  given: { events: [{ trigger: demo.ping }, { trigger: demo.ping }] }\n  expect: [{ rule: demo.greet, outcome: erred }, { rule: demo.greet, outcome: erred }]\n",
    );
    assert_eq!(failures(&verdicts[0]), "");
}

#[test]
fn repeated_error_on_an_own_event_can_be_expected() {
    let files = [
        ("rules/work.yaml", "trigger: demo.ping\naction: demo.made\n"),
        ("rules/wrong.yaml", "trigger: core.execution_ended\nwhen: event.payload.labels.there == 1\naction: core.echo\n"),
    ];
    let verdicts = run(
        &files,
        "- it: errs twice\n  given: { events: [{ trigger: demo.ping, payload: {} }, { trigger: demo.ping, payload: {} }] }\n  mocks: { work: { error: { kind: exit_code } } }\n  expect:\n\
         \x20   - { rule: demo.work, status: failed }\n\x20   - { rule: demo.work, status: failed }\n\
         \x20   - { rule: demo.wrong, outcome: erred }\n\x20   - { rule: demo.wrong, outcome: erred }\n",
    );
    assert_eq!(failures(&verdicts[0]), "");
}

#[test]
fn steps_use_their_mocks_and_are_compared_with_expectations() {
    passes(
        "build: { action: demo.made, with: { name: one } }\nafter: { needs: build, action: core.echo, with: { message: '${{ steps.build.result.url }}' } }",
        "mocks: { build: { result: { url: here } } }\n\
         expect: { status: succeeded, steps: { build: { status: succeeded, with: { name: one } }, after: { result: { message: here } } } }",
    );
}

#[test]
fn step_without_a_mock_fails_the_test_and_suggests_one() {
    insta::assert_snapshot!(fails("build: { action: demo.made }", "expect: { status: succeeded }"), @"
    `build` would run `demo.made`, which has no mock here (line 1)
      = add a mock with its result:
    mocks:
      build: { result: {} }
    ");
}

#[test]
fn action_s_own_mock_is_used_for_its_attempts() {
    let files = [
        ("actions/made.yaml", "result: { url: string }\nrun: { shell: { script: make } }\nmock: { url: there }\n"),
        ("actions/flow.yaml", "run: { workflow: { steps: { build: { action: demo.made } } } }\n"),
    ];
    let verdicts = run(&files, "- it: goes\n  run: { action: demo.flow }\n  expect: { steps: { build: { result: { url: there } } } }\n");
    assert_eq!(failures(&verdicts[0]), "");
}

#[test]
fn mock_list_has_one_entry_per_attempt_and_back_offs_take_no_time() {
    let begin = Instant::now();
    passes(
        "build: { action: demo.made, retry: { attempts: 3, delay: 1h, max_delay: 24h, backoff: exponential } }",
        "mocks: { build: [{ error: { kind: network } }, { error: { kind: exit_code, detail: 2 } }, { result: ok }] }\n\
         expect: { status: succeeded, steps: { build: { attempts: 3, result: ok } } }",
    );
    assert!(begin.elapsed() < Duration::from_secs(60), "hours of back-off were waited for");
}

#[test]
fn mock_list_that_is_too_short_is_reported() {
    insta::assert_snapshot!(fails(
        "build: { action: demo.made, retry: { attempts: 3, delay: 1s } }",
        "mocks: { build: [{ error: { kind: network } }] }\nexpect: { status: failed }",
    ), @"
    the mocks of `build` are 1, and this would be number 2 (line 1)
      = add one to the list, or write a single mock for all of them:
    mocks:
      build: { result: {} }
    ");
}

#[test]
fn mock_list_of_items_may_contain_lists_of_attempts() {
    passes(
        "wide: { for_each: params.list, action: demo.made, with: { name: '${{ item }}' }, retry: { attempts: 2, delay: 1m } }",
        "mocks: { wide: [{ result: 1 }, [{ error: { kind: network } }, { error: { kind: signal, detail: 9 } }]] }\n\
         expect:\n  status: failed\n  steps:\n    wide:\n      status: failed\n      attempts: 3\n\
         \x20     items: [{ status: succeeded, with: { name: a }, result: 1 }, { status: failed, attempts: 2, error: { kind: signal, detail: 9 } }]",
    );
}

#[test]
fn mock_list_has_one_entry_per_turn() {
    passes(
        "again: { action: demo.made, repeat: { max: 5, until: result.done, every: 1h } }",
        "mocks: { again: [{ result: { done: false } }, { result: { done: true } }] }\n\
         expect: { status: succeeded, steps: { again: { result: { done: true }, items: [succeeded, succeeded] } } }",
    );
}

#[test]
fn steps_of_nested_workflows_are_named_by_their_path() {
    let files = [
        ("actions/inner.yaml", "run: { workflow: { steps: { deep: { action: demo.made } } } }\n"),
        (
            "actions/flow.yaml",
            "run: { workflow: { steps: { each: { for_each: '[\"a\", \"b\"]', action: demo.inner }, one: { action: demo.inner } } } }\n",
        ),
    ];
    let verdicts = run(
        &files,
        "- it: goes\n  run: { action: demo.flow }\n  mocks: { each.deep: [{ result: 1 }, { error: { kind: signal } }], one.deep: { result: 2 } }\n\
         \x20 expect: { status: failed, steps: { one.deep: { result: 2 }, each: { items: [succeeded, failed] } } }\n",
    );
    assert_eq!(failures(&verdicts[0]), "");
}

const ASK: &str = "ask:\n  inquiry:\n    title: Going on\n    answer: { ship: boolean }\n    assignees: ['role:managers', ana]\n    quorum: 2\n    veto: answer.ship == false\n    expires: 8h\n\
                   stop: { needs: ask, if: '!steps.ask.answer.ship', fail: nobody wants it }";

#[test]
fn mocked_inquiry_takes_its_answers_like_real_ones() {
    passes(ASK, "mocks: { ask: { answer: { ship: true } } }\nexpect: { status: succeeded, steps: { stop: skipped } }");
    passes(ASK, "mocks: { ask: [{ answer: { ship: false }, by: ana }] }\nexpect: { status: failed, error: { kind: child_failed } }");
    passes(
        ASK,
        "mocks: { ask: [{ answer: { ship: true }, by: ana }, { expired: true }] }\nexpect: { steps: { ask: { status: failed, error: { kind: expired, message: 1 of 2 } } } }",
    );
}

#[test]
fn mocked_answer_of_an_excluded_person_is_rejected() {
    let same = fails(ASK, "mocks: { ask: { answer: { ship: true }, by: ana } }\nexpect: { status: succeeded }");
    assert!(same.contains("the answer to `ask` is rejected"), "{same}");
    let unsaid = fails(ASK, "expect: { status: succeeded }");
    assert!(unsaid.contains("ask: { answer: {\"ship\":true} }"), "{unsaid}");
    let for_ever = fails(
        "ask: { inquiry: { title: Going on, answer: { ship: boolean }, assignees: ana } }",
        "mocks: { ask: { expired: true } }\nexpect: { status: failed }",
    );
    assert!(for_ever.contains("`ask` has no `expires`"), "{for_ever}");
}

#[test]
fn mocked_wait_ends_with_its_event_if_the_condition_holds() {
    const CI: &str = "ci: { wait: { trigger: demo.ping, when: 'event.payload.host == params.list[0]', expires: 1h } }\n\
                      then: { needs: ci, action: core.echo, with: { message: '${{ steps.ci.event.payload.host }}' } }";
    passes(CI, "mocks: { ci: { event: { host: a } } }\nexpect: { status: succeeded, steps: { then: { result: { message: a } } } }");
    passes(CI, "mocks: { ci: { expired: true } }\nexpect: { steps: { ci: { status: failed, error: { kind: expired } } } }");
    let unsaid = fails(CI, "expect: { status: succeeded }");
    assert!(unsaid.contains("waits for an event of `demo.ping`"), "{unsaid}");
    let unfit = fails(CI, "mocks: { ci: { event: { host: b } } }\nexpect: { status: succeeded }");
    assert!(unfit.contains("its `when` is not true"), "{unfit}");
}

#[test]
fn mocked_event_cancels_a_step_that_asks_sleeps_or_waits() {
    const CANCEL: &str = "cancel_when: { trigger: demo.ping, when: 'event.payload.host == params.list[0]' }";
    let then = "then: { needs: it, if: always(), action: core.echo, with: { message: '${{ steps.it.?event.?payload.?host.orValue(\"none\") }}' } }";
    for (task, otherwise) in [
        (
            "inquiry: { title: Ship, answer: { ship: boolean }, assignees: [ana, bo], quorum: 2 }",
            "[{ answer: { ship: true }, by: ana }, { answer: { ship: true }, by: bo }]",
        ),
        ("wait: { trigger: demo.ping, when: 'event.payload.host == params.list[1]' }", "{ event: { host: b } }"),
    ] {
        let steps = format!("it: {{ {task}, {CANCEL} }}\n{then}");
        let cancelled = "expect: { status: succeeded, steps: { it: skipped, then: { result: { message: a } } } }";
        passes(&steps, &format!("mocks: {{ it: {{ cancelled_by: {{ host: a }} }} }}\n{cancelled}"));
        if task.starts_with("inquiry") {
            let after_one = "[{ answer: { ship: true }, by: ana }, { cancelled_by: { host: a } }]";
            passes(&steps, &format!("mocks: {{ it: {after_one} }}\n{cancelled}"));
        }
        passes(&steps, &format!("mocks: {{ it: {otherwise} }}\nexpect: {{ status: succeeded, steps: {{ it: succeeded }} }}"));
        let unfit = fails(&steps, &format!("mocks: {{ it: {{ cancelled_by: {{ host: z }} }} }}\n{cancelled}"));
        assert!(unfit.contains("the event does not cancel `it`"), "{unfit}");
    }
    let steps = format!("it: {{ sleep: 10m, {CANCEL} }}\n{then}");
    passes(&steps, "expect: { steps: { it: succeeded, then: { result: { message: none } } } }");
    passes(&steps, "mocks: { it: { cancelled_by: { host: a } } }\nexpect: { steps: { it: skipped, then: { result: { message: a } } } }");
}

#[test]
fn undo_is_expected_in_order_and_needs_no_mock() {
    const MOVE: &str = "first: { action: demo.made, undo: { action: demo.made } }\n\
                        each: { needs: first, for_each: params.list, action: demo.made, undo: { action: demo.made, with: { name: '${{ item }}' } } }\n\
                        stop: { needs: each, fail: it does not answer }";
    const MOCKS: &str = "mocks: { first: { result: {} }, each: { result: {} } }\n";
    passes(MOVE, &format!("{MOCKS}expect: {{ status: failed, undone: [each, first], steps: {{ first: succeeded, each: succeeded }} }}"));
    let failures = fails(MOVE, &format!("{MOCKS}expect: {{ status: failed, undone: first }}"));
    assert!(failures.contains("[first]") && failures.contains("[each, first]"), "{failures}");
    passes("only: { action: core.noop }", "expect: { status: succeeded }");
}

#[test]
fn sleeps_and_timeouts_use_the_test_s_clock() {
    passes("nap: { sleep: 24h }", "expect: { status: succeeded }");
    passes("long: { action: core.noop, with: { seconds: 30 }, timeout: 10s }", "expect: { status: failed, steps: { long: timed_out } }");
    passes(
        "long: { action: core.noop, with: { seconds: 700 } }",
        "expect: { steps: { long: { status: timed_out, error: { kind: timeout } } } }",
    );
}

#[test]
fn fail_fast_stops_the_other_items() {
    passes(
        "wide: { for_each: params.list, fail_fast: true, action: demo.made }",
        "mocks: { wide: [{ error: { kind: exit_code } }, { result: 1 }] }\nexpect: { status: failed, steps: { wide: { items: [failed, cancelled] } } }",
    );
}

#[test]
fn lost_mock_makes_the_execution_indeterminate() {
    let verdicts = run(
        &[],
        "- it: is lost\n  run: { action: demo.made }\n  mocks: { made: { error: { kind: lost } } }\n  expect: { status: indeterminate }\n",
    );
    assert_eq!(failures(&verdicts[0]), "");
}

#[test]
fn workflow_that_waits_for_a_settlement_is_reported() {
    insta::assert_snapshot!(fails("build: { action: demo.made }", "mocks: { build: { error: { kind: lost } } }\nexpect: { status: failed }"), @"
    the run (line 4)
      status: failed / it has not ended
      = `build` waits for a person to settle it (`on_lost: ask`)
    ");
}

#[test]
fn disabled_rule_neither_decides_nor_errs() {
    let rule = ("rules/greet.yaml", "mode: disabled\ntrigger: demo.ping\nwhen: event.payload.host == config.owner\naction: core.echo\n");
    let verdicts = run(
        &[rule],
        "- it: rests\n  given: { events: [{ trigger: demo.ping }, { trigger: demo.ping, payload: { host: acme } }] }\n  expect: []\n",
    );
    assert_eq!(failures(&verdicts[0]), "");
}

#[test]
fn suggested_mock_has_the_shape_of_the_action_s_result() {
    let made = ("actions/made.yaml", "result: { url: string, count: integer, note: 'string?' }\nrun: { shell: { script: make } }\n");
    let verdicts = run(&[made], "- it: goes\n  run: { action: demo.made }\n  expect: {}\n");
    assert!(failures(&verdicts[0]).contains("made: { result: {\"count\":1,\"url\":\"…\"} }"), "{}", failures(&verdicts[0]));
}

#[test]
fn emitted_event_is_evaluated_like_any_other() {
    let files = [
        GREET,
        (
            "actions/tell.yaml",
            "parameters: { host: string }\nlocal: { who: params.host }\nrun: { emit: { trigger: demo.ping, payload: { host: '${{ local.who }}' } } }\n",
        ),
        ("rules/again.yaml", "trigger: demo.start\naction: demo.tell\nwith: { host: '${{ config.owner }}' }\n"),
        ("triggers/start.yaml", "description: It begins.\n"),
    ];
    let verdicts = run(
        &files,
        "- it: continues\n  given: { event: { trigger: demo.start } }\n  mocks: {}\n  expect:\n    - { rule: demo.again, status: succeeded }\n    - { rule: demo.greet, result: { message: 'Hello, acme!' } }\n\
         - it: stops there\n  given: { event: { trigger: demo.start } }\n  expect: [{ rule: demo.again }]\n",
    );
    assert!(verdicts.iter().all(|verdict| verdict.is_passed()), "{verdicts:?}");
}

#[test]
fn duplicate_emission_has_no_effect_and_its_result_names_the_first() {
    let files = [
        GREET,
        (
            "actions/twice.yaml",
            "run:\n  workflow:\n    steps:\n      one: { action: core.emit, with: &failures { trigger: demo.ping, payload: { host: a }, dedupe: page-1 } }\n      \
             two: { needs: one, action: core.emit, with: *failures }\n    result: { same: '${{ steps.one.result.event == steps.two.result.event }}' }\n",
        ),
    ];
    let verdicts = run(&files, "- it: emits once\n  run: { action: demo.twice }\n  expect: { result: { same: true } }\n");
    assert!(verdicts.iter().all(|verdict| verdict.is_passed()), "{verdicts:?}");
}

#[test]
fn objects_may_have_more_fields_unless_compared_exactly() {
    let files = [("actions/made.yaml", "run: { shell: { script: make } }\nmock: { a: { b: 1, c: [1, 2] }, n: 3.0 }\n")];
    let verdicts = run(
        &files,
        "- it: contains\n  run: { action: demo.made }\n  expect: { result: { a: { c: [1, 2] }, n: 3 } }\n\
         - it: equals\n  run: { action: demo.made }\n  expect: { exactly: true, result: { a: { c: [1, 2] } } }\n\
         - it: has a list of another length\n  run: { action: demo.made }\n  expect: { result: { a: { c: [1] } } }\n",
    );
    let failures: Vec<String> = verdicts.iter().map(failures).collect();
    insta::assert_snapshot!(failures.join("\n"), @"

    the run (line 6)
      result.a.b: — / 1
      result.n: — / 3.0

    the run (line 9)
      result.a.c: [1] / [1,2]
    ");
}

#[test]
fn unexpected_end_of_a_run_or_step_is_reported_with_the_reason() {
    insta::assert_snapshot!(fails(
        "build: { action: demo.made }\nlater: { needs: build, action: core.noop }",
        "mocks: { build: { error: { kind: exit_code, message: no room, detail: 3 } } }\n\
         expect: { status: succeeded, steps: { build: succeeded, later: { status: succeeded, with: { seconds: 0 } } } }",
    ));
}

#[test]
fn other_rule_s_schedule_does_not_keep_a_test_from_ending() {
    let nightly = ("rules/nightly.yaml", "schedule: { cron: '30 2 * * *' }\naction: core.noop\n");
    let case = "- it: says hello\n  run: { action: core.echo, with: { message: hi } }\n  expect: { status: succeeded }\n";
    assert_eq!(failures(&run(&[nightly], case)[0]), "");
}

#[test]
fn every_queue_of_an_action_has_workers_in_tests() {
    let build = ("actions/build.yaml", "run: { shell: { script: make } }\nqueue: heavy\nmock: built\n");
    let verdicts = run(&[build], "- it: builds\n  run: { action: demo.build }\n  expect: { status: succeeded, result: built }\n");
    assert!(verdicts.iter().all(|verdict| verdict.is_passed()), "{verdicts:?}");
}

#[test]
fn assertion_is_really_evaluated() {
    let steps = "probe: { action: demo.made }\nready: { needs: probe, assert: steps.probe.result.load < 3, message: busy }\n";
    passes(steps, "mocks: { probe: { result: { load: 1 } } }\nexpect: { status: succeeded, steps: { ready: succeeded } }\n");
    passes(
        steps,
        "mocks: { probe: { result: { load: 7 } } }\nexpect:\n  status: failed\n  steps: { ready: { status: failed, error: { kind: assertion, message: busy } } }\n",
    );
}

#[test]
fn items_may_fail_up_to_the_limit() {
    let steps = "each: { for_each: params.list, fail_at: 1, action: demo.made }\n";
    let failed = "{ error: { kind: exit_code } }";
    passes(
        steps,
        &format!("mocks: {{ each: [{failed}, {{ result: ok }}] }}\nexpect: {{ status: succeeded, steps: {{ each: succeeded }} }}\n"),
    );
    passes(steps, &format!("mocks: {{ each: {failed} }}\nexpect: {{ status: failed, steps: {{ each: failed }} }}\n"));
}

#[test]
fn local_names_and_computed_durations_are_those_of_the_step() {
    passes(
        "go: { local: { all: params.list.size() }, action: demo.made, with: { name: '${{ string(local.all) }}' }, timeout: '${{ local.all * 60 }}' }\n",
        "mocks: { go: { result: ok } }\nexpect: { status: succeeded, steps: { go: { status: succeeded, with: { name: '2' } } } }\n",
    );
}

#[test]
fn step_starts_when_enough_of_the_others_succeeded() {
    let steps = "a: { action: demo.made }\nb: { action: demo.made, on_failure: continue }\nc: { sleep: 1h }\n\
        any: { needs: { any: 1, of: [a, b, c], cancel_rest: true }, action: demo.made, with: { name: '${{ steps.b.status }}' } }\n";
    passes(
        steps,
        "mocks: { a: { error: { kind: exit_code } }, b: { result: 1 }, any: { result: ok } }\nexpect: { status: failed, steps: { any: skipped } }\n",
    );
    passes(
        steps,
        "mocks: { a: { result: 1 }, b: { error: { kind: exit_code } }, any: { result: ok } }\nexpect:\n  status: succeeded\n  steps: { c: cancelled, any: { status: succeeded, with: { name: running } } }\n",
    );
}

#[test]
fn raw_mock_is_mapped_by_the_output_of_the_action() {
    let action = "parameters: { add: integer }\nresult: { n: integer }\noutput: { n: '${{ body.n + params.add }}' }\n\
        run: { http: { url: 'https://example.test/' } }\n";
    let case = |mock: &str, expect: &str| {
        format!("- it: goes\n  run: {{ action: demo.mapped, with: {{ add: 2 }} }}\n  mocks: {{ mapped: {mock} }}\n  expect: {expect}\n")
    };
    let cases = [
        case("{ raw: { status: 200, body: { n: 1 } } }", "{ status: succeeded, result: { n: 3 } }"),
        case("{ result: { n: 7 } }", "{ status: succeeded, result: { n: 7 } }"),
        case("{ raw: { status: 200, body: {} } }", "{ status: failed, error: { kind: output } }"),
        case("{ raw: { status: 200, body: { n: 0.5 } } }", "{ status: failed, error: { kind: output } }"),
    ];
    for (verdict, case) in run(&[("actions/mapped.yaml", action)], &cases.concat()).iter().zip(&cases) {
        assert_eq!(failures(verdict), "", "{case}");
    }
}

#[test]
fn event_of_an_older_version_is_upcast_for_rules() {
    let ordered = "payload: { sku: string }\nversion: 2\nupcasts: { 1: { sku: '${{ payload.item }}' } }\n";
    let pack =
        "trigger: demo.ordered\nwhen: event.payload.sku == 'tea'\naction: core.echo\nwith: { message: 'Pack ${{ event.payload.sku }}' }\n";
    let verdicts = run(
        &[("triggers/ordered.yaml", ordered), ("rules/pack.yaml", pack)],
        "- it: packs an order of version 1\n  given: { event: { trigger: demo.ordered@1, payload: { item: tea } } }\n  expect: [{ rule: demo.pack, with: { message: Pack tea } }]\n\
         - it: packs an order of the newest version\n  given: { event: { trigger: demo.ordered, payload: { sku: tea } } }\n  expect: [{ rule: demo.pack, with: { message: Pack tea } }]\n\
         - it: does not pack what nobody ordered\n  given: { event: { trigger: demo.ordered@1, payload: { item: milk } } }\n  expect: []\n",
    );
    assert!(verdicts.iter().all(|verdict| verdict.is_passed()), "{verdicts:?}");
}

#[test]
fn retry_of_a_rule_overrides_its_action_s() {
    let files = [
        ("actions/tried.yaml", "retry: { attempts: 5, delay: 1s }\nrun: { shell: { script: make } }\n"),
        ("rules/work.yaml", "trigger: demo.ping\naction: demo.tried\nretry: { attempts: 3, delay: 1h, max_delay: 24h }\n"),
    ];
    let given = "given: { event: { trigger: demo.ping, payload: { host: acme } } }";
    let failure = "{ error: { kind: network } }";
    let cases = format!(
        "- it: succeeds in the third attempt\n  {given}\n  mocks: {{ work: [{failure}, {failure}, {{ result: ok }}] }}\n\
         \x20 expect: [{{ rule: demo.work, status: succeeded }}]\n\
         - it: gives up after the third attempt\n  {given}\n  mocks: {{ work: [{failure}, {failure}, {failure}] }}\n\
         \x20 expect: [{{ rule: demo.work, status: failed, error: {{ kind: network }} }}]\n"
    );
    let failures: String = run(&files, &cases).iter().map(failures).collect();
    assert_eq!(failures, "");
}
