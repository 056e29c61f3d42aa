//! On whose rights things run: packs do with other packs what they are permitted, workflows that run as their caller do
//! what both may, and nothing falls back to the rights of somebody else.

use ensue_engine::access::facts::IdentityKind;
use ensue_engine::access::principal::Principal;
use ensue_engine::access::state::Standing;
use ensue_engine::access::subject::Subject;
use ensue_engine::catalog::{Run, RunAs};
use ensue_engine::command::{Answer, Ask, Command, MessageContent, NewGrant, Refusal};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, GrantId, Id, IdentityId, TokenId};
use ensue_engine::record::{Actor, Body, CredentialId, StreamId};
use ensue_engine::rules::facts::Outcome as EnforcementOutcome;
use ensue_engine::workflows::facts::RerunFrom;
use ensue_test_support::NOON;
use ensue_test_support::spec::Outcome;
use serde_json::json;

use crate::support::definitions::{every, flow};
use crate::support::site::{report_giving_and_emitting, take_message};
use crate::support::workflow::does;
use crate::support::{Pieces, Site, asked_by, fire_timers, permit_at};

/// The pack `demo` uses actions and a trigger of the pack `other`.
fn pieces() -> Pieces {
    Pieces::default()
        .trigger("demo.ping")
        .trigger("other.ping")
        .action("demo.own")
        .action("other.work")
        .action_at_once("core.echo")
        .workflow("demo.flow", [does("own", "demo.own"), does("far", "other.work").needs(["own"])])
        .workflow("demo.far", [does("far", "other.work")])
        .workflow("demo.near", [does("own", "demo.own"), does("echo", "core.echo")])
        .workflow("demo.caller", [does("first", "demo.own"), does("far", "other.work").needs(["first"])])
        .change_action("demo.caller", |action| action.run_as = RunAs::Caller)
        .workflow(
            "demo.undone",
            [does("first", "demo.own").undone_by("other.work", &json!({})), does("far", "other.work").needs(["first"])],
        )
        .rule("demo.runs_far", "demo.ping", "event.payload.n == 1", "other.work")
        .rule("demo.runs_own", "demo.ping", "event.payload.n == 2", "demo.own")
        .rule("demo.runs_flow", "demo.ping", "event.payload.n == 3", "demo.flow")
}

fn site() -> Site {
    let mut site = Site::with(&pieces());
    site.set(crate::support::workers(20));
    site
}

fn permit(site: &mut Site, pack: &str, permissions: Option<&[&str]>) -> Outcome {
    let command = permit_at(site.engine().catalog_revision(), pack, permissions);
    site.when(command)
}

fn identity() -> IdentityId {
    IdentityId(Id::root(NOON, 900))
}

/// Ana, by one of her tokens.
fn ana_herself() -> Actor {
    Actor::Identity { id: identity(), by: CredentialId::Token(TokenId(Id::root(NOON, 901))) }
}

/// Ana exists, and may run these actions.
fn add_ana(site: &mut Site, on: &str) {
    let add = Ask::AddIdentity { id: identity(), kind: IdentityKind::Person, groups: Vec::new() };
    site.when(asked_by(Actor::Operator, add)).then(&["identity.added"]);
    grant(site, 902, on);
}

fn grant(site: &mut Site, number: u128, on: &str) {
    let subject = Subject::Identity(identity());
    let grant = NewGrant {
        id: GrantId(Id::root(NOON, number)),
        subject,
        role: "author".parse().unwrap(),
        on: Some(on.parse().unwrap()),
        until: None,
    };
    site.when(asked_by(Actor::Operator, Ask::AddGrant(grant))).then(&["grant.added"]);
}

fn by_ana(command: Command) -> Command {
    Command { actor: ana_herself(), ..command }
}

#[track_caller]
fn execution(outcome: &Outcome) -> ExecutionId {
    let Answer::Execution(id) = outcome.answer() else { panic!("an execution was asked for") };
    id
}

