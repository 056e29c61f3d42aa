//! What `check` infers about types, as the author sees it: each kind of finding in a complete pack.

use crate::support::{checked, demo, shown_with};
use ensue_packs::{Code, Severity};

/// A trigger whose payload has fields of all kinds.
const CHANGE: &str = "payload:
  action: opened | labeled | closed
  title: string
  number: integer
  load: number
  draft: boolean
  tags: [string]
  repository: object
  label: object?
  note: string?
  limit: integer = 3
";

/// A trigger with a complete JSON Schema.
const ISSUE: &str = "payload:
  schema:
    type: object
    required: [issue, state]
    additionalProperties: false
    properties:
      state: { enum: [open, closed] }
      issue: { $ref: '#/$defs/issue' }
    $defs:
      issue:
        type: object
        required: [id, author, labels]
        properties:
          id: { type: integer }
          author: { type: object, required: [login], additionalProperties: false, properties: { login: { type: string } } }
          labels: { type: array, items: { type: object, required: [name], properties: { name: { type: string } } } }
          milestone: { type: object, properties: { title: { type: string } } }
";

fn with_triggers(changes: &[(&str, &str)]) -> String {
    shown_with(&[&[("triggers/change.yaml", CHANGE), ("triggers/issue.yaml", ISSUE)], changes].concat())
}

/// The findings of a rule's condition.
fn when(condition: &str) -> String {
    condition_of("demo.change", condition)
}

fn condition_of(trigger: &str, condition: &str) -> String {
    let indented = condition.replace('\n', "\n  ");
    with_triggers(&[("rules/greet.yaml", &format!("trigger: {trigger}\nwhen: |\n  {indented}\naction: core.echo\n"))])
}

/// The findings of one `with` of the action `demo.ship`.
fn shipped_with(with: &str) -> String {
    with_triggers(&[("rules/greet.yaml", &format!("trigger: demo.change\naction: demo.ship\nwith: {with}\n"))])
}

#[test]
fn what_fits_has_nothing_to_tell() {
    for condition in [
        "event.payload.action == \"opened\" && !event.payload.draft",
        "event.payload.action == \"labeled\" && event.payload.label.name == \"bug\"",
        "has(event.payload.note) && event.payload.note.contains(\"crash\")",
        "event.payload.?label.?name.orValue(\"\") in [\"bug\", \"crash\"]",
        "event.payload.repository.owner.login == config.owner",
        "event.payload.tags.exists(tag, tag.startsWith(\"v\")) || event.payload.load > 0.5",
        "timestamp(event.time).getDayOfWeek() == 1",
    ] {
        assert_eq!(when(condition), "", "{condition}");
    }
    assert_eq!(condition_of("demo.issue", "event.payload.issue.labels.exists(label, label.name == \"bug\")"), "");
    assert_eq!(condition_of("[demo.change, demo.issue]", "event.trigger == \"demo.issue\" && event.payload.state == \"open\""), "");
    assert_eq!(shipped_with("{ version: '${{ event.payload.title }}', count: '${{ event.payload.number }}' }"), "");
}

#[test]
fn a_field_that_no_schema_has_is_told_at_any_depth() {
    insta::assert_snapshot!(condition_of(
        "demo.issue",
        "event.payload.issue.author.logn == \"ada\"\n&& event.payload.issue.labels.all(label, label.nmae != \"bug\")"
    ));
}

#[test]
fn operations_take_only_what_they_take() {
    insta::assert_snapshot!(when(
        "size(event.payload.number) > 3\n|| event.payload.title - 1 == 2\n|| event.payload.number.startsWith(\"x\")\n|| event.payload.number * 0.5 > 3.0\n|| event.payload.title.length > 3"
    ));
}

#[test]
fn a_comparison_of_what_is_never_equal_is_told() {
    insta::assert_snapshot!(when(
        "event.payload.number == \"7\"\n|| event.payload.action == \"open\"\n|| event.payload.action in [\"merged\"]\n|| event.payload.title == 7"
    ));
}

#[test]
fn a_time_is_compared_with_a_time() {
    insta::assert_snapshot!(when("event.time < timestamp(\"2026-01-31T09:00:00Z\")"));
}

