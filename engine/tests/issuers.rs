//! Identities that log in through issuers: they are added once, their groups follow the issuer, and nobody passes on
//! by a link what they may not do.

use ensue_engine::access::facts::IdentityKind;
use ensue_engine::access::issuers::ADDED_IN_A_DAY_MAX;
use ensue_engine::access::permission::Permission;
use ensue_engine::access::rights::Reach;
use ensue_engine::access::subject::Subject;
use ensue_engine::command::{Admission, AdmittedIdentity, Ask, Command, IssuerGroups, NewGrant, NewSession, NewToken, Refusal};
use ensue_engine::ids::{GrantId, Id, IdentityId, SessionId, TokenId};
use ensue_engine::names::{GroupName, IssuerName};
use ensue_engine::record::{Actor, CredentialId};
use ensue_engine::time::Timestamp;
use ensue_test_support::NOON;
use ensue_test_support::spec::Spec;

use crate::support::asked_by;

const DAY_MILLIS: u64 = 24 * 3_600_000;

fn issuer() -> IssuerName {
    "corp".parse().unwrap()
}

fn identity(number: u128) -> IdentityId {
    IdentityId(Id::root(NOON, number))
}

fn groups(names: &[&str]) -> Vec<GroupName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn admit(id: IdentityId, admission: Admission, said: Option<(&[&str], Timestamp)>) -> Command {
    let groups = said.map(|(names, said_at)| IssuerGroups { groups: groups(names), said_at });
    asked_by(Actor::Engine, Ask::AdmitIdentity(AdmittedIdentity { id, issuer: issuer(), admission, groups }))
}

fn new(number: u128, said: Option<(&[&str], Timestamp)>) -> Command {
    admit(identity(number), Admission::New(IdentityKind::Person), said)
}

fn admit_known(number: u128, said: Option<(&[&str], Timestamp)>) -> Command {
    admit(identity(number), Admission::Known, said)
}

fn by_operator(ask: Ask) -> Command {
    asked_by(Actor::Operator, ask)
}

fn add_grant(number: u128, subject: Subject, role: &str) -> Command {
    let grant = NewGrant { id: GrantId(Id::root(NOON, number)), subject, role: role.parse().unwrap(), on: None, until: None };
    by_operator(Ask::AddGrant(grant))
}

fn token(number: u128, name: &str, identity: IdentityId) -> Command {
    let token = NewToken { identity: Some(identity), ..NewToken::with_roles(TokenId(Id::root(NOON, number)), name, Vec::new()) };
    by_operator(Ask::AddToken(token))
}

fn groups_of(spec: &Spec, number: u128) -> Vec<String> {
    spec.engine().access().identity(&identity(number)).unwrap().groups().map(ToString::to_string).collect()
}

#[test]
fn issuer_adds_an_identity_once_and_sets_its_groups_when_they_change() {
    let mut spec = Spec::default();
    spec.when(new(1, Some((&["corp:ops", "corp:release"], NOON)))).then(&["identity.added", "identity.groups_set"]);
    // Two first requests at once.
    spec.when(new(1, Some((&["corp:release", "corp:ops"], NOON)))).then(&[]);
    spec.when(admit_known(1, Some((&["corp:ops"], NOON)))).then(&["identity.groups_set"]);
    assert_eq!(groups_of(&spec, 1), ["corp:ops"]);
    spec.when(admit_known(2, None)).then_refused(&Refusal::NoIdentity(identity(2).to_string()));
    spec.when(new(2, Some((&[], NOON)))).then(&["identity.added"]);
}

#[test]
fn claim_that_is_absent_keeps_the_groups_and_an_empty_one_removes_them() {
    let mut spec = Spec::default().given_commands([new(1, Some((&["corp:ops"], NOON)))]);
    spec.when(admit_known(1, None)).then(&[]);
    assert_eq!(groups_of(&spec, 1), ["corp:ops"]);
    spec.when(admit_known(1, Some((&[], NOON)))).then(&["identity.groups_set"]);
    assert!(groups_of(&spec, 1).is_empty());
}

#[test]
fn groups_of_an_issuer_and_local_ones_do_not_replace_each_other() {
    let set = |names: &[&str]| by_operator(Ask::SetIdentityGroups { id: identity(1), groups: groups(names) });
    let mut spec = Spec::default().given_commands([new(1, Some((&["corp:ops"], NOON))), set(&["oncall"])]);
    assert_eq!(groups_of(&spec, 1), ["oncall", "corp:ops"]);
    spec.when(admit_known(1, Some((&["corp:dev"], NOON)))).then(&["identity.groups_set"]);
    assert_eq!(groups_of(&spec, 1), ["oncall", "corp:dev"]);
    spec.when(set(&[])).then(&["identity.groups_set"]);
    assert_eq!(groups_of(&spec, 1), ["corp:dev"]);
}

#[test]
fn token_from_before_a_change_does_not_bring_a_group_back() {
    let later = NOON.plus_millis(60_000);
    let mut spec = Spec::default().given_commands([new(1, Some((&["corp:ops"], NOON))), admit_known(1, Some((&[], later)))]);
    spec.when(admit_known(1, Some((&["corp:ops"], NOON)))).then(&[]);
    assert!(groups_of(&spec, 1).is_empty());
    spec.when(admit_known(1, Some((&["corp:ops"], later.plus_millis(1))))).then(&["identity.groups_set"]);
}