/// The open step of a workflow that runs this action.
#[track_caller]
fn step(site: &Site, workflow: ExecutionId, action: &str) -> ExecutionId {
    let is_it = |of: &ensue_engine::executions::state::Execution| {
        of.action.as_str() == action && of.part_of.as_ref().is_some_and(|part_of| part_of.workflow == workflow)
    };
    let found = site.engine().executions().iter().find(|(_, execution)| is_it(execution)).map(|(id, _)| *id);
    found.unwrap_or_else(|| panic!("no step of {workflow} runs {action}"))
}

/// Why a step did not start.
fn refused_step(outcome: &Outcome) -> Option<(FailureKind, String)> {
    outcome.facts().find_map(|fact| match fact {
        Fact::StepFailed(fact) => Some((fact.error.kind, fact.error.message.clone())),
        _ => None,
    })
}

#[track_caller]
fn kinds_are(outcome: &Outcome, kinds: &[&str]) {
    assert_eq!(outcome.kinds(), kinds);
}

fn principal_of(site: &Site, id: ExecutionId) -> Option<Principal> {
    let record = site.of_stream(id).into_iter().next()?;
    let Fact::ExecutionRequested(fact) = record.fact else { return None };
    fact.principal(&record.actor)
}

fn outcomes(outcome: &Outcome) -> Vec<String> {
    let made = |fact: &Fact| match fact {
        Fact::EnforcementMade(made) => Some(match &made.outcome {
            EnforcementOutcome::Rejected { error } => format!("{} rejected: {error}", made.rule),
            other => format!("{} {}", made.rule, other.as_str()),
        }),
        _ => None,
    };
    outcome.facts().filter_map(made).collect()
}

#[test]
fn pack_without_permissions_may_use_other_packs() {
    let mut site = site();
    let run = site.receive("demo.ping", &json!({ "n": 1 }));
    assert_eq!(outcomes(&run), ["demo.runs_far executed"]);
    let flow = site.run("demo.flow");
    site.succeed(step(&site, flow, "demo.own")).then(&[
        "attempt.succeeded",
        "execution.succeeded",
        "execution.requested",
        "attempt.started",
    ]);
}

#[test]
fn rule_of_a_pack_runs_actions_of_other_packs_only_if_permitted() {
    let mut site = site();
    permit(&mut site, "demo", Some(&[])).then(&["pack.permissions_set"]);
    let refused = site.receive("demo.ping", &json!({ "n": 1 }));
    kinds_are(&refused, &["event.received", "enforcement.made"]);
    let why = "not_permitted: the pack `demo` may not run `other.work`; it needs `actions:execute on action=other.work`";
    assert_eq!(outcomes(&refused), [format!("demo.runs_far rejected: {why}")]);
    assert_eq!(outcomes(&site.receive("demo.ping", &json!({ "n": 2 }))), ["demo.runs_own executed"]);

    permit(&mut site, "demo", Some(&["actions:execute on action=other.w*"])).then(&["pack.permissions_set"]);
    let allowed = site.receive("demo.ping", &json!({ "n": 1 }));
    assert_eq!(outcomes(&allowed), ["demo.runs_far executed"]);
    let requested = allowed.records().iter().find(|record| matches!(record.fact, Fact::ExecutionRequested(_))).unwrap();
    assert_eq!(requested.fact.schema(), 7, "an older release can read it");
    let StreamId::Execution(id) = requested.stream else { panic!() };
    assert_eq!(principal_of(&site, id), Some(Principal::Pack("demo".parse().unwrap())));
    permit(&mut site, "demo", Some(&["events:write", "actions:execute on pack=third"])).then(&["pack.permissions_set"]);
    assert!(outcomes(&site.receive("demo.ping", &json!({ "n": 1 })))[0].contains("rejected"));
}

