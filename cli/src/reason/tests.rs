//! Tests of the explanations that people read: one case for each form of a reason.

use bytes::Bytes;
use ensue_expression::{Budget, Document, Expression, Roots, Scope};
use serde_json::{Value, json};

use super::{of_rule, of_rules};
use crate::style::{Style, visible};

const EVENT: &str = r#"{
    "event": { "payload": {
        "ref": "refs/heads/main", "action": "opened", "number": 7, "draft": false, "assignee": null,
        "labels": [{ "name": "bug" }, { "name": "urgent" }],
        "repository": { "owner": { "login": "acme" }, "private": true }
    } },
    "config": { "owner": "acme", "force": false }
}"#;

/// Returns the API's answer for a rule with this condition and an event.
fn explain(when: &str) -> Value {
    let document = Document::parse(Bytes::from_static(EVENT.as_bytes())).unwrap();
    let expression = Expression::compile(when, &Roots::new(["event", "config"])).unwrap();
    let mut scope = Scope::new();
    for name in ["event", "config"] {
        scope.set(name, document.root().get(name).unwrap());
    }
    let mut told = expression.explain(&scope, &mut Budget::default()).to_json();
    let root = told["explanation"].clone();
    told["when"] = json!(when);
    told["verdict"] = json!(match root["outcome"].as_str() {
        Some("true") => "matched",
        Some("false") => "not_matched",
        _ => "erred",
    });
    if !root["error"].is_null() {
        let error = &root["error"];
        told["erred"] = json!({ "in": "when", "source": when, "message": error["message"], "hint": error["hint"], "span": error["span"] });
    }
    told
}

fn reason(when: &str) -> String {
    of_rule(&explain(when), Style::PLAIN)
}

/// Returns the reason of a match, with its consequences.
fn of_match(more: &Value) -> String {
    let mut told = explain("event.payload.number == 7");
    let (Some(fields), Some(more)) = (told.as_object_mut(), more.as_object()) else { unreachable!("both are objects") };
    fields.extend(more.clone());
    of_rule(&told, Style::PLAIN)
}

