//! Labels of executions: those that the action computes from the parameters, and those that the caller adds.

use ensue_engine::catalog::Action;
use ensue_engine::command::{Answer, Ask, Command, Refusal, Settings};
use ensue_engine::executions::facts::{ExecutionRequested, FailureKind};
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::StreamId;
use ensue_engine::rules::facts::Outcome as Matched;
use ensue_engine::workflows::facts::RerunFrom;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::definitions::template;
use crate::support::workflow::{does, fails};
use crate::support::{Pieces, Site, workers};

/// Makes the action label its executions.
fn with_labels(labels: &'static [(&'static str, &'static str)]) -> impl FnOnce(&mut Action) {
    move |action| action.labels = labels.iter().map(|(name, text)| (name.parse().unwrap(), template(&json!(text)))).collect()
}

const SITE: (&str, &str) = ("site", "${{ params.site }}");

fn pieces() -> Pieces {
    Pieces::default().trigger("demo.ping").action("demo.say").action_with("demo.deploy", with_labels(&[SITE, ("team", "web")])).rule_with(
        "demo.on_ping",
        "demo.ping",
        "",
        "demo.deploy",
        |rule| {
            rule.with = template(&json!({ "site": "${{ event.payload.site }}" }));
        },
    )
}

fn site(pieces: &Pieces) -> Site {
    let mut site = Site::with(pieces);
    site.set(workers(100));
    site
}

/// The command that requests `demo.deploy` with these labels.
fn request(site: &Site, params: &Value, labels: &[(&str, &str)]) -> Command {
    let mut command = site.request_with("demo.deploy", params, None);
    let Ask::RequestExecution(request) = &mut command.ask else { panic!("an execution is asked for") };
    request.labels = labels.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    command
}

fn request_facts(outcome: &Outcome) -> Vec<ExecutionRequested> {
    let facts = outcome.records().iter().filter_map(|record| match &record.fact {
        Fact::ExecutionRequested(fact) => Some(fact.clone()),
        _ => None,
    });
    facts.collect()
}

fn execution(outcome: &Outcome) -> ExecutionId {
    let Answer::Execution(execution) = outcome.answer() else { panic!("an execution was asked for") };
    execution
}

fn expect_refusal(outcome: &Outcome) -> Refusal {
    outcome.result().clone().expect_err("the command is refused")
}