#[test]
fn matches_that_flow_control_held_are_released_only_if_permitted() {
    let debounced = pieces().changed_rule("demo.runs_far", |rule| {
        rule.flow = flow([(
            ensue_engine::catalog::Does::Debounce { quiet_millis: 1_000, most_millis: None, acts: ensue_engine::catalog::Acts::OnLast },
            "",
        )]);
    });
    let mut site = Site::with(&debounced);
    site.receive("demo.ping", &json!({ "n": 1 }));
    permit(&mut site, "demo", Some(&[])).then(&["pack.permissions_set"]);
    let released = site.after(1_000);
    let is_rejected = |fact: &Fact| matches!(fact, Fact::EnforcementReleased(fact) if matches!(&fact.outcome, ensue_engine::rules::flow::facts::Release::Rejected { error } if error.starts_with("not_permitted")));
    assert!(released.facts().any(is_rejected), "{:?}", released.kinds());
    assert!(!released.kinds().contains(&"execution.requested"));
}

#[test]
fn rule_on_a_schedule_is_held_to_the_permissions_of_its_pack() {
    let scheduled = pieces().trigger("core.schedule").scheduled_rule("demo.hourly", "other.work", every(3_600_000));
    let mut site = Site::with(&scheduled);
    permit(&mut site, "demo", Some(&[])).then(&["pack.permissions_set"]);
    let fired = site.after(3_600_000);
    assert!(outcomes(&fired)[0].starts_with("demo.hourly rejected: not_permitted"), "{:?}", fired.kinds());
}

#[test]
fn step_of_a_workflow_fails_if_its_pack_may_not_run_the_action() {
    let mut site = site();
    permit(&mut site, "demo", Some(&[])).then(&["pack.permissions_set"]);
    // The rights of the caller do not help: the steps run on those of the pack.
    let flow = site.run("demo.flow");
    let own = step(&site, flow, "demo.own");
    assert_eq!(principal_of(&site, own), Some(Principal::Pack("demo".parse().unwrap())));
    let ended = site.succeed(own);
    kinds_are(&ended, &["attempt.succeeded", "execution.succeeded", "step.failed", "execution.failed"]);
    let (kind, why) = refused_step(&ended).unwrap();
    assert_eq!((kind, why.starts_with("not_permitted: the pack `demo` may not run `other.work`")), (FailureKind::NotPermitted, true));
    // Actions of the own pack, and those without an effect of their own, need no permission.
    let near = site.run("demo.near");
    site.succeed(step(&site, near, "demo.own"));
    site.succeed(step(&site, near, "core.echo"));
    assert_eq!(site.phase(near), None);
}

#[test]
fn undo_needs_the_permission_too() {
    let mut site = site();
    permit(&mut site, "demo", Some(&["actions:execute on action=other.work"]));
    let flow = site.run("demo.undone");
    site.succeed(step(&site, flow, "demo.own"));
    let far = step(&site, flow, "other.work");
    permit(&mut site, "demo", Some(&[]));
    let failed = site.fail(far, FailureKind::ExitCode);
    assert!(failed.facts().any(|fact| matches!(fact, Fact::UndoFailed(fact) if fact.error.kind == FailureKind::NotPermitted)));
}

#[test]
fn permissions_of_the_workflow_count_and_not_those_of_the_pack_that_runs_it() {
    let mut site = Site::with(
        &pieces()
            .workflow("other.inner", [does("far", "third.work")])
            .action("third.work")
            .workflow("demo.outer", [does("in", "other.inner")]),
    );
    permit(&mut site, "demo", Some(&["actions:execute on pack=other"]));
    permit(&mut site, "other", Some(&[]));
    let outer = site.ask("demo.outer");
    assert_eq!(refused_step(&outer).map(|(kind, _)| kind), Some(FailureKind::NotPermitted));
    permit(&mut site, "other", Some(&["actions:execute on pack=third"]));
    let outer = site.ask("demo.outer");
    assert_eq!(refused_step(&outer), None);
}