#[test]
fn a_condition_is_true_or_false() {
    insta::assert_snapshot!(when("event.payload.draft && event.payload.title"));
}

#[test]
fn a_condition_that_asks_nothing_is_a_warning() {
    insta::assert_snapshot!(when(
        "event.payload.title == null\n|| (event.payload.number == 1 && event.payload.number == 2)\n|| has(event.payload.title)"
    ));
}

#[test]
fn one_of_two_complements_is_always_true() {
    insta::assert_snapshot!(when("event.payload.action != \"opened\" || event.payload.action != \"closed\""));
}

#[test]
fn an_error_that_is_certain_is_told() {
    insta::assert_snapshot!(when("event.payload.number / 0 > 1 || timestamp(event.time) > timestamp(\"tomorrow\")"));
}

#[test]
fn a_field_that_may_be_missing_is_a_warning() {
    insta::assert_snapshot!(when("event.payload.label.name == \"bug\""));
}

#[test]
fn a_field_that_only_some_triggers_have_is_a_warning() {
    insta::assert_snapshot!(condition_of("[demo.change, demo.issue]", "event.payload.title == \"x\""));
}

#[test]
fn a_default_of_a_payload_stands_for_nothing_that_was_not_sent() {
    insta::assert_snapshot!(when("event.payload.limit > 3"));
}

#[test]
fn a_value_fits_what_takes_it() {
    insta::assert_snapshot!(shipped_with("{ version: '${{ event.payload.number }}', count: '${{ event.payload.title }}' }"));
}

#[test]
fn an_emitted_value_and_a_url_fit_too() {
    insta::assert_snapshot!(with_triggers(&[
        (
            "actions/tell.yaml",
            "parameters: { load: number }\nrun: { emit: { trigger: demo.ping, payload: { host: '${{ params.load }}' } } }\n"
        ),
        ("actions/get.yaml", "parameters: { load: number }\nrun: { http: { url: '${{ params.load }}' } }\n"),
    ]));
}

#[test]
fn a_dedupe_key_is_a_text_or_a_whole_number() {
    insta::assert_snapshot!(with_triggers(&[(
        "sensors/hook.yaml",
        "webhook: { verify: { scheme: github, key: demo.token } }\nemits:\n  - trigger: demo.ping\n    dedupe: headers.size() > 3\n    payload: { host: x }\n"
    )]));
}

#[test]
fn what_local_gives_is_known_where_it_is_read() {
    insta::assert_snapshot!(with_triggers(&[(
        "rules/greet.yaml",
        "trigger: demo.change\nlocal:\n  parts: event.payload.title.split(\"/\")\n  count: size(local.parts) + 1.5\nwhen: local.parts == \"x\"\naction: core.echo\n"
    )]));
}

#[test]
fn behind_a_condition_a_missing_field_is_the_condition_s_matter() {
    let rule = "trigger: demo.change\nwhen: event.payload.action == \"labeled\"\nlocal: { label: event.payload.label.name }\naction: demo.ship\nwith: { version: '${{ local.label }}', count: '${{ event.payload.limit }}' }\n";
    assert_eq!(with_triggers(&[("rules/greet.yaml", rule)]), "");
    insta::assert_snapshot!(shipped_with("{ version: '${{ event.payload.note }}' }"));
}

#[test]
fn a_parameter_that_may_be_left_out_is_asked_for() {
    insta::assert_snapshot!(with_triggers(&[(
        "actions/go.yaml",
        "parameters:\n  note: string?\nrun: { shell: { script: x, env: { NOTE: '${{ params.note }}' } } }\n"
    )]));
}

#[test]
fn a_warning_takes_no_pack_away() {
    let pack = demo(&[
        ("triggers/change.yaml", CHANGE),
        ("rules/a.yaml", "trigger: demo.change\nwhen: event.payload.label.name == 'x'\naction: core.echo\n"),
    ]);
    let checked = checked(&[pack], &[]);
    assert!(!checked.has_errors() && checked.good.iter().any(|pack| pack.name.as_str() == "demo"));
    let told: Vec<_> = checked.diagnostics.iter().map(|one| (one.severity, one.code)).collect();
    assert_eq!(told, [(Severity::Warning, Code::MayBeMissing)]);
}
