//! What `check` infers about types, as the author sees it: each kind of finding in a complete pack.

use crate::support::{check_packs, demo, shown_with};
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
fn well_typed_definitions_have_no_findings() {
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
fn unknown_field_is_reported_at_any_depth() {
    insta::assert_snapshot!(condition_of(
        "demo.issue",
        "event.payload.issue.author.logn == \"ada\"\n&& event.payload.issue.labels.all(label, label.nmae != \"bug\")"
    ));
}

#[test]
fn wrong_operand_types_are_reported() {
    insta::assert_snapshot!(when(
        "size(event.payload.number) > 3\n|| event.payload.title - 1 == 2\n|| event.payload.number.startsWith(\"x\")\n|| event.payload.number * 0.5 > 3.0\n|| event.payload.title.length > 3"
    ));
}

#[test]
fn comparison_of_never_equal_values_is_reported() {
    insta::assert_snapshot!(when(
        "event.payload.number == \"7\"\n|| event.payload.action == \"open\"\n|| event.payload.action in [\"merged\"]\n|| event.payload.title == 7"
    ));
}

#[test]
fn time_must_be_compared_with_a_time() {
    insta::assert_snapshot!(when("event.time < timestamp(\"2026-01-31T09:00:00Z\")"));
}

#[test]
fn condition_must_be_boolean() {
    insta::assert_snapshot!(when("event.payload.draft && event.payload.title"));
}

#[test]
fn constant_condition_is_a_warning() {
    insta::assert_snapshot!(when(
        "event.payload.title == null\n|| (event.payload.number == 1 && event.payload.number == 2)\n|| has(event.payload.title)"
    ));
}

#[test]
fn disjunction_of_two_inequalities_is_always_true() {
    insta::assert_snapshot!(when("event.payload.action != \"opened\" || event.payload.action != \"closed\""));
}

#[test]
fn certain_error_is_reported() {
    insta::assert_snapshot!(when("event.payload.number / 0 > 1 || timestamp(event.time) > timestamp(\"tomorrow\")"));
}

#[test]
fn possibly_missing_field_is_a_warning() {
    insta::assert_snapshot!(when("event.payload.label.name == \"bug\""));
}

#[test]
fn field_of_only_some_triggers_is_a_warning() {
    insta::assert_snapshot!(condition_of("[demo.change, demo.issue]", "event.payload.title == \"x\""));
}

#[test]
fn payload_default_does_not_replace_an_absent_field() {
    insta::assert_snapshot!(when("event.payload.limit > 3"));
}

#[test]
fn value_must_fit_its_parameter() {
    insta::assert_snapshot!(shipped_with("{ version: '${{ event.payload.number }}', count: '${{ event.payload.title }}' }"));
}

#[test]
fn emitted_values_and_urls_are_type_checked_too() {
    insta::assert_snapshot!(with_triggers(&[
        (
            "actions/tell.yaml",
            "parameters: { load: number }\nrun: { emit: { trigger: demo.ping, payload: { host: '${{ params.load }}' } } }\n"
        ),
        ("actions/get.yaml", "parameters: { load: number }\nrun: { http: { url: '${{ params.load }}' } }\n"),
    ]));
}

#[test]
fn dedupe_key_must_be_text_or_an_integer() {
    insta::assert_snapshot!(with_triggers(&[(
        "sensors/hook.yaml",
        "webhook: { verify: { scheme: github, key: demo.token } }\nemits:\n  - trigger: demo.ping\n    dedupe: headers.size() > 3\n    payload: { host: x }\n"
    )]));
}

#[test]
fn type_of_a_local_value_is_inferred() {
    insta::assert_snapshot!(with_triggers(&[(
        "rules/greet.yaml",
        "trigger: demo.change\nlocal:\n  parts: event.payload.title.split(\"/\")\n  count: size(local.parts) + 1.5\nwhen: local.parts == \"x\"\naction: core.echo\n"
    )]));
}

#[test]
fn field_tested_by_the_condition_is_not_reported_as_missing() {
    let rule = "trigger: demo.change\nwhen: event.payload.action == \"labeled\"\nlocal: { label: event.payload.label.name }\naction: demo.ship\nwith: { version: '${{ local.label }}', count: '${{ event.payload.limit }}' }\n";
    assert_eq!(with_triggers(&[("rules/greet.yaml", rule)]), "");
    insta::assert_snapshot!(shipped_with("{ version: '${{ event.payload.note }}' }"));
}

#[test]
fn optional_parameter_must_be_tested() {
    insta::assert_snapshot!(with_triggers(&[(
        "actions/go.yaml",
        "parameters:\n  note: string?\nrun: { shell: { script: x, env: { NOTE: '${{ params.note }}' } } }\n"
    )]));
}

#[test]
fn warning_does_not_invalidate_a_pack() {
    let pack = demo(&[
        ("triggers/change.yaml", CHANGE),
        ("rules/a.yaml", "trigger: demo.change\nwhen: event.payload.label.name == 'x'\naction: core.echo\n"),
    ]);
    let checked = check_packs(&[pack], &[]);
    assert!(!checked.has_errors() && checked.good.iter().any(|pack| pack.name.as_str() == "demo"));
    let reported: Vec<_> = checked.diagnostics.iter().map(|one| (one.severity, one.code)).collect();
    assert_eq!(reported, [(Severity::Warning, Code::MayBeMissing)]);
}