#[test]
fn workflow_that_runs_as_its_caller_needs_the_rights_of_both() {
    let mut site = site();
    add_ana(&mut site, "action=demo.caller,action=demo.own,action=other.work");
    permit(&mut site, "demo", Some(&["actions:execute on action=other.work"]));
    let request = by_ana(site.request("demo.caller"));
    let flow = execution(&site.when(request.clone()));
    assert_eq!(principal_of(&site, flow), Some(Principal::Identity(identity())));
    let first = step(&site, flow, "demo.own");
    assert_eq!(principal_of(&site, first), Some(Principal::Identity(identity())), "the caller");
    site.succeed(first);
    assert_eq!(principal_of(&site, step(&site, flow, "other.work")), Some(Principal::Identity(identity())));

    // The pack may, and the caller may not.
    site.when(asked_by(Actor::Operator, Ask::RemoveGrant(GrantId(Id::root(NOON, 902))))).then(&["grant.removed"]);
    grant(&mut site, 903, "action=demo.caller,action=demo.own");
    let flow = execution(&site.when(request.clone()));
    let refused = site.succeed(step(&site, flow, "demo.own"));
    let (kind, why) = refused_step(&refused).unwrap();
    assert_eq!(kind, FailureKind::NotPermitted);
    assert!(why.contains(&format!("identity/{} may not run `other.work`", identity())), "{why}");

    // The caller may, and the pack may not.
    grant(&mut site, 904, "action=other.work");
    permit(&mut site, "demo", Some(&[]));
    let flow = execution(&site.when(request));
    let refused = site.succeed(step(&site, flow, "demo.own"));
    assert!(refused_step(&refused).unwrap().1.contains("the pack `demo` may not run"));
}

#[test]
fn disabled_identity_starts_no_further_step_and_nobody_takes_its_place() {
    let mut site = site();
    add_ana(&mut site, "pack=demo,pack=other");
    let request = by_ana(site.request("demo.caller"));
    let flow = execution(&site.when(request));
    let first = step(&site, flow, "demo.own");
    site.when(asked_by(Actor::Operator, Ask::SetIdentityStanding { id: identity(), standing: Standing::Disabled }))
        .then(&["identity.disabled"]);
    let ended = site.succeed(first);
    kinds_are(&ended, &["attempt.succeeded", "execution.succeeded", "step.failed", "execution.failed"]);
    assert_eq!(refused_step(&ended).unwrap().0, FailureKind::NotPermitted);

    // A rerun by somebody else runs on the rights of that caller.
    let rerun = site.rerun_of(flow, RerunFrom::Failed, None).unwrap();
    let again = execution(&site.when(rerun));
    assert_eq!(principal_of(&site, again), Some(Principal::Token("ana".into())));
    assert_eq!(site.phase(again), None, "there is no such token");
}

#[test]
fn rule_that_runs_a_workflow_as_its_caller_is_the_caller() {
    let as_caller = pieces().rule("demo.runs_caller", "demo.ping", "event.payload.n == 4", "demo.caller");
    let mut site = Site::with(&as_caller);
    site.receive("demo.ping", &json!({ "n": 4 }));
    let flow = *site.engine().executions().iter().find(|(_, execution)| execution.action.as_str() == "demo.caller").unwrap().0;
    let first = step(&site, flow, "demo.own");
    assert_eq!(principal_of(&site, first), Some(Principal::Pack("demo".parse().unwrap())));
    permit(&mut site, "demo", Some(&[]));
    assert_eq!(refused_step(&site.succeed(first)).unwrap().0, FailureKind::NotPermitted);
}

#[test]
fn attempt_emits_events_of_other_packs_only_if_its_pack_may() {
    let mut site = site();
    permit(&mut site, "demo", Some(&[]));
    let own = site.run("demo.own");
    site.emit(own, "demo.ping", &json!({ "n": 0 })).then(&["attempt.succeeded", "event.received", "execution.succeeded"]);
    let own = site.run("demo.own");
    let refused = site.emit(own, "other.ping", &json!({}));
    kinds_are(&refused, &["attempt.failed", "execution.failed"]);
    assert!(refused.facts().any(|fact| matches!(fact, Fact::AttemptFailed(fact) if fact.error.kind == FailureKind::NotPermitted)));
    permit(&mut site, "demo", Some(&["events:write on pack=other"]));
    let own = site.run("demo.own");
    site.emit(own, "other.ping", &json!({})).then(&["attempt.succeeded", "event.received", "execution.succeeded"]);
}

