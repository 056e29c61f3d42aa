//! Versions of triggers: an event keeps its payload as it came, and everything that judges it sees the newest form.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::{Action, Does, Fields, OnExpire, Period, Run, Schema, Since, Type, Wait, Workflow, WorkflowInput};
use ensue_engine::command::{Answer, Refusal};
use ensue_engine::events::facts::EventReceived;
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, Id};
use ensue_engine::record::CatalogRevision;
use ensue_engine::rules::facts::Outcome as Enforced;
use ensue_engine::rules::judge::{EventView, Verdict, judge_stored};
use ensue_expression::Document;
use ensue_test_support::NOON;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::definitions::{fields, flow, template};
use crate::support::site::receive_events;
use crate::support::workflow::{awaits, does, expression, steps_of, summarize};
use crate::support::{Pieces, Site, workers};

const ORDERED: &str = "shop.ordered";

/// Payloads of version 1: `{item}`; the rule is of that time.
fn first() -> Pieces {
    Pieces::default().trigger(ORDERED).action("demo.say").awaiting("core.wait").rule_with(
        "demo.pack",
        ORDERED,
        "event.payload.item == 'tea'",
        "demo.say",
        |rule| rule.with = template(&json!({ "order": "${{ event.payload }}" })),
    )
}

/// Payloads of version 2: `{sku, qty}`; the rule is of that time.
fn second() -> Pieces {
    let payload = fields([("sku", Type::String { pattern: None }), ("qty", Type::Integer)]);
    Pieces::default()
        .trigger_taking(ORDERED, payload)
        .next_version(ORDERED, &json!({ "sku": "${{ payload.item }}", "qty": 1 }))
        .action("demo.say")
        .awaiting("core.wait")
        .rule_with("demo.pack", ORDERED, "event.payload.sku == 'tea' && event.payload.qty == 1", "demo.say", |rule| {
            rule.with = template(&json!({ "order": "${{ event.payload }}" }))
        })
}

fn site(pieces: &Pieces) -> Site {
    let mut site = Site::with(pieces);
    site.set(workers(100));
    site
}

fn event(outcome: &Outcome) -> (EventReceived, Value) {
    let record = outcome.records().iter().find(|record| record.kind() == "event.received").expect("an event was received");
    let Fact::EventReceived(fact) = &record.fact else { panic!("it is an event") };
    (fact.clone(), serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap())
}

fn requested_params(outcome: &Outcome) -> Vec<Value> {
    let asked = outcome.records().iter().filter(|record| record.kind() == "execution.requested");
    asked.map(|record| serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()).collect()
}

fn refusal(outcome: &Outcome) -> Refusal {
    outcome.result().clone().expect_err("the event is refused")
}

#[test]
fn event_of_an_old_version_is_upcast_for_rules_and_stored_as_it_came() {
    let mut site = site(&second());
    let outcome = site.receive("shop.ordered@1", &json!({ "item": "tea" }));
    let (fact, stored) = event(&outcome);
    assert_eq!((fact.version.number(), stored, fact.matched), (1, json!({ "item": "tea" }), 1));
    assert_eq!(requested_params(&outcome), [json!({ "order": { "sku": "tea", "qty": 1 } })]);
}

#[test]
fn event_without_a_version_is_of_the_newest() {
    let mut site = site(&second());
    let outcome = site.receive(ORDERED, &json!({ "sku": "tea", "qty": 1 }));
    let (fact, stored) = event(&outcome);
    assert_eq!((fact.version.number(), stored), (2, json!({ "sku": "tea", "qty": 1 })));
    assert_eq!(requested_params(&outcome), [json!({ "order": { "sku": "tea", "qty": 1 } })]);
}

