//! Assertions, tolerated failures, local names and computed durations of steps: valid ones, and the findings of
//! each misuse.

use crate::support::shown_with;

/// The findings of an action with these steps.
fn steps(text: &str) -> String {
    let steps: String = text.lines().map(|line| format!("      {line}\n")).collect();
    let head = "parameters: { hosts: [string], limit: string, load: integer }\nlocal: { first: 'params.hosts[0]' }\n";
    shown_with(&[
        ("pack.yaml", "name: demo\nversion: 1.0.0\nconfig: { within: 'string = \"1h\"', most: 'integer = 60', on: 'boolean = true' }\n"),
        ("actions/flow.yaml", &format!("{head}run:\n  workflow:\n    steps:\n{steps}")),
        ("rules/greet.yaml", "trigger: demo.ping\naction: core.echo\n"),
    ])
}

fn list_findings(mistakes: &[(&str, &str)]) -> String {
    mistakes.iter().map(|(what, text)| format!("── {what}\n{}\n", steps(text))).collect()
}

#[test]
fn valid_steps_are_accepted() {
    let text = r#"ready: { assert: "params.load < 3 && local.first != ''", message: "${{ local.first }} is busy" }
each:
  needs: ready
  local: { usable: "params.hosts.filter(host, host != local.first)", last: local.usable.size() }
  if: local.last > 0
  for_each: local.usable
  fail_at: 10%
  action: core.echo
  with: { message: "${{ item + string(local.last) }}" }
  timeout: ${{ config.within }}
  undo: { action: core.echo, with: { message: "${{ local.last }}" }, timeout: "${{ config.most }}" }
some: { for_each: params.hosts, fail_at: 3, action: core.noop }
ask:
  needs: [each]
  inquiry:
    title: Go on?
    answer: { go: boolean }
    assignees: role:leads
    expires: ${{ config.within }}
    notify: { action: core.echo }
    remind: { every: "${{ config.most }}" }
    escalate: [{ after: "${{ config.most * 2 }}", to: role:bosses }]
come: { wait: { trigger: demo.ping, since: step, expires: "${{ params.limit }}" } }
again: { repeat: { max: 3, every: "${{ iteration * 10 }}" }, action: core.noop }
explain:
  needs: [ready]
  if: failed()
  action: core.echo
  with: { message: "${{ steps.ready.error.?explained }}" }"#;
    assert_eq!(steps(text), "");
}

#[test]
fn steps_of_which_some_are_enough_are_accepted() {
    let text = r#"a: { action: core.noop }
b: { wait: { trigger: demo.ping }, on_failure: continue }
c: { for_each: params.hosts, action: core.echo }
both:
  needs: { any: 2, of: [a, b, c], cancel_rest: true }
  action: core.echo
  with: { message: "${{ [steps.a.status, steps.b.?event.?id.orValue('none'), string(steps.c.?items.orValue([]).size())] }}" }
after: { needs: both, action: core.echo, with: { message: "${{ steps.both.status }}" } }"#;
    assert_eq!(steps(text), "");
}

#[test]
fn misuse_of_steps_of_which_some_are_enough_is_reported() {
    let three = "a: { action: core.noop }\nb: { wait: { trigger: demo.ping } }\n";
    let told: String = [
        ("more than there are", "c: { needs: { any: 3, of: [a, b] }, action: core.noop }"),
        ("none", "c: { needs: { any: 0, of: [a, b] }, action: core.noop }"),
        ("without a number", "c: { needs: { of: [a, b] }, action: core.noop }"),
        ("without steps", "c: { needs: { any: 1 }, action: core.noop }"),
        ("a step twice", "c: { needs: { any: 1, of: [a, a] }, action: core.noop }"),
        ("an unknown step", "c: { needs: { any: 1, of: [a, bb] }, action: core.noop }"),
        ("an unknown field", "c: { needs: { any: 1, of: [a, b], cancel: true }, action: core.noop }"),
        (
            "a result without a guard",
            "c: { needs: { any: 1, of: [a, b] }, action: core.echo, with: { message: '${{ steps.b.event.id }}' } }",
        ),
        (
            "one of them, read by a later step",
            "c: { needs: { any: 1, of: [a, b] }, action: core.noop }\nd: { needs: c, action: core.echo, with: { message: '${{ steps.a.status }}' } }",
        ),
    ]
    .iter()
    .map(|(what, text)| format!("── {what}\n{}\n", steps(&format!("{three}{text}"))))
    .collect();
    insta::assert_snapshot!(told);
}