#[test]
fn result_of_an_attempt_that_may_not_emit_is_not_kept() {
    let mut site = site();
    permit(&mut site, "demo", Some(&[]));
    let own = site.run("demo.own");
    let attempt = site.attempt(own);
    let event = site.emitted_event(attempt.id, "other.ping", &json!({}));
    let refused = site.when(report_giving_and_emitting(own, attempt, Body::json(&b"{\"n\":1}"[..]), event));
    kinds_are(&refused, &["attempt.failed", "execution.failed"]);
    assert!(refused.records().iter().all(|record| record.body.is_none()), "{:?}", refused.kinds());
}

#[test]
fn message_of_an_attempt_with_an_event_of_another_pack_is_rejected() {
    let mut site = site();
    permit(&mut site, "demo", Some(&[]));
    let own = site.run("demo.own");
    let attempt = site.attempt(own);
    let event = site.emitted_event(attempt.id, "other.ping", &json!({}));
    let why = "not_permitted: pack/demo may not emit `other.ping`; it needs `events:write on pack=other`";
    site.when(take_message(own, attempt, 0, MessageContent::Event(Box::new(event)))).then_refused(&Refusal::EmitNotPermitted(why.into()));
}

#[test]
fn core_emit_emits_on_the_rights_of_whoever_asked_for_it() {
    let emits = pieces().action_with("core.emit", |action| action.run = Run::Builtin(ensue_engine::catalog::Builtin::Emit));
    let mut site = Site::with(&emits.workflow("demo.tells", [does("tell", "core.emit")]));
    permit(&mut site, "demo", Some(&[]));
    let flow = site.run("demo.tells");
    let tell = step(&site, flow, "core.emit");
    assert!(site.emit(tell, "other.ping", &json!({})).kinds().contains(&"attempt.failed"));
    let flow = site.run("demo.tells");
    let tell = step(&site, flow, "core.emit");
    assert!(site.emit(tell, "demo.ping", &json!({ "n": 0 })).kinds().contains(&"event.received"));
    // Ana may run it, and may not send events of the other pack.
    add_ana(&mut site, "action=core.emit");
    let request = by_ana(site.request("core.emit"));
    let tell = execution(&site.when(request));
    assert!(site.emit(tell, "other.ping", &json!({})).kinds().contains(&"attempt.failed"));
    grant(&mut site, 905, "pack=other");
    let request = by_ana(site.request("core.emit"));
    let tell = execution(&site.when(request));
    assert!(site.emit(tell, "other.ping", &json!({})).kinds().contains(&"event.received"));
}

#[test]
fn sensor_creates_events_of_other_packs_only_if_its_pack_may() {
    let mut site = Site::with(&pieces().timer("demo.clock", "other.ping", every(60_000), Some(&json!({}))));
    permit(&mut site, "demo", Some(&[]));
    assert!(site.after(60_000).kinds().contains(&"delivery.refused"));
    let event = site.event("other.ping", &json!({}));
    let delivered = asked_by(Actor::Sensor("demo.hook".parse().unwrap()), Ask::ReceiveEvents(vec![event]));
    assert!(matches!(site.when(delivered).result(), Err(Refusal::EmitNotPermitted(_))));
    permit(&mut site, "demo", Some(&["events:write on pack=other"]));
    site.later(60_000);
    assert!(site.when(fire_timers()).kinds().contains(&"event.received"));
}