#[test]
fn upcasts_are_applied_one_after_the_other() {
    let third = Pieces::default()
        .trigger(ORDERED)
        .next_version(ORDERED, &json!("${{ {\"b\": payload.a + 1} }}"))
        .next_version(ORDERED, &json!("${{ {\"c\": payload.b * 10} }}"))
        .action("demo.say")
        .rule_with("demo.pack", ORDERED, "true", "demo.say", |rule| rule.with = template(&json!({ "c": "${{ event.payload.c }}" })));
    let mut site = site(&third);
    for (trigger, payload) in [("shop.ordered@1", json!({ "a": 1 })), ("shop.ordered@2", json!({ "b": 2 })), (ORDERED, json!({ "c": 20 }))]
    {
        assert_eq!(requested_params(&site.receive(trigger, &payload)), [json!({ "c": 20 })], "{trigger}");
    }
}

#[test]
fn event_that_was_judged_by_an_older_catalog_is_checked_and_upcast_by_the_newest() {
    let mut site = site(&first());
    let seen = site.event(ORDERED, &json!({ "item": "tea" }));
    let unfit = site.event(ORDERED, &json!({ "item": 7 }));
    let wrong = site.event(ORDERED, &json!({ "other": "tea" }));
    site.install(&second());
    let outcome = site.when(receive_events(vec![seen]));
    assert_eq!(requested_params(&outcome), [json!({ "order": { "sku": "tea", "qty": 1 } })]);
    let refused = refusal(&site.when(receive_events(vec![unfit])));
    assert!(matches!(&refused, Refusal::PayloadMisfit { .. }), "{refused}");
    let refused = refusal(&site.when(receive_events(vec![wrong])));
    assert!(matches!(&refused, Refusal::NoNewest(_)), "{refused}");
    assert!(refused.to_string().contains("`upcasts` of version 1 fails"), "{refused}");
}

#[test]
fn event_of_a_version_that_the_newest_catalog_does_not_know_is_refused() {
    let mut site = site(&second());
    let event = site.event(ORDERED, &json!({ "sku": "tea", "qty": 1 }));
    site.install(&first());
    let refused = refusal(&site.when(receive_events(vec![event])));
    assert_eq!(refused.to_string(), "the trigger `shop.ordered` has no version 2; it has only version 1");
}

#[test]
fn rule_that_reads_vars_judges_the_newest_form() {
    let mut site = site(&second().changed_rule("demo.pack", |rule| {
        rule.when = Some(expression("event.payload.sku == 'tea' && vars[?'open'].orValue(true)"));
    }));
    let outcome = site.receive("shop.ordered@1", &json!({ "item": "tea" }));
    assert_eq!(requested_params(&outcome), [json!({ "order": { "sku": "tea", "qty": 1 } })]);
}

/// The rule acts on two events of any payload at once.
fn with_window(pieces: Pieces) -> Pieces {
    pieces.changed_rule("demo.pack", |rule| {
        rule.when = Some(expression("true"));
        rule.with = template(&json!({ "all": "${{ events }}" }));
        rule.flow = flow([(Does::Window { count: 2, within_millis: 60_000 }, "'one'")]);
    })
}

#[test]
fn window_acts_on_events_of_both_versions_in_the_newest_form() {
    let mut site = site(&with_window(first()));
    let held = site.receive(ORDERED, &json!({ "item": "tea" }));
    let is_held = |fact: &Fact| matches!(fact, Fact::EnforcementMade(made) if matches!(made.outcome, Enforced::Held { .. }));
    assert!(held.facts().any(is_held));
    site.install(&with_window(second()));
    let outcome = site.receive(ORDERED, &json!({ "sku": "milk", "qty": 3 }));
    let all = requested_params(&outcome);
    let payloads: Vec<&Value> = all[0]["all"].as_array().unwrap().iter().map(|event| &event["payload"]).collect();
    assert_eq!(payloads, [&json!({ "sku": "tea", "qty": 1 }), &json!({ "sku": "milk", "qty": 3 })]);
}

