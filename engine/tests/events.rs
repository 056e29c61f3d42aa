//! Events and the rules' decisions: exactly one decision per rule and matching event.

use ensue_engine::catalog::{Extra, Mode, OnLost, Schema, Type};
use ensue_engine::command::{Answer, Dedupe, Novelty, Refusal};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, Id, Role};
use ensue_engine::record::Digest;
use ensue_engine::rules::facts::{EnforcementMade, Outcome as Enforced};
use ensue_test_support::spec::Outcome;
use serde_json::json;

use crate::support::definitions::template;
use crate::support::site::{receive_events, result_of_one};
use crate::support::{Pieces, Site, fields, rule_id};

fn pieces() -> Pieces {
    Pieces::default()
        .trigger("demo.ping")
        .trigger("demo.pong")
        .action("demo.say")
        .rule("demo.large", "demo.ping", "event.payload.n > 10", "demo.say")
        .rule("demo.one", "demo.ping", "event.payload.n == 1", "demo.say")
        .rule("demo.other", "demo.pong", "", "demo.say")
}

fn enforcements(outcome: &Outcome) -> Vec<&EnforcementMade> {
    outcome
        .facts()
        .filter_map(|fact| match fact {
            Fact::EnforcementMade(made) => Some(made),
            _ => None,
        })
        .collect()
}

#[test]
fn event_without_a_matching_rule_is_one_record() {
    let mut site = Site::with(&pieces());
    let outcome = site.receive("demo.ping", &json!({ "n": 2 })).then(&["event.received"]);
    let reported = result_of_one(&outcome);
    assert_eq!((reported.position, reported.novelty), (outcome.records()[0].position, Novelty::New));
}

#[test]
fn each_matching_rule_decides_once_and_its_action_starts() {
    let mut site = Site::with(&pieces().rule("demo.always", "demo.ping", "", "demo.say"));
    let each = ["enforcement.made", "execution.requested", "attempt.started"];
    let kinds = [&["event.received"][..], &each, &each].concat();
    let outcome = site.receive("demo.ping", &json!({ "n": 1 })).then(&kinds);
    let rules: Vec<&str> = enforcements(&outcome).iter().map(|made| made.rule.as_str()).collect();
    assert_eq!(rules, ["demo.always", "demo.one"]);
}

#[test]
fn records_that_follow_an_event_have_derived_ids_in_its_chain() {
    let mut site = Site::with(&pieces());
    let outcome = site.receive("demo.ping", &json!({ "n": 1 }));
    let [event, enforcement, execution, attempt] = outcome.records() else { panic!("{:?}", outcome.kinds()) };
    let log = site.engine().log();
    assert_eq!(enforcement.id, Id::derive(log, event.id, Role::Enforcement(rule_id("demo.one"))));
    assert_eq!(execution.id, Id::derive(log, enforcement.id, Role::Execution));
    assert_eq!(attempt.id, Id::derive(log, execution.id, Role::Attempt(1)));
    let parents = [event, enforcement, execution, attempt].map(|record| record.cause.parent);
    assert_eq!(parents, [None, Some(event.id), Some(enforcement.id), Some(execution.id)]);
    assert!(outcome.records().iter().all(|record| record.cause.root == event.id && record.cause.depth == 0));
}