#[test]
fn pack_whose_name_begins_that_of_another_is_not_the_other() {
    let pack = "demo";
    for other in ["demos", "demo_two", "dem"] {
        let own = |name: &str| format!("{pack}.{name}");
        let far = |name: &str| format!("{other}.{name}");
        let pieces = Pieces::default()
            .trigger(&own("pushed"))
            .trigger(&far("pushed"))
            .action(&own("work"))
            .action(&far("work"))
            .workflow(&own("flow"), [does("far", &far("work"))])
            .rule(&own("runs"), &own("pushed"), "", &far("work"))
            .timer(&own("clock"), &far("pushed"), every(60_000), Some(&json!({})))
            .timer(&own("watch"), &own("pushed"), every(3_600_000), Some(&json!({})));
        let mut site = Site::with(&pieces);
        site.set(crate::support::workers(20));
        let delivered = |site: &mut Site, trigger: &str| {
            let event = site.event(trigger, &json!({}));
            let sensor = own("hook").parse().unwrap();
            site.when(asked_by(Actor::Sensor(sensor), Ask::ReceiveEvents(vec![event]))).result().clone().map(drop)
        };
        let of_itself = [format!("events:write on pack={pack}"), format!("actions:execute on pack={pack}")];
        for permissions in [&[][..], &of_itself.each_ref().map(String::as_str)] {
            permit(&mut site, pack, Some(permissions)).then(&["pack.permissions_set"]);
            let timed = site.after(60_000);
            assert!(
                timed.kinds().contains(&"delivery.refused") && !timed.kinds().contains(&"event.received"),
                "{other}: {:?}",
                timed.kinds()
            );
            assert!(matches!(delivered(&mut site, &far("pushed")), Err(Refusal::EmitNotPermitted(_))), "{other}");
            let work = site.run(&own("work"));
            assert!(site.emit(work, &far("pushed"), &json!({})).kinds().contains(&"attempt.failed"), "{other}");
            let ruled = outcomes(&site.receive(&own("pushed"), &json!({})));
            assert!(ruled[0].contains("not_permitted"), "{other}: {ruled:?}");
            let stepped = refused_step(&site.ask(&own("flow")));
            assert_eq!(stepped.map(|(kind, _)| kind), Some(FailureKind::NotPermitted), "{other}");
        }
        let timed = site.after(3_600_000);
        assert!(timed.kinds().contains(&"event.received"), "{other}: its own trigger");
        assert_eq!(delivered(&mut site, &own("pushed")), Ok(()));
        let work = site.run(&own("work"));
        assert!(site.emit(work, &own("pushed"), &json!({})).kinds().contains(&"event.received"), "{other}");
    }
}

#[test]
fn permissions_that_stay_the_same_are_recorded_once() {
    let mut site = site();
    let revision = site.engine().catalog_revision();
    permit(&mut site, "demo", None).then(&[]);
    permit(&mut site, "demo", Some(&["events:write on pack=other"])).then(&["pack.permissions_set"]);
    permit(&mut site, "demo", Some(&["events:write on pack=other"])).then(&[]);
    permit(&mut site, "demo", None).then(&["pack.permissions_set"]);
    assert_eq!(site.engine().catalog_revision(), revision, "the catalog is the same");
    assert_eq!(outcomes(&site.receive("demo.ping", &json!({ "n": 1 }))), ["demo.runs_far executed"]);
}

#[test]
fn retry_of_a_dead_letter_runs_on_the_rights_of_the_failed_execution() {
    let mut site = site();
    add_ana(&mut site, "pack=demo,pack=other");
    let request = by_ana(site.request("demo.own"));
    let own = execution(&site.when(request));
    site.fail(own, FailureKind::ExitCode);
    let mut retry = site.rerun_of(own, RerunFrom::Start, None).unwrap();
    if let Ask::RequestExecution(ask) = &mut retry.ask {
        ask.rerun.as_mut().unwrap().principal = principal_of(&site, own);
    }
    let again = execution(&site.when(retry));
    assert_eq!(principal_of(&site, again), Some(Principal::Identity(identity())), "and not on those of the token `ana`");
}