#[test]
fn groups_of_an_issuer_carry_their_grants() {
    let group = Subject::Group("corp:ops".parse().unwrap());
    let mut spec = Spec::default().given_commands([new(1, Some((&["corp:ops"], NOON))), add_grant(5, group, "viewer")]);
    let reach = |spec: &Spec| spec.engine().access().rights_of(identity(1), NOON).unwrap().rights.reach(Permission::EventsRead);
    assert_eq!(reach(&spec), Some(Reach::All));
    spec.when(admit_known(1, Some((&[], NOON)))).then(&["identity.groups_set"]);
    assert_eq!(reach(&spec), None);
}

#[test]
fn issuer_adds_a_thousand_identities_a_day() {
    let mut spec = Spec::default().given_commands((0..u128::from(ADDED_IN_A_DAY_MAX)).map(|number| new(number, None)));
    let full = Refusal::LimitReached { what: "new identities of this issuer today", max: 1_000 };
    spec.when(new(5_000, None)).then_refused(&full);
    spec.when(admit_known(7, Some((&["corp:ops"], NOON)))).then(&["identity.groups_set"]);
    let other = AdmittedIdentity {
        id: identity(5_001),
        issuer: "other".parse().unwrap(),
        admission: Admission::New(IdentityKind::Service),
        groups: None,
    };
    spec.when(asked_by(Actor::Engine, Ask::AdmitIdentity(other))).then(&["identity.added"]);
    let yesterday = IdentityId(Id::root(NOON.minus_millis(DAY_MILLIS), 1));
    spec.when(admit(yesterday, Admission::New(IdentityKind::Person), None)).then_refused(&full);
    let tomorrow = IdentityId(Id::root(NOON.plus_millis(DAY_MILLIS), 1));
    spec.when(admit(tomorrow, Admission::New(IdentityKind::Person), None)).then(&["identity.added"]);
}

#[test]
fn link_needs_all_that_the_identity_may_do_and_its_end_takes_the_groups_away() {
    let ana = Actor::Identity { id: identity(1), by: CredentialId::Token(TokenId(Id::root(NOON, 21))) };
    let add = |number| by_operator(Ask::AddIdentity { id: identity(number), kind: IdentityKind::Person, groups: Vec::new() });
    let mut spec = Spec::default().given_commands([
        add(1),
        add(2),
        token(21, "laptop", identity(1)),
        add_grant(5, Subject::Identity(identity(1)), "viewer"),
        add_grant(6, Subject::Identity(identity(2)), "admin"),
    ]);
    let link = |number| Ask::LinkIdentity { id: identity(number), issuer: issuer() };
    let unlink = |number| Ask::UnlinkIdentity { id: identity(number), issuer: issuer() };
    spec.when(asked_by(ana, link(2))).then_refused(&Refusal::BeyondOwnRights("actions:execute".to_owned()));
    spec.when(by_operator(link(9))).then_refused(&Refusal::NoIdentity(identity(9).to_string()));
    spec.when(by_operator(link(2))).then(&["identity.linked"]);
    spec.when(by_operator(link(2))).then_refused(&Refusal::LinkedBefore { issuer: issuer() });
    spec.when(admit_known(2, Some((&["corp:ops"], NOON)))).then(&["identity.groups_set"]);
    spec.when(by_operator(unlink(2))).then(&["identity.unlinked"]);
    assert!(groups_of(&spec, 2).is_empty());
    spec.when(admit_known(2, None)).then_refused(&Refusal::NoIdentity(identity(2).to_string()));
    spec.when(by_operator(unlink(2))).then_refused(&Refusal::NotLinked { issuer: issuer() });
    spec.when(by_operator(unlink(9))).then_refused(&Refusal::NoIdentity(identity(9).to_string()));
}

#[test]
fn group_of_an_issuer_makes_nobody_the_last_admin() {
    let root = NewToken::with_roles(TokenId(Id::root(NOON, 20)), "root", vec!["admin".into()]);
    let group = Subject::Group("corp:admins".parse().unwrap());
    let mut spec = Spec::default().given_commands([
        by_operator(Ask::AddToken(root)),
        new(1, Some((&["corp:admins"], NOON))),
        add_grant(5, group, "admin"),
        token(21, "laptop", identity(1)),
    ]);
    let revoke = by_operator(Ask::RevokeToken { name: "root".to_owned() });
    spec.when(revoke).then_refused(&Refusal::LastAdmin("root".to_owned()));
    spec.when(admit_known(1, Some((&[], NOON)))).then(&["identity.groups_set"]);
}

#[test]
fn unlinking_an_issuer_ends_the_sessions_that_came_in_by_it() {
    let mut spec = Spec::default().given_commands([new(1, None), new(2, None)]);
    let opened = |number: u128, of: u128, way: &str| {
        let id = SessionId(Id::root(NOON, number));
        let until = NOON.plus_millis(DAY_MILLIS);
        let session = NewSession {
            id,
            identity: Some(identity(of)),
            way: way.to_owned(),
            credential: None,
            only: None,
            link: None,
            until,
            in_place_of: None,
        };
        by_operator(Ask::OpenSession(session))
    };
    for session in [opened(11, 1, "oidc/corp"), opened(12, 1, "oidc/corpus"), opened(13, 1, "password"), opened(14, 2, "oidc/corp")] {
        spec.when(session).then(&["session.opened"]);
    }
    spec.when(by_operator(Ask::UnlinkIdentity { id: identity(1), issuer: issuer() })).then(&["identity.unlinked", "session.ended"]);
    let access = spec.engine().access();
    let open: Vec<_> = access.sessions().map(|(id, _)| *id).collect();
    assert_eq!(open, [12, 13, 14].map(|number| SessionId(Id::root(NOON, number))));
}