#[test]
fn enforcement_names_its_execution_and_parameters() {
    let mut site = Site::with(&pieces());
    let outcome = site.receive("demo.ping", &json!({ "n": 1 }));
    let [event, enforcement, execution, _] = outcome.records() else { panic!("{:?}", outcome.kinds()) };
    let made = EnforcementMade {
        rule: "demo.one".parse().unwrap(),
        rule_id: rule_id("demo.one"),
        catalog: site.engine().catalog_revision(),
        event: EventId(event.id),
        outcome: Enforced::Executed { execution: ExecutionId(execution.id) },
        flow: None,
    };
    assert_eq!(enforcement.fact, Fact::EnforcementMade(made));
    let Fact::ExecutionRequested(asked) = &execution.fact else { panic!("an execution is asked for") };
    assert_eq!((asked.event, asked.enforcement), (Some(EventId(event.id)), Some(EnforcementId(enforcement.id))));
    let params = execution.body.as_ref().and_then(|body| body.content.clone()).unwrap();
    assert_eq!(params, format!(r#"{{"of":"{}"}}"#, event.id));
}

#[test]
fn shadow_rule_decides_and_runs_nothing() {
    let pieces = pieces().rule_with("demo.one", "demo.ping", "event.payload.n == 1", "demo.say", |rule| rule.mode = Mode::Shadow);
    let outcome = Site::with(&pieces).receive("demo.ping", &json!({ "n": 1 })).then(&["event.received", "enforcement.made"]);
    assert_eq!(enforcements(&outcome)[0].outcome, Enforced::Shadowed);
}

#[test]
fn rule_with_invalid_parameters_is_rejected_with_the_misfit() {
    let pieces = Pieces::default()
        .trigger("demo.ping")
        .action_with("demo.say", |action| action.parameters = fields([("count", Type::Integer)]))
        .rule_with("demo.one", "demo.ping", "", "demo.say", |rule| rule.with = template(&json!({ "count": "${{ event.payload.n }}" })));
    let mut site = Site::with(&pieces);
    let outcome = site.receive("demo.ping", &json!({ "n": "two" })).then(&["event.received", "enforcement.made"]);
    let Enforced::Rejected { error } = &enforcements(&outcome)[0].outcome else { panic!("it is rejected") };
    assert_eq!(error, "the parameters do not fit `demo.say`: /count: should be integer, but is a string");
    site.receive("demo.ping", &json!({ "n": 2 })).then(&["event.received", "enforcement.made", "execution.requested", "attempt.started"]);
}

#[test]
fn rule_with_unrenderable_parameters_is_rejected() {
    let pieces =
        pieces().rule_with("demo.one", "demo.ping", "", "demo.say", |rule| rule.with = template(&json!({ "a": "${{ event.payload.b }}" })));
    let outcome = Site::with(&pieces).receive("demo.ping", &json!({ "n": 0 })).then(&["event.received", "enforcement.made"]);
    assert!(matches!(enforcements(&outcome)[0].outcome, Enforced::Rejected { .. }));
}

#[test]
fn priority_of_a_rule_overrides_its_action_s() {
    let pieces = Pieces::default()
        .trigger("demo.ping")
        .action_with("demo.say", |action| {
            action.priority = 5;
            action.on_lost = OnLost::Fail;
        })
        .rule("demo.calm", "demo.ping", "", "demo.say")
        .rule_with("demo.urgent", "demo.ping", "", "demo.say", |rule| rule.priority = Some(9));
    let outcome = Site::with(&pieces).receive("demo.ping", &json!({}));
    let asked = outcome.facts().filter_map(|fact| match fact {
        Fact::ExecutionRequested(asked) => Some((asked.priority, asked.on_lost)),
        _ => None,
    });
    assert_eq!(asked.collect::<Vec<_>>(), [(5, OnLost::Fail), (9, OnLost::Fail)]);
}

#[test]
fn rule_that_lists_a_trigger_twice_decides_once() {
    let twice = |rule: &mut ensue_engine::catalog::Rule| rule.triggers = vec!["demo.ping".parse().unwrap(), "demo.ping".parse().unwrap()];
    let pieces = Pieces::default().trigger("demo.ping").action("demo.say").rule_with("demo.one", "demo.ping", "", "demo.say", twice);
    let outcome = Site::with(&pieces).receive("demo.ping", &json!({}));
    assert_eq!(enforcements(&outcome).len(), 1);
}

#[test]
fn events_of_one_command_are_accepted_all_or_none() {
    let pieces = pieces().trigger_taking("demo.strict", fields([("n", Type::Integer)]));
    let mut site = Site::with(&pieces);
    let fits = site.event("demo.strict", &json!({ "n": 1 }));
    let misfits = site.event("demo.strict", &json!({}));
    // The edges check against the catalog that they see; an event is checked again here only if the catalog
    // has changed since.
    site.install_unseen(&pieces);
    let refusal =
        Refusal::PayloadMisfit { trigger: "demo.strict".parse().unwrap(), misfits: "/n: is missing; it is a required integer".into() };
    site.when(receive_events(vec![fits.clone(), misfits])).then_refused(&refusal);
    let also_fits = site.event("demo.strict", &json!({ "n": 2 }));
    site.when(receive_events(vec![fits, also_fits])).then(&["event.received", "event.received"]);
}

#[test]
fn events_of_one_command_are_returned_in_order_with_positions() {
    let mut site = Site::with(&pieces());
    let events: Vec<_> = [1, 2, 1].iter().map(|n| site.event("demo.ping", &json!({ "n": n }))).collect();
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    let outcome = site.when(receive_events(events));
    let Answer::Events(reported) = outcome.answer() else { panic!("events were sent in") };
    assert_eq!(reported.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
    for event in reported {
        let record = &site.records()[usize::try_from(event.position.0).unwrap() - 1];
        assert_eq!(record.id, event.id.0);
    }
}

#[test]
fn event_evaluated_with_an_older_catalog_is_evaluated_again() {
    let mut site = Site::with(&pieces());
    let event = site.event("demo.ping", &json!({ "n": 1 }));
    let changed = pieces().rule("demo.one", "demo.ping", "event.payload.n == 2", "demo.say").rule(
        "demo.small",
        "demo.ping",
        "event.payload.n < 10",
        "demo.say",
    );
    site.install_unseen(&changed);
    let outcome = site.when(receive_events(vec![event]));
    let rules: Vec<&str> = enforcements(&outcome).iter().map(|made| made.rule.as_str()).collect();
    assert_eq!(rules, ["demo.small"]);
    let Some(Fact::EventReceived(event)) = outcome.facts().next() else { panic!("the event comes first") };
    assert_eq!((event.matched, event.catalog), (1, site.engine().catalog_revision()));
}

#[test]
fn event_with_a_removed_trigger_is_rejected() {
    let mut site = Site::with(&pieces());
    let event = site.event("demo.pong", &json!({}));
    site.install_unseen(&pieces().without_trigger("demo.pong"));
    site.when(receive_events(vec![event])).then_refused(&Refusal::NoTrigger("demo.pong".parse().unwrap()));
}

#[test]
fn event_that_no_longer_fits_its_trigger_is_rejected() {
    let mut site = Site::with(&pieces());
    let event = site.event("demo.pong", &json!({ "n": 1 }));
    let strict = fields([("name", Type::String { pattern: None })]);
    site.install_unseen(&pieces().trigger_taking("demo.pong", strict));
    let misfits = "/name: is missing; it is a required string".to_owned();
    site.when(receive_events(vec![event])).then_refused(&Refusal::PayloadMisfit { trigger: "demo.pong".parse().unwrap(), misfits });
}

#[test]
fn undeclared_fields_are_allowed_in_payloads_but_not_in_parameters() {
    let schema = fields([("n", Type::Integer)]);
    let document = ensue_expression::Document::from_value(&json!({ "n": 1, "m": 2 }));
    assert!(schema.misfits(document.root(), Extra::Allowed).is_empty());
    assert_eq!(schema.misfits(document.root(), Extra::Refused)[0].to_string(), "/m: is unknown; the known fields are n");
    assert!(Schema::Any.misfits(document.root(), Extra::Refused).is_empty());
}

#[test]
fn emitted_event_is_one_level_deeper_than_its_cause() {
    let mut site = Site::with(&pieces());
    let root = site.receive("demo.ping", &json!({ "n": 1 })).records()[0].clone();
    let (execution, _) = site.engine().executions().iter().next().map(|(id, open)| (*id, open.clone())).unwrap();
    let attempt = site.attempt(execution).id;
    let outcome = site.emit(execution, "demo.pong", &json!({}));
    let event = outcome.records().iter().find(|record| record.kind() == "event.received").unwrap();
    assert_eq!((event.cause.parent, event.cause.root, event.cause.depth), (Some(attempt.0), root.id, 1));
    assert_eq!(event.id, Id::derive(site.engine().log(), attempt.0, Role::Emit(0)));
}

#[test]
fn duplicate_emission_creates_no_event_and_its_result_names_the_first() {
    let mut site = Site::with(&pieces());
    let mut emit = |key: &str, n: u32| {
        let execution = site.run("demo.say");
        let attempt = site.attempt(execution);
        let mut event = site.emitted_event(attempt.id, "demo.pong", &json!({ "n": n }));
        event.dedupe = Some(Dedupe::of_emission(&event.trigger, key, Digest::of(event.payload.bytes())));
        let outcome = site.when(crate::support::site::report_emitting(execution, attempt, event));
        let received = outcome.records().iter().find(|record| record.kind() == "event.received").map(|record| record.id);
        let ended = outcome.records().iter().find(|record| record.kind() == "attempt.succeeded").expect("the attempt has ended").clone();
        (received, ended.body.and_then(|body| body.content).map(|content| String::from_utf8(content.to_vec()).unwrap()))
    };
    let (first, _) = emit("page-1", 1);
    let first = first.expect("the first event is in the log");
    let (again, result) = emit("page-1", 2);
    assert_eq!((again, result), (None, Some(format!(r#"{{"event":"{first}"}}"#))));
    let (other, result) = emit("page-2", 1);
    assert!(other.is_some() && result.is_none(), "what the worker reported stays");
}

#[test]
fn report_with_an_invalid_event_is_rejected_as_a_whole() {
    let mut site = Site::with(&pieces());
    let execution = site.run("demo.say");
    let before = site.phase(execution);
    let attempt = site.attempt(execution);
    let event = site.emitted_event(attempt.id, "demo.pong", &json!({}));
    site.install_unseen(&pieces().without_trigger("demo.pong"));
    let refusal = Refusal::NoTrigger("demo.pong".parse().unwrap());
    site.when(crate::support::site::report_emitting(execution, attempt, event)).then_refused(&refusal);
    assert_eq!(site.phase(execution), before);
}