#[test]
fn color_marks_the_decisive_parts() {
    let conditions = ["event.payload.number == 7", r#"event.payload.action == "closed""#, r#"event.payload.assignee.login == "ada""#];
    let reasons = conditions.map(|when| of_rule(&explain(when), Style::COLOURED));
    insta::assert_snapshot!(visible(&reasons.join("\n\n")));
}

#[test]
fn control_characters_of_rules_and_senders_are_replaced() {
    let mut told = explain("event.payload.number == 7");
    told["decisive"][0]["note"] = json!("\u{1b}[2J\u{9b}31m");
    told["plan"] = json!({ "action": "core.echo", "params": { "\u{7f}": "\u{1b}" } });
    let shown =
        of_rule(&told, Style::PLAIN) + &of_rules(&[json!({ "rule": "a\u{1b}.b", "verdict": "erred", "why": ["\u{7}"] })], Style::PLAIN);
    assert!(!shown.contains(|character: char| character.is_control() && character != '\n'), "{shown:?}");
}

#[test]
fn reason_lists_the_decisive_part_and_the_satisfied_ones() {
    insta::assert_snapshot!(reason(
        "event.payload.ref.startsWith(\"refs/tags/v\")\n  && event.payload.repository.owner.login == config.owner\n"
    ));
}

#[test]
fn flip_may_need_several_parts_together() {
    let both = reason("event.payload.action == 'closed' && event.payload.draft && event.payload.number == 7");
    let three = reason("event.payload.action == 'closed' && event.payload.draft && config.force");
    insta::assert_snapshot!(format!("{both}\n\n{three}"));
}

#[test]
fn reason_lists_alternatives_of_which_one_suffices() {
    insta::assert_snapshot!(reason("event.payload.action == 'closed' || event.payload.draft || event.payload.number > 100"));
}

#[test]
fn several_alternative_flips_are_listed() {
    let one = reason("(event.payload.action == 'closed' || event.payload.draft) && event.payload.number == 8");
    let other = reason("config.force || (event.payload.draft && event.payload.number == 8)");
    insta::assert_snapshot!(format!("{one}\n\n{other}"));
}

#[test]
fn flip_may_need_parts_in_both_directions() {
    insta::assert_snapshot!(reason("event.payload.draft && !event.payload.repository.private"));
}

#[test]
fn flip_of_a_negated_part_is_false() {
    insta::assert_snapshot!(reason("!event.payload.repository.private && !event.payload.draft"));
}

#[test]
fn match_reason_says_what_would_prevent_it() {
    let all = reason("event.payload.number == 7 && event.payload.repository.owner.login == config.owner");
    let one = reason("event.payload.number == 7 || event.payload.draft");
    let macros = reason("event.payload.labels.exists(l, l.name == 'urgent')");
    insta::assert_snapshot!(format!("{all}\n\n{one}\n\n{macros}"));
}

#[test]
fn error_is_shown_at_its_place_with_a_hint() {
    let alone = reason("event.payload.number == 7\n  && event.payload.assignee.login == \"ada\"");
    insta::assert_snapshot!(alone);
}

#[test]
fn condition_that_is_not_boolean_is_reported_with_its_value() {
    let mut told = explain("event.payload.action");
    told["erred"] = json!({ "in": "when", "source": "event.payload.action", "hint": null, "span": null,
        "message": "expected true or false, not a string (hint: compare it, for example with `==`)" });
    insta::assert_snapshot!(of_rule(&told, Style::PLAIN));
}

#[test]
fn failed_local_value_is_named() {
    let told = json!({
        "verdict": "erred", "when": "local.version == 'v1'", "explanation": null, "flips": [],
        "decisive": [{ "source": "local.version == 'v1'", "span": { "start": 0, "end": 21 }, "outcome": "error",
            "value": "`local` has no field `version`", "note": null }],
        "erred": { "in": "local.version", "source": "event.payload.tag.name", "message": "`event.payload` has no field `tag`",
            "hint": "write `event.payload.?tag.?name.orValue(\"\")`", "span": { "start": 13, "end": 17 } },
    });
    insta::assert_snapshot!(of_rule(&told, Style::PLAIN));
}

#[test]
fn rule_without_a_condition_is_described_as_such() {
    let told = json!({ "verdict": "matched", "when": null, "trigger": "github.push", "definitions": "then", "event": "e",
        "plan": { "action": "core.echo", "params": { "message": "hi" }, "rejected": null }, "outcome": "executed", "execution": "019c" });
    insta::assert_snapshot!(of_rule(&told, Style::PLAIN));
}

#[test]
fn rule_is_said_to_read_a_newer_form_than_the_one_that_came() {
    let told = json!({ "verdict": "matched", "when": null, "trigger": "shop.ordered", "version": 1, "upcast_to": 3 });
    let newest = json!({ "verdict": "matched", "when": null, "trigger": "shop.ordered", "version": 3, "upcast_to": null });
    let line = "\n  its payload came in version 1 of `shop.ordered`; the rule reads it in version 3";
    assert_eq!(of_rule(&told, Style::PLAIN), of_rule(&newest, Style::PLAIN) + line);
}

#[test]
fn outcome_of_a_match_is_shown() {
    let plan = json!({ "action": "core.echo", "params": { "message": "hi" }, "rejected": null });
    let rejected =
        json!({ "action": "core.echo", "params": null, "rejected": "the parameters do not fit `core.echo`: /message: is missing" });
    let cases = [
        ("executed", json!({ "definitions": "then", "event": "e", "plan": plan, "outcome": "executed", "execution": "019c" })),
        ("shadowed", json!({ "definitions": "then", "event": "e", "plan": plan, "outcome": "shadowed" })),
        (
            "rejected",
            json!({ "definitions": "then", "event": "e", "plan": rejected, "outcome": "rejected",
            "error": "the parameters do not fit `core.echo`: /message: is missing" }),
        ),
        ("disabled then", json!({ "definitions": "then", "event": "e", "plan": plan, "outcome": null })),
        ("now", json!({ "definitions": "now", "event": "e", "plan": plan, "outcome": "executed", "mode": "enabled" })),
        ("never sent", json!({ "definitions": "now", "event": null, "plan": plan, "mode": "enabled" })),
        ("never sent, rejected", json!({ "definitions": "now", "event": null, "plan": rejected, "mode": "enabled" })),
        ("never sent, disabled", json!({ "definitions": "now", "event": null, "plan": plan, "mode": "disabled" })),
        ("never sent, shadow", json!({ "definitions": "now", "event": null, "plan": plan, "mode": "shadow" })),
    ];
    let told: Vec<String> = cases.iter().map(|(case, more)| format!("{case}\n{}", of_match(more))).collect();
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn many_rules_are_listed_on_one_line_each() {
    let item = |rule: &str, told: Value, outcome: Value, why: &[&str]| json!({ "rule": rule, "verdict": told["verdict"], "outcome": outcome, "error": null, "why": why });
    let not = explain("event.payload.action == 'closed'");
    let items = [
        item("release.ship_on_tag", explain("event.payload.number == 7"), json!("executed"), &["…"]),
        item(
            "release.note",
            not.clone(),
            json!(null),
            &["event.payload.action == 'closed'  → false   (event.payload.action = \"opened\")"],
        ),
        item("release.either", not.clone(), json!(null), &["event.payload.draft  → false", "config.force  → false"]),
        item(
            "release.broken",
            explain("event.payload.nope"),
            json!(null),
            &["event.payload.number == 7  → true", "event.payload.nope  → error: `event.payload` has no field `nope`"],
        ),
        item("release.unknown", not, json!(null), &[]),
    ];
    insta::assert_snapshot!(format!("{}\n\n{}", of_rules(&items, Style::PLAIN), of_rules(&[], Style::PLAIN)));
}

#[test]
fn control_characters_of_payloads_are_replaced() {
    let mut told = explain("event.payload.draft");
    told["decisive"][0]["note"] = json!("x = \u{1b}[2J");
    assert!(!of_rule(&told, Style::PLAIN).contains('\u{1b}'));
}
