//! Vars: who changes them, once; rules and steps read their values at the moment of the decision.

use ensue_engine::catalog::{Acts, Does, OnExpire, Since, Wait};
use ensue_engine::command::{Answer, Refusal, SeenVar};
use ensue_engine::engine::Engine;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::Body;
use ensue_engine::rules::facts::Outcome as Enforced;
use ensue_engine::vars::decide::{VALUE_BYTES_MAX, VARS_MAX};
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::definitions::{flow, template};
use crate::support::site::{receive_events, remove_var, report_changing, report_giving, set_var, set_var_seen};
use crate::support::workflow::{StepPiece, awaits, does, expression, summarize};
use crate::support::{Pieces, Site, note_start, workers};

fn pieces() -> Pieces {
    Pieces::default().trigger("demo.ping").action("demo.say").action_at_once("demo.echo").awaiting("core.wait")
}

fn watching(when: &str) -> Pieces {
    pieces().rule_with("demo.watch", "demo.ping", when, "demo.say", |rule| {
        rule.with = template(&json!({ "of": "${{ vars[?'n'].orValue(0) }}" }))
    })
}

fn site(pieces: &Pieces) -> Site {
    let mut site = Site::with(pieces);
    site.set(workers(100));
    site
}

fn requested_params(outcome: &Outcome) -> Vec<Value> {
    let asked = outcome.records().iter().filter(|record| record.kind() == "execution.requested");
    asked.map(|record| serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()).collect()
}

fn value_at(site: &Site, name: &str) -> Option<Value> {
    let at = site.engine().vars().get(&name.parse().unwrap())?.at;
    let record = site.records().iter().find(|record| record.position == at)?;
    serde_json::from_slice(record.body.as_ref()?.content.as_ref()?).ok()
}

fn fold_log(site: &Site) -> Engine {
    let mut engine = Engine::new(site.engine().log());
    site.records().iter().for_each(|record| engine.apply(record));
    engine.commit();
    engine
}

fn begin(site: &mut Site, params: &Value) -> (ExecutionId, Outcome) {
    let command = site.request_with("demo.flow", params, None);
    let outcome = site.when(command);
    let Answer::Execution(flow) = outcome.answer() else { panic!("an execution was asked for") };
    (flow, outcome)
}