#[test]
fn step_of_which_some_are_enough_reads_what_all_ways_to_it_need() {
    let text = r#"init: { action: core.noop }
a: { needs: init, action: core.noop }
b: { needs: init, action: core.noop }
c: { action: core.noop }
one: { needs: { any: 1, of: [a, b] }, action: core.echo, with: { message: "${{ steps.init.status }}" } }
two: { needs: { any: 2, of: [a, b, c] }, action: core.echo, with: { message: "${{ steps.init.status }}" } }
after: { needs: one, if: always(), action: core.echo, with: { message: "${{ steps.init.status }}" } }"#;
    assert_eq!(steps(text), "");
}

#[test]
fn read_of_a_step_that_not_every_way_needs_is_reported_with_what_to_write() {
    let four = "init: { action: core.noop }\na: { needs: init, action: core.noop }\nb: { action: core.noop }\nc: { needs: init, action: core.noop }\n";
    let reading = |name: &str, needs: &str, read: &str| {
        format!("{name}: {{ needs: {needs}, action: core.echo, with: {{ message: '${{{{ steps.{read}.status }}}}' }} }}\n")
    };
    let told: String = [
        ("before one of two", reading("end", "{ any: 1, of: [a, b] }", "init")),
        ("before neither", reading("end", "{ any: 1, of: [a, c] }", "b")),
        ("after one of them", format!("d: {{ needs: a, action: core.noop }}\n{}", reading("end", "{ any: 1, of: [a, b] }", "d"))),
        (
            "not known once it was skipped",
            format!("mid: {{ needs: {{ any: 3, of: [a, b, c] }}, action: core.noop }}\n{}", reading("end", "mid, if: always()", "init")),
        ),
    ]
    .iter()
    .map(|(what, text)| format!("── {what}\n{}\n", steps(&format!("{four}{text}"))))
    .collect();
    insta::assert_snapshot!(told);
}

#[test]
fn misuse_of_assertions_is_reported() {
    insta::assert_snapshot!(list_findings(&[
        ("not a condition", "ready: { assert: params.load }"),
        ("a message that is not a text", "ready: { assert: params.load > 1, message: [a] }"),
        ("a message without an assertion", "ready: { action: core.noop, message: busy }"),
        ("two tasks", "ready: { assert: params.load > 1, fail: no }"),
        ("parameters of an assertion", "ready: { assert: params.load > 1, with: { a: 1 } }"),
        ("a step that is not needed", "other: { action: core.noop }\nready: { assert: steps.other.status == 'succeeded' }"),
        ("items of an assertion", "ready: { for_each: params.hosts, assert: item == 'a' }"),
        ("always false", "ready: { assert: 'false' }"),
    ]));
}

#[test]
fn misuse_of_tolerated_failures_is_reported() {
    insta::assert_snapshot!(list_findings(&[
        ("none", "each: { for_each: params.hosts, fail_at: 0, action: core.noop }"),
        ("too many percent", "each: { for_each: params.hosts, fail_at: 101%, action: core.noop }"),
        ("no number", "each: { for_each: params.hosts, fail_at: few, action: core.noop }"),
        ("with fail_fast", "each: { for_each: params.hosts, fail_at: 3, fail_fast: true, action: core.noop }"),
        ("without items", "each: { fail_at: 3, action: core.noop }"),
    ]));
}

#[test]
fn misuse_of_local_names_is_reported() {
    insta::assert_snapshot!(list_findings(&[
        ("a name of the action", "one: { local: { first: '1' }, action: core.noop }"),
        ("not a name", "one: { local: { First: '1' }, action: core.noop }"),
        ("an item", "one: { local: { own: item }, for_each: params.hosts, action: core.noop }"),
        ("a later name", "one: { local: { a: local.b, b: '1' }, action: core.noop }"),
        ("a name of another step", "one: { local: { a: '1' }, action: core.noop }\ntwo: { if: local.a == 1, action: core.noop }"),
        ("a step that is not needed", "one: { action: core.noop }\ntwo: { local: { a: steps.one.status }, action: core.noop }"),
        ("in the condition of a wait", "one: { local: { a: '1' }, wait: { trigger: demo.ping, when: event.payload.load == local.a } }"),
    ]));
}

