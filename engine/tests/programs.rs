//! Programs that call the API with the token of their attempt: for whom they act, in which chain, and until when.

use ensue_engine::access::facts::IdentityKind;
use ensue_engine::access::limit::Target;
use ensue_engine::access::permission::Permission;
use ensue_engine::access::principal::Principal;
use ensue_engine::access::rights::{Reach, Rights};
use ensue_engine::access::state::Standing;
use ensue_engine::access::state::effective_rights::NotHeld;
use ensue_engine::access::subject::Subject;
use ensue_engine::catalog::RunAs;
use ensue_engine::command::{Answer, Ask, Command, NewGrant, Refusal};
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::executions::program::rights_of_program;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, GrantId, Id, IdentityId, TokenId};
use ensue_engine::record::{Actor, AttemptOf, CredentialId, DEPTH_MAX};
use ensue_test_support::NOON;
use ensue_test_support::spec::Outcome;
use serde_json::json;

use crate::support::site::receive_events;
use crate::support::workflow::does;
use crate::support::{Pieces, Site, asked_by, permit_at, workers};

fn site() -> Site {
    let pieces = Pieces::default()
        .trigger("demo.ping")
        .action("demo.own")
        .action("other.work")
        .workflow("demo.flow", [does("far", "other.work")])
        .workflow("demo.caller", [does("far", "other.work")])
        .change_action("demo.caller", |action| action.run_as = RunAs::Caller);
    let mut site = Site::with(&pieces);
    site.set(workers(40));
    site
}

fn permit(site: &mut Site, pack: &str, permissions: Option<&[&str]>) {
    let command = permit_at(site.engine().catalog_revision(), pack, permissions);
    site.when(command).then(&["pack.permissions_set"]);
}

fn identity() -> IdentityId {
    IdentityId(Id::root(NOON, 900))
}

/// Adds ana, who may run the actions of the two packs.
fn add_ana(site: &mut Site) -> Actor {
    let add = Ask::AddIdentity { id: identity(), kind: IdentityKind::Person, groups: Vec::new() };
    site.when(asked_by(Actor::Operator, add)).then(&["identity.added"]);
    let grant = NewGrant {
        id: GrantId(Id::root(NOON, 902)),
        subject: Subject::Identity(identity()),
        role: "author".parse().unwrap(),
        on: Some("pack=demo,pack=other".parse().unwrap()),
        until: None,
    };
    site.when(asked_by(Actor::Operator, Ask::AddGrant(grant))).then(&["grant.added"]);
    Actor::Identity { id: identity(), by: CredentialId::Token(TokenId(Id::root(NOON, 901))) }
}

/// Returns the program of the current attempt.
fn program(site: &Site, execution: ExecutionId) -> Actor {
    Actor::Execution(AttemptOf { execution, number: site.attempt(execution).number })
}

fn by(actor: &Actor, command: Command) -> Command {
    Command { actor: actor.clone(), ..command }
}

fn requests(site: &mut Site, actor: &Actor, action: &str) -> Outcome {
    let request = site.request(action);
    site.when(by(actor, request))
}

fn expect_dispatch(outcome: &Outcome) -> Dispatch {
    let found = outcome.effects().iter().find_map(|effect| match effect {
        Effect::Dispatch(dispatch) => Some((**dispatch).clone()),
        _ => None,
    });
    found.expect("an attempt began")
}

fn rights(site: &Site, dispatch: &Dispatch) -> Result<Rights, NotHeld> {
    let engine = site.engine();
    let of = (&dispatch.action.pack(), dispatch.caller.as_ref());
    rights_of_program(engine.access(), engine.packs(), of, NOON).map(|held| held.rights)
}

fn principal_of(site: &Site, id: ExecutionId) -> Option<Principal> {
    let record = site.of_stream(id).into_iter().next()?;
    let Fact::ExecutionRequested(fact) = record.fact else { return None };
    fact.principal(&record.actor)
}

#[track_caller]
fn execution(outcome: &Outcome) -> ExecutionId {
    let Answer::Execution(id) = outcome.answer() else { panic!("an execution was asked for") };
    id
}

#[test]
fn program_acts_for_its_pack_and_never_for_whoever_ran_it() {
    let mut site = site();
    let ana = add_ana(&mut site);
    let dispatch = expect_dispatch(&requests(&mut site, &ana, "demo.own"));
    assert_eq!(dispatch.caller, None);
    let none_listed = rights(&site, &dispatch).unwrap();
    assert_eq!(none_listed.reach(Permission::RulesRead), None, "ana may, and her rights do not count");
    assert!(none_listed.include(Permission::EventsWrite, &Target::in_pack_of("demo.ping")), "its own events");
    assert!(!none_listed.include(Permission::ActionsExecute, &Target::of_action("other.work")), "a pack that lists nothing");
    assert_eq!(none_listed.reach(Permission::ExecutionsRead), Some(Reach::Itself));

    permit(&mut site, "demo", Some(&["actions:execute on action=other.work", "vars:write", "tokens:write"]));
    let listed = rights(&site, &dispatch).unwrap();
    assert!(listed.include(Permission::ActionsExecute, &Target::of_action("other.work")));
    assert_eq!(listed.reach(Permission::VarsWrite), Some(Reach::All));
    assert_eq!(listed.reach(Permission::TokensWrite), None, "no program creates credentials, whatever its pack lists");
}