#[test]
fn var_keeps_its_last_value_until_it_is_removed() {
    let mut site = site(&pieces());
    site.when(set_var("sync.cursor", &json!({ "page": 7 }))).then(&["var.set"]);
    site.when(set_var("sync.cursor", &json!([8]))).then(&["var.set"]);
    assert_eq!(value_at(&site, "sync.cursor"), Some(json!([8])));
    site.when(remove_var("sync.cursor")).then(&["var.removed"]);
    assert_eq!(value_at(&site, "sync.cursor"), None);
    site.when(remove_var("sync.cursor")).then_refused(&Refusal::NoVar("sync.cursor".parse().unwrap()));
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn conditional_write_of_a_changed_var_is_rejected() {
    let mut site = site(&pieces());
    let name = "n".parse().unwrap();
    site.when(set_var_seen("n", &json!(1), SeenVar::NotThere)).then(&["var.set"]);
    let changed = Refusal::VarChanged("n".parse().unwrap());
    site.when(set_var_seen("n", &json!(2), SeenVar::NotThere)).then_refused(&changed);
    let seen = SeenVar::At(site.engine().vars().get(&name).unwrap().at);
    site.when(set_var_seen("n", &json!(2), seen)).then(&["var.set"]);
    site.when(set_var_seen("n", &json!(3), seen)).then_refused(&changed);
    assert_eq!(value_at(&site, "n"), Some(json!(2)));
}

#[test]
fn attempt_changes_vars_once_with_its_end() {
    let mut site = site(&pieces());
    let execution = site.run("demo.say");
    let attempt = site.attempt(execution);
    let report = report_changing(execution, attempt, &[("n", json!(1)), ("gone", Value::Null)]);
    let outcome = site.when(report.clone()).then(&["attempt.succeeded", "var.set", "execution.succeeded"]);
    let set = outcome.records().iter().find(|record| record.kind() == "var.set").unwrap();
    assert_eq!(set.cause.parent, Some(attempt.id.0));
    assert!(matches!(&set.fact, Fact::VarSet(fact) if fact.execution == Some(execution)));
    site.when(report).then_refused(&Refusal::NotOpen(execution));
    assert_eq!(site.records().iter().filter(|record| record.kind() == "var.set").count(), 1);
}

#[test]
fn late_report_changes_no_var() {
    let mut site = site(&pieces().change_action("demo.say", |action| action.idempotent = true));
    let execution = site.run("demo.say");
    let old = site.attempt(execution);
    site.lose(execution, ensue_engine::executions::facts::Evidence::MayHaveBegun);
    site.when(report_changing(execution, old, &[("n", json!(1))])).then(&["attempt.reported_late"]);
    assert_eq!(value_at(&site, "n"), None);
}

#[test]
fn size_of_values_and_number_of_vars_are_limited() {
    let mut site = site(&pieces());
    let longest = usize::try_from(VALUE_BYTES_MAX).unwrap() - 2;
    site.when(set_var("n", &json!("a".repeat(longest)))).then(&["var.set"]);
    let refused = site.when(set_var("n", &json!("a".repeat(longest + 1))));
    assert!(matches!(refused.result(), Err(Refusal::TooLarge(why)) if why.contains("16385 bytes")), "{:?}", refused.result());
    for n in 1..VARS_MAX {
        site.when(set_var(&format!("v{n}"), &json!(n)));
    }
    let many = Refusal::TooManyVars { name: "one.more".parse().unwrap(), max: VARS_MAX };
    site.when(set_var("one.more", &json!(0))).then_refused(&many);
    let execution = site.run("demo.say");
    let attempt = site.attempt(execution);
    site.when(report_changing(execution, attempt, &[("one.more", json!(0))])).then_refused(&many);
    site.when(set_var("n", &json!(0))).then(&["var.set"]);
    site.when(remove_var("n"));
    site.when(set_var("one.more", &json!(0))).then(&["var.set"]);
}

#[test]
fn rule_reads_vars_as_of_its_event() {
    let mut site = site(&watching("event.payload.n > vars[?'n'].orValue(0)"));
    let outcome = site.receive("demo.ping", &json!({ "n": 1 }));
    assert_eq!(requested_params(&outcome), [json!({ "of": 0 })]);
    // The edge evaluates before the var is set.
    let event = site.event("demo.ping", &json!({ "n": 1 }));
    site.when(set_var("n", &json!(1)));
    site.when(receive_events(vec![event])).then(&["event.received"]);
    let outcome = site.receive("demo.ping", &json!({ "n": 2 }));
    assert_eq!(requested_params(&outcome), [json!({ "of": 1 })]);
    let Some(Fact::EventReceived(fact)) = outcome.facts().next() else { panic!("an event was received") };
    assert_eq!((fact.matched, fact.erred, fact.undecided), (0, 0, 1));
}

#[test]
fn condition_without_vars_is_evaluated_at_the_edge() {
    let mut site = site(&watching("event.payload.n > 0"));
    let outcome = site.receive("demo.ping", &json!({ "n": 0 })).then(&["event.received"]);
    assert!(matches!(outcome.facts().next(), Some(Fact::EventReceived(fact)) if fact.undecided == 0));
    assert_eq!(requested_params(&site.receive("demo.ping", &json!({ "n": 1 }))), [json!({ "of": 0 })]);
}

#[test]
fn unset_var_is_an_error_with_its_name() {
    let mut site = site(&watching("vars['sync.cursor'] == 1"));
    let outcome = site.receive("demo.ping", &json!({})).then(&["event.received", "rule.erred"]);
    let Some(Fact::RuleErred(erred)) = outcome.facts().nth(1) else { panic!("the rule erred") };
    assert!(erred.message.contains("sync.cursor"), "{}", erred.message);
    // The error was not known before the event was in the log, so each one is counted by its own record.
    site.receive("demo.ping", &json!({})).then(&["event.received", "rule.errors_counted"]);
}

#[test]
fn var_can_be_read_in_every_way_of_reading_a_map() {
    let whens = ["'n' in vars && vars.n == 1", "has(vars.n) && vars['n'] == 1", "vars[?'n'].orValue(0) == 1", "vars.size() == 1"];
    for when in whens {
        let mut site = site(&watching(when));
        site.receive("demo.ping", &json!({})).then(&["event.received"]);
        site.when(set_var("n", &json!(1)));
        assert_eq!(requested_params(&site.receive("demo.ping", &json!({}))).len(), 1, "{when}");
    }
}

#[test]
fn held_match_reads_vars_at_its_release() {
    let pieces = watching("").changed_rule("demo.watch", |rule| {
        rule.flow = flow([(Does::Debounce { quiet_millis: 1_000, most_millis: None, acts: Acts::OnLast }, "vars[?'n'].orValue(0)")])
    });
    let mut site = site(&pieces);
    let outcome = site.receive("demo.ping", &json!({}));
    assert!(outcome.facts().any(|fact| matches!(fact, Fact::EnforcementMade(made) if matches!(made.outcome, Enforced::Held { .. }))));
    site.when(set_var("n", &json!(1)));
    // It has another key now: the first one is independent.
    site.receive("demo.ping", &json!({}));
    let outcome = site.after(1_000);
    assert_eq!(requested_params(&outcome), [json!({ "of": 1 }), json!({ "of": 1 })]);
    assert_eq!(fold_log(&site), *site.engine());
}

#[test]
fn rule_uses_the_vars_of_its_event_even_after_a_restart() {
    let mut site = site(&watching("event.payload.n > vars[?'n'].orValue(0)"));
    site.when(set_var("n", &json!(1)));
    site.restart();
    site.when(note_start());
    site.receive("demo.ping", &json!({ "n": 1 })).then(&["event.received"]);
    assert_eq!(requested_params(&site.receive("demo.ping", &json!({ "n": 2 }))), [json!({ "of": 1 })]);
}

fn workflow<const N: usize>(steps: [StepPiece; N]) -> Pieces {
    pieces().workflow("demo.flow", steps)
}

#[test]
fn each_step_reads_vars_at_its_start() {
    let mut site = site(&workflow([
        does("first", "demo.say").with(&json!({ "of": "${{ vars[?'n'].orValue(0) }}" })),
        does("then", "demo.say").needs(["first"]).starts_if("vars.n == 2").with(&json!({ "of": "${{ vars.n }}" })),
        does("never", "demo.say").needs(["first"]).starts_if("vars.n == 0"),
        does("each", "demo.say").needs(["first"]).over("[vars.n, vars.n + 1]").with(&json!({ "of": "${{ item }}" })),
    ]));
    let (_, outcome) = begin(&mut site, &json!({}));
    assert_eq!(requested_params(&outcome)[1..], [json!({ "of": 0 })]);
    site.when(set_var("n", &json!(1)));
    let first =
        site.engine().executions().iter().find(|(_, execution)| execution.action.as_str() == "demo.say").map(|(id, _)| *id).unwrap();
    let attempt = site.attempt(first);
    let outcome = site.when(report_changing(first, attempt, &[("n", json!(2))]));
    // The next step reads the value that the previous one set when it ended.
    assert_eq!(requested_params(&outcome), [json!({ "of": 2 }), json!({ "of": 2 }), json!({ "of": 3 })]);
    assert!(summarize(&outcome).contains(&"never skipped: condition".to_owned()), "{:?}", summarize(&outcome));
}

#[test]
fn step_that_reads_an_unset_var_fails() {
    let mut site = site(&workflow([does("one", "demo.say").with(&json!({ "of": "${{ vars['sync.cursor'] }}" }))]));
    let (_, outcome) = begin(&mut site, &json!({}));
    let Some(Fact::StepFailed(failed)) = outcome.facts().find(|fact| matches!(fact, Fact::StepFailed(_))) else { panic!("the step fails") };
    assert_eq!(failed.error.kind, FailureKind::Expression);
    assert!(failed.error.message.contains("sync.cursor"), "{}", failed.error.message);
}

#[test]
fn waiting_step_reads_vars_when_its_event_arrives() {
    for local in [false, true] {
        let when = if local { "event.payload.n == local.n" } else { "event.payload.n == vars.n" };
        let wait = Wait {
            trigger: "demo.ping".parse().unwrap(),
            when: Some(expression(when)),
            since: Since::Start,
            expires: None,
            on_expire: OnExpire::Fail,
        };
        let pieces = workflow([awaits("wait", wait)])
            .change_action("demo.flow", |action| action.local = vec![("n".to_owned(), expression("vars.n"))]);
        let mut site = site(&pieces);
        site.when(set_var("n", &json!(1)));
        begin(&mut site, &json!({}));
        site.when(set_var("n", &json!(2)));
        site.receive("demo.ping", &json!({ "n": 1 })).then(&["event.received"]);
        let outcome = site.receive("demo.ping", &json!({ "n": 2 }));
        assert!(outcome.facts().any(|fact| matches!(fact, Fact::WaitMatched(_))), "{:?}", summarize(&outcome));
    }
}

#[test]
fn reading_all_vars_has_a_size_limit() {
    let mut site = site(&watching("vars.exists(name, name == 'n')"));
    for n in 0..=256 {
        site.when(set_var(&format!("v{n}"), &json!("a".repeat(16_000))));
    }
    site.receive("demo.ping", &json!({})).then(&["event.received"]);
    for n in 257..270 {
        site.when(set_var(&format!("v{n}"), &json!("a".repeat(16_000))));
    }
    let outcome = site.receive("demo.ping", &json!({})).then(&["event.received", "rule.erred"]);
    let Some(Fact::RuleErred(erred)) = outcome.facts().nth(1) else { panic!("the rule erred") };
    assert!(erred.message.contains("write out the names"), "{}", erred.message);
}

#[test]
fn step_result_and_var_with_equal_content_are_distinguished() {
    let mut site = site(&workflow([
        does("one", "demo.say"),
        does("two", "demo.say").needs(["one"]).with(&json!({ "a": "${{ steps.one.result }}", "b": "${{ vars.n }}" })),
    ]));
    site.when(set_var("n", &json!({ "same": true })));
    begin(&mut site, &json!({}));
    let first =
        site.engine().executions().iter().find(|(_, execution)| execution.action.as_str() == "demo.say").map(|(id, _)| *id).unwrap();
    let attempt = site.attempt(first);
    let outcome = site.when(report_giving(first, attempt, Body::json(r#"{"same":true}"#)));
    assert_eq!(requested_params(&outcome), [json!({ "a": { "same": true }, "b": { "same": true } })]);
}