#[test]
fn field_takes_the_durations_that_an_expression_computes() {
    for duration in ["90s", "1m30s", "1.5h", "2d", "PT1H30M", "P1DT12H"] {
        for expires in [duration.to_owned(), format!("'${{{{ \"{duration}\" }}}}'"), format!("'${{{{ duration(\"{duration}\") }}}}'")] {
            assert_eq!(steps(&format!("come: {{ wait: {{ trigger: demo.ping, expires: {expires} }} }}")), "", "{expires}");
        }
    }
    for wrong in ["1w", "P1M", "-1m", "PT"] {
        let told = steps(&format!("come: {{ wait: {{ trigger: demo.ping, expires: {wrong} }} }}"));
        assert!(told.contains("error[invalid_duration]") && told.contains("`1h30m`"), "{wrong}: {told}");
    }
}

#[test]
fn misuse_of_computed_durations_is_reported() {
    insta::assert_snapshot!(list_findings(&[
        ("a boolean", "one: { action: core.noop, timeout: '${{ config.on }}' }"),
        ("an unknown setting", "one: { action: core.noop, timeout: '${{ config.withn }}' }"),
        ("a boolean as expiry", "one: { wait: { trigger: demo.ping, expires: '${{ config.on }}' } }"),
        ("a list between turns", "one: { repeat: { max: 2, every: '${{ params.hosts }}' }, action: core.noop }"),
        (
            "a list of an inquiry",
            "one: { inquiry: { title: Go?, answer: { go: boolean }, assignees: ana, expires: '${{ params.hosts }}' } }",
        ),
        ("a duration in weeks", "one: { action: core.noop, timeout: 1w }"),
    ]));
}

#[test]
fn steps_that_events_cancel_are_accepted() {
    let text = r#"a: { action: core.echo, with: { message: hi } }
ask:
  needs: a
  inquiry: { title: Ship it, answer: { ship: boolean }, assignees: ana }
  cancel_when: { trigger: demo.ping, since: step, when: "event.payload.host == steps.a.result.message" }
come: { wait: { trigger: demo.ping, expires: 1h }, cancel_when: { trigger: demo.ping } }
nap: { sleep: 10m, cancel_when: { trigger: demo.ping, when: event.payload.host == local.first } }
then:
  needs: [ask, come, nap]
  if: always()
  action: core.echo
  with: { message: "${{ steps.ask.event == null ? steps.nap.status : steps.nap.?event.?payload.?host.orValue('') }}" }"#;
    assert_eq!(steps(text), "");
}

#[test]
fn misuse_of_events_that_cancel_is_reported() {
    insta::assert_snapshot!(list_findings(&[
        ("a step that does not wait", "a: { action: core.noop, cancel_when: { trigger: demo.ping } }"),
        ("a failure", "a: { fail: never, cancel_when: { trigger: demo.ping } }"),
        ("no trigger", "a: { sleep: 1m, cancel_when: { when: 'true' } }"),
        ("an unknown trigger", "a: { sleep: 1m, cancel_when: { trigger: demo.pong } }"),
        ("not a condition", "a: { sleep: 1m, cancel_when: { trigger: demo.ping, when: event.payload.host } }"),
        ("an unknown field", "a: { sleep: 1m, cancel_when: { trigger: demo.ping, expires: 1h } }"),
        (
            "a condition that reads steps too early",
            "a: { action: core.noop }\nb: { needs: a, sleep: 1m, cancel_when: { trigger: demo.ping, when: steps.a.status == 'failed' } }",
        ),
        ("not a mapping", "a: { sleep: 1m, cancel_when: demo.ping }"),
        (
            "an event of a step that none cancels",
            "a: { sleep: 1m }\nb: { needs: a, action: core.echo, with: { message: '${{ steps.a.event.id }}' } }",
        ),
        (
            "an event of a step that succeeded",
            "a: { sleep: 1m, cancel_when: { trigger: demo.ping } }\nb: { needs: a, action: core.echo, with: { message: '${{ steps.a.event.id }}' } }",
        ),
    ]));
}