fn labels(fact: &ExecutionRequested) -> Vec<String> {
    fact.labels.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn execution_has_the_labels_of_its_action_and_the_given_ones() {
    let mut site = site(&pieces());
    let request = request(&site, &json!({ "site": "eu" }), &[("ticket", "OPS-7")]);
    let outcome = site.when(request).then(&["execution.requested", "attempt.started"]);
    let [fact] = &request_facts(&outcome)[..] else { panic!("one is asked for") };
    assert_eq!(labels(fact), ["site=eu", "team=web", "ticket=OPS-7"]);
    assert_eq!(fact.given_labels.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ticket"]);
}

#[test]
fn label_defined_by_the_action_cannot_be_given() {
    let mut site = site(&pieces());
    let before = site.records().len();
    let request = request(&site, &json!({ "site": "eu" }), &[("site", "us")]);
    let refused = expect_refusal(&site.when(request));
    assert!(matches!(&refused, Refusal::LabelsMisfit { .. }), "{refused}");
    assert_eq!(refused.to_string(), "`site` is already a label of `demo.deploy`, which sets its value");
    assert_eq!(site.records().len(), before);
}

#[test]
fn execution_has_at_most_sixteen_labels() {
    let mut site = site(&pieces());
    let many: Vec<(String, &str)> = (0..15).map(|n| (format!("l{n}"), "x")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let request = |site: &Site, count: usize| request(site, &json!({ "site": "eu" }), &many[..count]);
    let fits = request(&site, 14);
    assert_eq!(request_facts(&site.when(fits))[0].labels.len(), 16);
    let too_many = request(&site, 15);
    assert_eq!(expect_refusal(&site.when(too_many)).to_string(), "it would have 17 labels; the limit is 16");
}

#[test]
fn request_with_an_uncomputable_label_is_rejected() {
    let mut site = site(&pieces());
    for (params, why) in [
        (json!({}), "the label `site` errs: "),
        (json!({ "site": null }), "the label `site` is null, but it must be a string, a number, true or false"),
        (json!({ "site": ["eu"] }), "the label `site` is [\"eu\"], but it must be"),
        (json!({ "site": "" }), "the label `site` is empty; leave the label out"),
        (json!({ "site": "a\nb" }), "the label `site` contains a control character"),
        (json!({ "site": "x".repeat(257) }), "the label `site` is 257 bytes long; the limit is 256"),
    ] {
        let request = request(&site, &params, &[]);
        let refused = expect_refusal(&site.when(request));
        assert!(matches!(&refused, Refusal::ParametersMisfit { misfits, .. } if misfits.starts_with(why)), "{refused}");
    }
    let request = request(&site, &json!({ "site": 7 }), &[]);
    assert_eq!(labels(&request_facts(&site.when(request))[0]), ["site=7", "team=web"]);
}

#[test]
fn rule_execution_gets_action_labels_and_is_rejected_if_they_are_invalid() {
    let mut site = site(&pieces());
    let outcome = site.receive("demo.ping", &json!({ "site": "eu" }));
    assert_eq!(labels(&request_facts(&outcome)[0]), ["site=eu", "team=web"]);
    let outcome = site.receive("demo.ping", &json!({ "site": null })).then(&["event.received", "enforcement.made"]);
    let rejected = outcome.facts().find_map(|fact| match fact {
        Fact::EnforcementMade(fact) => Some(fact.outcome.clone()),
        _ => None,
    });
    let Some(Matched::Rejected { error }) = rejected else { panic!("{rejected:?}") };
    assert!(error.contains("the label `site` is null"), "{error}");
}

#[test]
fn step_has_the_labels_of_its_own_action_not_of_its_workflow() {
    let steps = [
        does("one", "demo.deploy").with(&json!({ "site": "eu" })),
        does("each", "demo.deploy").over("['us', 'ap']").with(&json!({ "site": "${{ item }}" })),
        does("say", "demo.say"),
    ];
    let mut site = site(&pieces().workflow("demo.flow", steps).change_action("demo.flow", with_labels(&[("team", "ops")])));
    let outcome = site.ask("demo.flow");
    let all: Vec<(String, Vec<String>)> = request_facts(&outcome)
        .iter()
        .map(|fact| (fact.part_of.as_ref().map_or(String::new(), |part| part.step.to_string()), labels(fact)))
        .collect();
    let of = |step: &str| all.iter().filter(|(name, _)| name == step).map(|(_, labels)| labels.join(" ")).collect::<Vec<_>>();
    assert_eq!(of(""), ["team=ops"]);
    assert_eq!(of("one"), ["site=eu team=web"]);
    assert_eq!(of("each"), ["site=us team=web", "site=ap team=web"]);
    assert_eq!(of("say"), [""]);
}

#[test]
fn step_with_an_invalid_label_fails_before_it_starts() {
    let steps = [does("one", "demo.deploy").with(&json!({ "site": {} }))];
    let mut site = site(&pieces().workflow("demo.flow", steps));
    let outcome = site.ask("demo.flow").then(&["execution.requested", "step.failed", "execution.failed"]);
    let Some(Fact::StepFailed(fact)) = outcome.facts().nth(1) else { panic!("the step fails") };
    assert_eq!(fact.error.kind, FailureKind::ParametersInvalid);
    assert!(
        fact.error.message.starts_with("`demo.deploy` cannot be run with these parameters: the label `site` is {}"),
        "{}",
        fact.error.message
    );
}

#[test]
fn undo_execution_has_the_labels_of_its_own_action() {
    let steps = [does("one", "demo.say").undone_by("demo.deploy", &json!({ "site": "eu" })), fails("stop", "no").needs(["one"])];
    let mut site = site(&pieces().workflow("demo.flow", steps));
    let outcome = site.ask("demo.flow");
    let Some(one) = outcome.records().iter().rev().find_map(|record| match (&record.fact, &record.stream) {
        (Fact::ExecutionRequested(_), StreamId::Execution(id)) => Some(*id),
        _ => None,
    }) else {
        panic!("the step is asked for")
    };
    let outcome = site.succeed(one);
    assert_eq!(labels(&request_facts(&outcome)[0]), ["site=eu", "team=web"]);
}

#[test]
fn rerun_keeps_given_labels_and_recomputes_the_action_s() {
    let mut site = site(&pieces());
    let first = request(&site, &json!({ "site": "eu" }), &[("ticket", "OPS-7")]);
    let first = execution(&site.when(first));
    site.succeed(first);
    let rerun = site.rerun_of(first, RerunFrom::Start, Some(&json!({ "site": "us" }))).unwrap();
    let outcome = site.when(rerun);
    let again = request_facts(&outcome)[0].clone();
    assert_eq!(labels(&again), ["site=us", "team=web", "ticket=OPS-7"]);
    assert_eq!(again.given_labels.len(), 1);
    // The action now defines this label itself.
    let second = execution(&outcome);
    site.succeed(second);
    site.install(&pieces().change_action("demo.deploy", with_labels(&[("ticket", "none")])));
    let rerun = site.rerun_of(second, RerunFrom::Start, None).unwrap();
    let again = request_facts(&site.when(rerun))[0].clone();
    assert_eq!((labels(&again), again.given_labels.len()), (vec!["ticket=none".to_owned()], 0));
}

fn scopes(outcome: &Outcome) -> Vec<String> {
    request_facts(outcome).iter().map(|fact| fact.scope().to_string()).collect()
}

#[test]
fn everything_in_a_workflow_and_its_rerun_have_the_scope_of_the_outermost_execution() {
    let steps =
        [does("one", "demo.deploy").with(&json!({ "site": "us" })).undone_by("demo.say", &json!({})), fails("stop", "no").needs(["one"])];
    let mut site = site(&pieces().workflow("demo.flow", steps).change_action("demo.flow", with_labels(&[("site", "eu")])));
    site.set(Settings { scope_labels: ["site".parse().unwrap()].into(), ..workers(100) });
    let scope = "pack=demo,action=demo.flow,label:site=eu";
    let outcome = site.ask("demo.flow");
    let flow = execution(&outcome);
    assert_eq!(scopes(&outcome), [scope, scope]);
    let Some(one) = outcome.records().iter().rev().find_map(|record| match (&record.fact, &record.stream) {
        (Fact::ExecutionRequested(_), StreamId::Execution(id)) => Some(*id),
        _ => None,
    }) else {
        panic!("the step is asked for")
    };
    let undo = site.succeed(one);
    assert_eq!(scopes(&undo), [scope]);
    let undo = undo.records().iter().rev().find_map(|record| match (&record.fact, &record.stream) {
        (Fact::ExecutionRequested(_), StreamId::Execution(id)) => Some(*id),
        _ => None,
    });
    let ended = site.succeed(undo.unwrap());
    let failed = ended.facts().find_map(|fact| match fact {
        Fact::ExecutionFailed(fact) => fact.scope.clone(),
        _ => None,
    });
    assert_eq!(failed.map(|scope| scope.to_string()).as_deref(), Some(scope), "the dead letter belongs where its execution belongs");
    // Neither the parameters nor the chosen labels of today matter for a rerun.
    site.set(workers(100));
    let rerun = site.rerun_of(flow, RerunFrom::Start, None).unwrap();
    let outcome = site.when(rerun);
    assert_eq!(scopes(&outcome), [scope, scope]);
}

#[test]
fn execution_of_a_rule_belongs_to_the_pack_of_the_rule() {
    let pieces = Pieces::default().trigger("demo.ping").action("core.say").rule("demo.on_ping", "demo.ping", "", "core.say");
    let mut site = site(&pieces);
    let outcome = site.receive("demo.ping", &json!({}));
    assert_eq!(scopes(&outcome), ["pack=demo,action=core.say"]);
    assert_eq!(scopes(&site.ask("core.say")), ["pack=core,action=core.say"]);
}