#[test]
fn step_of_a_workflow_acts_for_its_own_pack_and_for_the_caller_only_if_it_runs_as_the_caller() {
    let mut site = site();
    let ana = add_ana(&mut site);
    permit(&mut site, "other", Some(&["vars:read", "events:read"]));
    let plain = expect_dispatch(&requests(&mut site, &ana, "demo.flow"));
    assert_eq!((plain.action.as_str(), &plain.caller), ("other.work", &None));
    assert_eq!(rights(&site, &plain).unwrap().reach(Permission::VarsRead), Some(Reach::All));

    let careful = expect_dispatch(&requests(&mut site, &ana, "demo.caller"));
    assert_eq!(careful.caller, Some(Principal::Identity(identity())));
    let both = rights(&site, &careful).unwrap();
    assert_eq!(both.reach(Permission::VarsRead), None, "the grant of ana is limited, so it has no vars");
    assert_eq!(both.reach(Permission::EventsRead), Some(Reach::Limited));
    assert!(both.include(Permission::EventsRead, &Target::in_pack_of("demo.ping")));
    site.when(asked_by(Actor::Operator, Ask::SetIdentityStanding { id: identity(), standing: Standing::Disabled }));
    assert_eq!(rights(&site, &careful), Err(NotHeld::Disabled));
    assert!(rights(&site, &plain).is_ok(), "the other acts for its pack");
}

#[test]
fn what_a_program_requests_belongs_to_the_chain_of_its_execution() {
    let mut site = site();
    let own = site.run("demo.own");
    let actor = program(&site, own);
    let attempt = site.attempt(own);
    let event = site.event("demo.ping", &json!({}));
    let sent = site.when(by(&actor, receive_events(vec![event])));
    let event = &sent.records()[0];
    assert_eq!((&event.actor, event.cause.root, event.cause.depth), (&actor, own.0, 1));
    assert_eq!(event.cause.parent, Some(attempt.id.0));
    let requested = requests(&mut site, &actor, "other.work");
    assert_eq!(requested.records()[0].cause.root, own.0);
    assert_eq!(principal_of(&site, execution(&requested)), Some(Principal::Pack("demo".parse().unwrap())));
}

#[test]
fn execution_that_a_program_of_a_careful_workflow_requests_runs_on_the_rights_of_the_caller() {
    let mut site = site();
    let ana = add_ana(&mut site);
    let dispatch = expect_dispatch(&requests(&mut site, &ana, "demo.caller"));
    let actor = program(&site, dispatch.execution);
    let requested = requests(&mut site, &actor, "demo.own");
    assert_eq!(principal_of(&site, execution(&requested)), Some(Principal::Identity(identity())));
}

#[test]
fn nothing_is_accepted_from_a_program_whose_attempt_does_not_run() {
    let mut site = site();
    let own = site.run("demo.own");
    let (actor, attempt) = (program(&site, own), site.attempt(own));
    let next = Actor::Execution(AttemptOf { execution: own, number: 2 });
    let request = site.request("demo.own");
    assert!(matches!(site.when(by(&next, request.clone())).result(), Err(Refusal::NotRunning(_))), "an attempt that was never made");
    site.fail(own, FailureKind::ExitCode);
    site.when(by(&actor, request.clone())).then_refused(&Refusal::NotRunning(attempt.id));

    let own = site.run("demo.own");
    let (actor, attempt) = (program(&site, own), site.attempt(own));
    site.when(asked_by(Actor::Operator, Ask::CancelExecution { execution: own }));
    assert!(site.phase(own).is_some(), "it is still being stopped");
    site.when(by(&actor, request)).then_refused(&Refusal::NotRunning(attempt.id));
}

#[test]
fn programs_that_request_each_other_without_end_are_stopped() {
    let mut site = site();
    let mut own = site.run("demo.own");
    for _ in 0..DEPTH_MAX {
        let actor = program(&site, own);
        let requested = requests(&mut site, &actor, "demo.own");
        own = execution(&requested);
    }
    let actor = program(&site, own);
    let refused = requests(&mut site, &actor, "demo.own");
    refused.then_refused(&Refusal::TooDeep { max: DEPTH_MAX });
}