#[test]
fn window_is_rejected_with_the_reason_if_an_upcast_fails_on_a_held_event() {
    let mut site = site(&with_window(first()));
    site.receive(ORDERED, &json!({ "other": "tea" }));
    site.install(&with_window(second()));
    let outcome = site.receive(ORDERED, &json!({ "sku": "milk", "qty": 3 }));
    let told: Vec<String> = outcome.facts().map(|fact| format!("{fact:?}")).collect();
    assert!(told.iter().any(|fact| fact.contains("Rejected") && fact.contains("`upcasts` of version 1 fails")), "{told:#?}");
    assert_eq!(requested_params(&outcome), [] as [Value; 0]);
}

#[test]
fn each_rule_errs_on_a_stored_event_that_an_upcast_fails_on() {
    let catalog = second().build(CatalogRevision(2));
    let judged = |payload: &Value| {
        let (trigger, payload) = (ORDERED.parse().unwrap(), Document::from_value(payload));
        let id = EventId(Id::root(NOON, 1));
        let view = EventView { id, trigger: &trigger, source: "api", time: NOON, payload: &payload, only: None };
        judge_stored(&catalog, &view, TriggerVersion::FIRST).verdicts.iter().map(|one| one.verdict.clone()).collect::<Vec<_>>()
    };
    assert!(matches!(judged(&json!({ "item": "tea" }))[..], [Verdict::Matched(_)]));
    let erred = judged(&json!({ "other": "tea" }));
    assert!(matches!(&erred[..], [Verdict::Erred { message }] if message.contains("`upcasts` of version 1 fails")), "{erred:?}");
}

fn for_tea(when: &str) -> Wait {
    Wait {
        trigger: ORDERED.parse().unwrap(),
        when: Some(expression(when)),
        since: Since::Start,
        expires: Some(Period::Fixed(Duration::from_secs(60))),
        on_expire: OnExpire::Fail,
    }
}

#[test]
fn step_waits_for_an_event_in_the_newest_form_of_its_own_catalog() {
    let flow = |pieces: Pieces, when: &str, field: &str| {
        let then =
            does("then", "demo.say").needs(["order"]).with(&json!({ "said": format!("${{{{ steps.order.event.payload.{field} }}}}") }));
        pieces.without_rule("demo.pack").workflow("demo.flow", [awaits("order", for_tea(when)), then])
    };
    let begin = |site: &mut Site| {
        let command = site.request_with("demo.flow", &json!({}), None);
        assert!(matches!(site.when(command).answer(), Answer::Execution(_)));
    };
    let old = flow(first(), "event.payload.item == 'tea'", "item");
    let new = flow(second(), "event.payload.sku == 'tea'", "sku");
    let mut site = site(&old);
    begin(&mut site);
    site.install(&new);
    begin(&mut site);
    let outcome = site.receive("shop.ordered@1", &json!({ "item": "tea" }));
    assert_eq!(summarize(&outcome).iter().filter(|text| **text == "order has come").count(), 2);
    assert_eq!(requested_params(&outcome), [json!({ "said": "tea" }), json!({ "said": "tea" })]);
}

#[test]
fn steps_of_a_rule_read_the_newest_form() {
    let then = does("pack", "demo.say").with(&json!({ "said": "${{ event.payload.sku }}" }));
    let steps = Workflow::new(WorkflowInput::Event, steps_of(vec![then]), None).unwrap();
    let mut site = site(&second().changed_rule("demo.pack", |rule| {
        let (name, run) = ("demo.pack".parse().unwrap(), Run::Workflow(Arc::new(steps)));
        rule.with = template(&json!({}));
        rule.action = Arc::new(Action { name, run, parameters: Schema::Fields(Fields::default()), ..Action::clone(&rule.action) });
    }));
    let outcome = site.receive("shop.ordered@1", &json!({ "item": "tea" }));
    assert_eq!(requested_params(&outcome).last(), Some(&json!({ "said": "tea" })));
}
