//! Keys and tokens: versions are assigned once, a rotation overlaps, an expiry is reported once, names are
//! unique, and the last admin token cannot be removed.

use ensue_engine::access::decide::REPLACED_MAX;
use ensue_engine::access::facts::{CredentialChange, CredentialKind, IdentityKind};
use ensue_engine::access::keys::state::{KeyVersions, PreviousVersion};
use ensue_engine::access::keys::{MasterKeyId, OVERLAP_MILLIS_MAX, WARNED_BEFORE_MILLIS};
use ensue_engine::access::limit::Target;
use ensue_engine::access::permission::Permission;
use ensue_engine::access::rights::{Reach, Rights};
use ensue_engine::access::scope::Scope;
use ensue_engine::access::sessions::SESSIONS_OF_IDENTITY_MAX;
use ensue_engine::access::state::Standing;
use ensue_engine::access::state::effective_rights::{EffectiveRights, NotHeld};
use ensue_engine::access::subject::Subject;
use ensue_engine::command::{
    Ask, ChangedCredential, Command, DeclaredAccess, KeyRotation, NewAbsence, NewGrant, NewLoginLink, NewSession, NewToken, OpenedLink,
    Refusal, RotatedToken,
};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{GrantId, Id, IdentityId, InquiryId, LinkId, SessionId, TokenId};
use ensue_engine::names::{KeyRef, RoleName};
use ensue_engine::record::{Actor, CredentialId};
use ensue_engine::state::State;
use ensue_engine::time::Timestamp;
use ensue_test_support::NOON;
use ensue_test_support::spec::Spec;
use proptest::prelude::*;

use crate::support::{ana, asked_by};

fn key() -> KeyRef {
    "demo.secret".parse().unwrap()
}

fn set_key(version: u32) -> Command {
    asked_by(ana(), Ask::SetKey { key: key(), version, expires_at: None })
}

fn remove_key() -> Command {
    asked_by(ana(), Ask::RemoveKey { key: key() })
}

fn add(number: u128, name: &str, roles: &[&str]) -> Command {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    asked_by(Actor::Operator, Ask::AddToken(NewToken::with_roles(TokenId(Id::root(NOON, number)), name, roles)))
}

fn revoke(name: &str) -> Command {
    asked_by(ana(), Ask::RevokeToken { name: name.to_owned() })
}

fn names(spec: &Spec) -> Vec<&str> {
    spec.engine().access().tokens().map(|(_, token)| token.name.as_str()).collect()
}

#[test]
fn newest_version_of_a_key_is_in_use() {
    let mut spec = Spec::default();
    spec.when(set_key(1)).then(&["key.set"]);
    spec.when(set_key(3)).then(&["key.set"]);
    assert_eq!(spec.engine().access().key(&key()), Some(KeyVersions::set(3)));
}

#[test]
fn key_version_is_used_once_even_after_the_key_was_removed() {
    let mut spec = Spec::default().given_commands([set_key(2)]);
    for given in [1, 2] {
        spec.when(set_key(given)).then_refused(&Refusal::KeyVersion { key: key(), now: 2, given });
    }
    spec.when(remove_key()).then(&["key.removed"]);
    assert_eq!(spec.engine().access().key(&key()), Some(KeyVersions { newest: 2, ..KeyVersions::default() }));
    spec.when(set_key(2)).then_refused(&Refusal::KeyVersion { key: key(), now: 2, given: 2 });
    spec.when(set_key(3)).then(&["key.set"]);
}

#[test]
fn unset_key_cannot_be_removed() {
    let mut spec = Spec::default();
    spec.when(remove_key()).then_refused(&Refusal::NoKey(key()));
    let mut spec = spec.given_commands([set_key(1), remove_key()]);
    spec.when(remove_key()).then_refused(&Refusal::NoKey(key()));
}

const DAY_MILLIS: u64 = 24 * 3_600_000;

fn expiring_key(version: u32, expires_at: Timestamp) -> Command {
    asked_by(ana(), Ask::SetKey { key: key(), version, expires_at: Some(expires_at) })
}

fn rotate_key(version: u32, overlap_millis: u64) -> Command {
    asked_by(ana(), Ask::RotateKey(KeyRotation { key: key(), version, overlap_millis, expires_at: None }))
}

fn reveal_key(version: u32) -> Command {
    asked_by(ana(), Ask::RevealKey { key: key(), version })
}

fn fire() -> Command {
    asked_by(Actor::Engine, Ask::FireTimers)
}

#[test]
fn rotation_accepts_the_version_before_it_until_the_overlap_ends() {
    let mut spec = Spec::default().given_commands([set_key(1)]);
    spec.when(rotate_key(2, DAY_MILLIS)).then(&["key.rotated"]);
    let versions = spec.engine().access().key(&key()).unwrap();
    let until = NOON.plus_millis(DAY_MILLIS);
    assert_eq!(versions, KeyVersions { previous: Some(PreviousVersion { version: 1, until }), ..KeyVersions::set(2) });
    assert_eq!(versions.accepted_before(until.minus_millis(1)), Some(1));
    assert_eq!(versions.accepted_before(until), None);
    spec.when(rotate_key(3, 0)).then(&["key.rotated"]);
    assert_eq!(spec.engine().access().key(&key()), Some(KeyVersions::set(3)));
}

#[test]
fn plain_set_and_removal_end_the_overlap_of_a_rotation() {
    for (command, kept) in [(set_key(3), Some(3)), (remove_key(), None)] {
        let spec = Spec::default().given_commands([set_key(1), rotate_key(2, DAY_MILLIS), command]);
        let versions = spec.engine().access().key(&key()).unwrap();
        assert_eq!((versions.current, versions.previous), (kept, None));
    }
}

#[test]
fn rotation_needs_a_key_that_is_set_a_new_version_and_at_most_thirty_days() {
    let mut spec = Spec::default();
    spec.when(rotate_key(1, 0)).then_refused(&Refusal::NoKey(key()));
    let mut spec = spec.given_commands([set_key(1)]);
    spec.when(rotate_key(1, 0)).then_refused(&Refusal::KeyVersion { key: key(), now: 1, given: 1 });
    spec.when(rotate_key(2, OVERLAP_MILLIS_MAX + 1)).then_refused(&Refusal::OverlapTooLong { key: key() });
    spec.when(rotate_key(2, OVERLAP_MILLIS_MAX)).then(&["key.rotated"]);
}

#[test]
fn rotation_of_the_master_key_is_recorded_once() {
    let (first, second) = (MasterKeyId([1; 8]), MasterKeyId([2; 8]));
    let rotated = |from, to| asked_by(Actor::Engine, Ask::NoteMasterKey { from, to });
    let mut spec = Spec::default();
    assert_eq!(spec.engine().access().all_keys().master(), None);
    spec.when(rotated(first, second)).then(&["master_key.rotated"]);
    spec.when(rotated(first, second)).then(&[]);
    spec.when(rotated(second, first)).then(&["master_key.rotated"]);
    assert_eq!(spec.engine().access().all_keys().master(), Some(first));
}

#[test]
fn only_stored_versions_are_revealed() {
    let mut spec = Spec::default();
    spec.when(reveal_key(1)).then_refused(&Refusal::NoKey(key()));
    let mut spec = spec.given_commands([set_key(1), rotate_key(2, DAY_MILLIS)]);
    for version in [1, 2] {
        spec.when(reveal_key(version)).then(&["key.revealed"]);
    }
    spec.when(reveal_key(3)).then_refused(&Refusal::NoKeyVersion { key: key(), version: 3 });
    spec.later(DAY_MILLIS);
    spec.when(reveal_key(1)).then_refused(&Refusal::NoKeyVersion { key: key(), version: 1 });
}

#[test]
fn expiry_is_in_the_future_and_is_reported_once_fourteen_days_before() {
    let mut spec = Spec::default();
    spec.when(expiring_key(1, NOON)).then_refused(&Refusal::KeyExpired { key: key(), expires_at: NOON });
    let expires_at = NOON.plus_millis(WARNED_BEFORE_MILLIS + DAY_MILLIS);
    spec.when(expiring_key(1, expires_at)).then(&["key.set", "key.expiry_set"]);
    assert_eq!(spec.engine().next_due(), Some(NOON.plus_millis(DAY_MILLIS)));
    spec.when(fire()).then(&[]);
    spec.later(DAY_MILLIS);
    spec.when(fire()).then(&["key.expiring"]);
    assert_eq!(spec.engine().next_due(), None);
    spec.later(100 * DAY_MILLIS);
    spec.when(fire()).then(&[]);
}

#[test]
fn expiry_of_a_replaced_version_is_not_reported() {
    for command in [set_key(2), rotate_key(2, DAY_MILLIS), remove_key()] {
        let spec = Spec::default().given_commands([expiring_key(1, NOON.plus_millis(DAY_MILLIS)), command]);
        assert_eq!(spec.engine().next_due(), None);
    }
}

#[test]
fn clock_that_stepped_far_ahead_reports_no_expiry_until_the_step_has_lasted() {
    let (from, to) = (NOON, NOON.plus_millis(100 * DAY_MILLIS));
    let mut spec = Spec::default().given_commands([expiring_key(1, NOON.plus_millis(30 * DAY_MILLIS))]);
    spec.when(asked_by(Actor::Engine, Ask::NoteClockStep { from, to }));
    spec.step_clock(to);
    spec.when(fire()).then(&[]);
    let held_until = spec.engine().next_due().unwrap();
    assert!(held_until > to, "{held_until}");
    spec.when(asked_by(ana(), Ask::AcceptClock));
    spec.when(fire()).then(&["key.expiring"]);
}

#[test]
fn token_name_is_unique_until_the_token_is_revoked() {
    let mut spec = Spec::default().given_commands([add(1, "ana", &["admin"]), add(2, "ben", &[])]);
    spec.when(add(3, "ben", &["admin"])).then_refused(&Refusal::TokenNameTaken("ben".into()));
    spec.when(revoke("ben")).then(&["token.revoked"]);
    spec.when(add(3, "ben", &["admin"])).then(&["token.added"]);
    assert_eq!(names(&spec), ["ana", "ben"]);
}

#[test]
fn last_token_that_can_create_others_cannot_be_revoked() {
    let mut spec = Spec::default().given_commands([add(1, "ana", &["admin"]), add(2, "ben", &["release_managers"])]);
    spec.when(revoke("ana")).then_refused(&Refusal::LastAdmin("ana".into()));
    let mut spec = spec.given_commands([add(3, "cleo", &["viewer", "admin"])]);
    spec.when(revoke("ana")).then(&["token.revoked"]);
    spec.when(revoke("cleo")).then_refused(&Refusal::LastAdmin("cleo".into()));
    spec.when(revoke("ben")).then(&["token.revoked"]);
    assert_eq!(names(&spec), ["cleo"]);
}

#[test]
fn unknown_token_cannot_be_revoked() {
    Spec::default().when(revoke("dora")).then_refused(&Refusal::NoToken("dora".into()));
}

fn identity(number: u128) -> IdentityId {
    IdentityId(Id::root(NOON, 1_000 + number))
}

fn token_of(number: u128, name: &str, identity: IdentityId) -> Command {
    let token = NewToken { identity: Some(identity), ..NewToken::with_roles(TokenId(Id::root(NOON, number)), name, Vec::new()) };
    asked_by(Actor::Operator, Ask::AddToken(token))
}

fn add_identity(id: IdentityId, groups: &[&str]) -> Command {
    let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
    asked_by(Actor::Operator, Ask::AddIdentity { id, kind: IdentityKind::Person, groups })
}

fn grant(number: u128, subject: &Subject, role: &str, on: Option<&str>) -> NewGrant {
    let on = on.map(|on| on.parse().unwrap());
    NewGrant { id: GrantId(Id::root(NOON, 2_000 + number)), subject: subject.clone(), role: role.parse().unwrap(), on, until: None }
}

fn add_grant(grant: NewGrant) -> Command {
    asked_by(Actor::Operator, Ask::AddGrant(grant))
}

fn holder(number: u128, identity: IdentityId) -> Actor {
    Actor::Identity { id: identity, by: CredentialId::Token(TokenId(Id::root(NOON, number))) }
}

fn effective_rights(spec: &Spec, number: u128) -> Result<EffectiveRights, NotHeld> {
    spec.engine().access().effective_rights(&TokenId(Id::root(NOON, number)), spec.engine().time())
}

/// A log with the admin `root`, and `ana` in the group `release` with a token 2.
fn team() -> Spec {
    Spec::default().given_commands([
        add(1, "root", &["admin"]),
        add_identity(identity(1), &["release"]),
        token_of(2, "laptop", identity(1)),
    ])
}

#[test]
fn identity_may_do_what_its_grants_and_those_of_its_groups_carry() {
    let group = Subject::Group("release".parse().unwrap());
    let spec = team().given_commands([
        add_grant(grant(1, &Subject::Identity(identity(1)), "viewer", None)),
        add_grant(grant(2, &group, "author", Some("pack=release"))),
        add_grant(grant(3, &Subject::Group("other".parse().unwrap()), "admin", None)),
    ]);
    let held = effective_rights(&spec, 2).unwrap();
    assert_eq!(held.rights.reach(Permission::EventsRead), Some(Reach::All));
    assert_eq!(held.rights.reach(Permission::ActionsExecute), Some(Reach::Limited));
    assert!(held.rights.include(Permission::ActionsExecute, &Target::of_action("release.ship")));
    assert!(!held.rights.include(Permission::ActionsExecute, &Target::of_action("core.shell")));
    assert_eq!(held.rights.reach(Permission::TokensWrite), None);
    assert_eq!(held.roles, ["release", "viewer"]);
}

#[test]
fn right_with_an_end_is_not_passed_on_beyond_its_end() {
    let until = |millis| Some(NOON.plus_millis(millis));
    let ana = Subject::Identity(identity(1));
    let mut spec = team().given_commands([add_grant(NewGrant { until: until(60_000), ..grant(1, &ana, "admin", None) })]);
    let mut add = |number, until| {
        let grant = NewGrant { until, ..grant(number, &ana, "viewer", None) };
        spec.when(asked_by(holder(2, identity(1)), Ask::AddGrant(grant))).result().clone().map(drop)
    };
    assert_eq!(add(2, until(60_000)), Ok(()));
    let beyond = |refused: Result<(), Refusal>| refused.expect_err("it lasts too long").to_string();
    assert!(beyond(add(3, until(60_001))).contains(" until "), "a later end");
    assert!(beyond(add(4, None)).contains(" without an end"), "no end");
    let token = NewToken {
        scopes: Some(vec!["events:read".parse().unwrap()]),
        ..NewToken::with_roles(TokenId(Id::root(NOON, 9)), "t", Vec::new())
    };
    let asked = |token: NewToken| asked_by(holder(2, identity(1)), Ask::AddToken(token));
    assert!(matches!(spec.when(asked(token.clone())).result(), Err(Refusal::BeyondOwnRights(_))));
    spec.when(asked(NewToken { expires_at: until(60_000), ..token })).then(&["token.added", "token.limited"]);
}

#[test]
fn removed_grant_disabled_identity_and_left_group_end_the_rights() {
    let group = Subject::Group("release".parse().unwrap());
    let mut spec = team().given_commands([add_grant(grant(1, &group, "viewer", None))]);
    assert!(effective_rights(&spec, 2).unwrap().rights.reach(Permission::EventsRead).is_some());
    spec.when(asked_by(Actor::Operator, Ask::SetIdentityGroups { id: identity(1), groups: Vec::new() })).then(&["identity.groups_set"]);
    assert_eq!(effective_rights(&spec, 2).unwrap().rights.reach(Permission::EventsRead), None);
    spec.when(asked_by(Actor::Operator, Ask::SetIdentityStanding { id: identity(1), standing: Standing::Disabled }))
        .then(&["identity.disabled"]);
    assert_eq!(effective_rights(&spec, 2), Err(NotHeld::Disabled));
    spec.when(asked_by(Actor::Operator, Ask::SetIdentityStanding { id: identity(1), standing: Standing::Enabled }))
        .then(&["identity.enabled"]);
    assert!(effective_rights(&spec, 2).is_ok());
    spec.when(asked_by(Actor::Operator, Ask::EraseIdentity(identity(1)))).then(&["token.revoked", "identity.erased"]);
    assert_eq!(effective_rights(&spec, 2), Err(NotHeld::Unknown));
}

#[test]
fn token_allows_nothing_beyond_its_scopes_or_after_its_end() {
    let expires_at = Some(NOON.plus_millis(3_600_000));
    let token = NewToken {
        scopes: Some(vec!["events:write on pack=shop".parse().unwrap()]),
        expires_at,
        ..NewToken::with_roles(TokenId(Id::root(NOON, 2)), "feed", vec!["author".into()])
    };
    let mut spec = Spec::default().given_commands([add(1, "root", &["admin"])]);
    spec.when(asked_by(Actor::Operator, Ask::AddToken(token))).then(&["token.added", "token.limited"]);
    let access = spec.engine().access();
    let id = TokenId(Id::root(NOON, 2));
    let held = access.effective_rights(&id, NOON).unwrap();
    assert_eq!(held.rights.reach(Permission::EventsWrite), Some(Reach::Limited));
    assert_eq!(held.rights.reach(Permission::EventsRead), None);
    assert_eq!(held.valid_until, expires_at);
    assert_eq!(access.effective_rights(&id, NOON.plus_millis(3_599_999)).map(|_| ()), Ok(()));
    assert_eq!(access.effective_rights(&id, NOON.plus_millis(3_600_000)), Err(NotHeld::Expired));
}

#[test]
fn nobody_passes_on_more_than_they_may_do() {
    let mut spec = team().given_commands([
        asked_by(
            Actor::Operator,
            Ask::SetRole {
                name: "deputy".parse().unwrap(),
                permissions: ["tokens:write", "grants:write", "identities:write", "roles:write", "events:read", "inquiries:answer"]
                    .map(|name| Permission::from_name(name).unwrap())
                    .to_vec(),
            },
        ),
        add_grant(grant(1, &Subject::Identity(identity(1)), "deputy", None)),
        add_grant(grant(2, &Subject::Identity(identity(1)), "author", Some("pack=release"))),
        add_grant(grant(3, &Subject::Group("admins".parse().unwrap()), "admin", None)),
    ]);
    let ana = holder(2, identity(1));
    let beyond = |missing: &str| Refusal::BeyondOwnRights(missing.into());
    let by_ana = |ask| asked_by(ana.clone(), ask);
    let of_roles = |roles: &[&str]| {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Ask::AddToken(NewToken::with_roles(TokenId(Id::root(NOON, 9)), "new", roles))
    };
    spec.when(by_ana(of_roles(&["admin"]))).then_refused(&beyond("packs:read"));
    spec.when(by_ana(of_roles(&["deputy"]))).then(&["token.added"]);
    let scoped = NewToken {
        scopes: Some(vec!["actions:execute on pack=release".parse().unwrap()]),
        ..NewToken::with_roles(TokenId(Id::root(NOON, 10)), "deployer", vec!["admin".into()])
    };
    spec.when(by_ana(Ask::AddToken(scoped.clone()))).then(&["token.added", "token.limited"]);
    let wider = NewToken { scopes: Some(vec!["actions:execute".parse().unwrap()]), name: "wider".into(), ..scoped };
    spec.when(by_ana(Ask::AddToken(wider))).then_refused(&beyond("actions:execute"));
    let everyone = Subject::Everyone;
    spec.when(by_ana(Ask::AddGrant(grant(4, &everyone, "author", Some("pack=rel*"))))).then_refused(&beyond("packs:read on pack=rel*"));
    spec.when(by_ana(Ask::AddGrant(grant(4, &everyone, "author", Some("pack=release,action=release.ship"))))).then(&["grant.added"]);
    let role = |permissions: &[Permission]| Ask::SetRole { name: "own".parse().unwrap(), permissions: permissions.to_vec() };
    spec.when(by_ana(role(&[Permission::LogRead]))).then_refused(&beyond("log:read"));
    spec.when(by_ana(role(&[Permission::EventsRead]))).then(&["role.set"]);
    let groups = vec!["admins".parse().unwrap()];
    spec.when(by_ana(Ask::SetIdentityGroups { id: identity(1), groups: groups.clone() })).then_refused(&beyond("packs:read"));
    spec.when(by_ana(Ask::AddIdentity { id: identity(5), kind: IdentityKind::Service, groups })).then_refused(&beyond("packs:read"));
    // A caller that is no longer known passes on nothing.
    spec.when(asked_by(Actor::Token("gone".into()), of_roles(&["viewer"]))).then_refused(&Refusal::TokenNameTaken("new".into()));
    let viewer = NewToken::with_roles(TokenId(Id::root(NOON, 11)), "other", vec!["viewer".into()]);
    spec.when(asked_by(Actor::Token("gone".into()), Ask::AddToken(viewer))).then_refused(&beyond("packs:read"));
}

#[test]
fn caller_that_may_not_answer_inquiries_lets_nobody_else_answer_them() {
    let permissions = ["tokens:write", "grants:write", "identities:write"].map(|name| Permission::from_name(name).unwrap()).to_vec();
    let mut spec = team().given_commands([
        asked_by(Actor::Operator, Ask::SetRole { name: "clerk".parse().unwrap(), permissions }),
        add_grant(grant(1, &Subject::Identity(identity(1)), "clerk", None)),
        add_identity(identity(2), &["oncall"]),
        add_grant(grant(2, &Subject::Identity(identity(2)), "approver", None)),
    ]);
    let by_ana = |ask| asked_by(holder(2, identity(1)), ask);
    let beyond = |missing: &str| Refusal::BeyondOwnRights(missing.into());
    let named = NewToken::with_roles(TokenId(Id::root(NOON, 9)), "new", vec!["release_managers".into()]);
    spec.when(by_ana(Ask::AddToken(named.clone()))).then_refused(&beyond("inquiries:answer"));
    let of_other = NewToken { identity: Some(identity(2)), roles: Vec::new(), ..named };
    spec.when(by_ana(Ask::AddToken(of_other))).then_refused(&beyond("inquiries:read"));
    spec.when(by_ana(Ask::AddGrant(grant(3, &Subject::Everyone, "approver", None)))).then_refused(&beyond("inquiries:read"));
    // Whoever has a role without a limit is asked what asks the role.
    spec.when(by_ana(Ask::AddGrant(grant(3, &Subject::Everyone, "clerk", None)))).then_refused(&beyond("inquiries:answer"));
    let groups = vec!["oncall".parse().unwrap()];
    spec.when(by_ana(Ask::SetIdentityGroups { id: identity(1), groups })).then_refused(&beyond("inquiries:answer"));
}

#[test]
fn rotated_token_stays_valid_for_the_overlap_and_keeps_what_it_allows() {
    let token = NewToken {
        expires_at: Some(NOON.plus_millis(1_000_000)),
        ..NewToken::with_roles(TokenId(Id::root(NOON, 2)), "ci", vec!["author".into()])
    };
    let mut spec = Spec::default().given_commands([add(1, "root", &["admin"]), asked_by(Actor::Operator, Ask::AddToken(token))]);
    let rotate = |successor: u128, overlap: u64, now: Timestamp| {
        let successor = TokenId(Id::root(now, successor));
        asked_by(Actor::Operator, Ask::RotateToken(RotatedToken { name: "ci".into(), successor, until: now.plus_millis(overlap) }))
    };
    spec.when(rotate(3, 60_000, NOON)).then(&["token.added", "token.limited", "token.rotated"]);
    let access = spec.engine().access();
    let (old, new) = (TokenId(Id::root(NOON, 2)), TokenId(Id::root(NOON, 3)));
    assert_eq!(access.token_named("ci").unwrap().0, new);
    assert_eq!(access.token(&new).unwrap().roles, ["author"]);
    assert!(access.token(&new).unwrap().expires_at.unwrap() >= NOON.plus_millis(1_000_000), "the lifetime begins again");
    assert!(
        access.effective_rights(&old, NOON.plus_millis(59_999)).is_ok() && access.effective_rights(&new, NOON.plus_millis(60_000)).is_ok()
    );
    assert_eq!(access.effective_rights(&old, NOON.plus_millis(60_000)), Err(NotHeld::Expired));
    spec.when(revoke("ci")).then(&["token.revoked", "token.revoked"]);
    assert_eq!(spec.engine().access().effective_rights(&old, NOON), Err(NotHeld::Unknown));
}

#[test]
fn rotated_token_ends_with_the_overlap_or_at_its_own_end_before_that() {
    const MINUTE: u64 = 60_000;
    let (old, new) = (TokenId(Id::root(NOON, 2)), TokenId(Id::root(NOON, 3)));
    for (lasts, overlap, ends) in [
        (Some(MINUTE), 60 * MINUTE, MINUTE),
        (Some(60 * MINUTE), MINUTE, MINUTE),
        (Some(MINUTE), MINUTE, MINUTE),
        (None, MINUTE, MINUTE),
        (Some(60 * MINUTE), 0, 0),
    ] {
        let expires_at = lasts.map(|lasts| NOON.plus_millis(lasts));
        let token = NewToken { expires_at, ..NewToken::with_roles(old, "ci", vec!["author".into()]) };
        let rotated = RotatedToken { name: "ci".into(), successor: new, until: NOON.plus_millis(overlap) };
        let spec = Spec::default().given_commands([
            add(1, "root", &["admin"]),
            asked_by(Actor::Operator, Ask::AddToken(token)),
            asked_by(Actor::Operator, Ask::RotateToken(rotated)),
        ]);
        let access = spec.engine().access();
        let end = NOON.plus_millis(ends);
        assert_eq!(access.token(&old).unwrap().expires_at, Some(end), "{lasts:?}, {overlap}");
        assert_eq!(access.effective_rights(&old, end), Err(NotHeld::Expired), "{lasts:?}, {overlap}");
        let before = access.effective_rights(&old, end.minus_millis(1)).unwrap();
        assert_eq!((before.expires_at, before.valid_until), (Some(end), Some(end)), "{lasts:?}, {overlap}");
        assert_eq!(access.token(&new).unwrap().expires_at, expires_at, "the lifetime begins again");
    }
}

#[test]
fn token_that_was_rotated_twice_keeps_the_end_of_its_own_overlap() {
    let rotate = |successor: u128, overlap: u64| {
        let rotated = RotatedToken { name: "root".into(), successor: TokenId(Id::root(NOON, successor)), until: NOON.plus_millis(overlap) };
        asked_by(Actor::Operator, Ask::RotateToken(rotated))
    };
    let spec = Spec::default().given_commands([add(1, "root", &["admin"]), rotate(2, 60_000), rotate(3, 3_600_000)]);
    let ends = [1, 2, 3].map(|number| spec.engine().access().token(&TokenId(Id::root(NOON, number))).unwrap().expires_at);
    assert_eq!(ends, [Some(NOON.plus_millis(60_000)), Some(NOON.plus_millis(3_600_000)), None]);
}

#[test]
fn token_of_another_is_not_replaced_with_one_that_outlasts_the_right_to() {
    let lasting = |millis: u64| NewToken {
        expires_at: Some(NOON.plus_millis(millis)),
        scopes: Some(vec!["events:read".parse().unwrap()]),
        ..NewToken::with_roles(TokenId(Id::root(NOON, 30)), "ci", vec!["viewer".into()])
    };
    let replaced = |token: NewToken| {
        let admin = NewGrant { until: Some(NOON.plus_millis(60_000)), ..grant(1, &Subject::Identity(identity(1)), "admin", None) };
        let mut spec = team().given_commands([add_grant(admin), asked_by(Actor::Operator, Ask::AddToken(token))]);
        let rotated = RotatedToken { name: "ci".into(), successor: TokenId(Id::root(NOON, 31)), until: NOON };
        spec.when(asked_by(holder(2, identity(1)), Ask::RotateToken(rotated))).result().clone().map(drop)
    };
    assert_eq!(replaced(lasting(50_000)), Ok(()));
    for token in [lasting(70_000), NewToken { expires_at: None, ..lasting(0) }] {
        assert!(matches!(replaced(token), Err(Refusal::BeyondOwnRights(_))));
    }
}

#[test]
fn token_is_replaced_only_by_its_holder_or_by_somebody_who_may_do_what_it_may() {
    let permissions = ["tokens:write", "events:write"].map(|name| Permission::from_name(name).unwrap()).to_vec();
    let scoped = |number: u128, name: &str, scope: &str| NewToken {
        scopes: Some(vec![scope.parse().unwrap()]),
        ..NewToken::with_roles(TokenId(Id::root(NOON, number)), name, vec!["admin".into()])
    };
    let mut spec = team().given_commands([
        asked_by(Actor::Operator, Ask::SetRole { name: "clerk".parse().unwrap(), permissions }),
        add_grant(grant(1, &Subject::Identity(identity(1)), "clerk", None)),
        asked_by(Actor::Operator, Ask::AddToken(scoped(5, "reader", "log:read"))),
        asked_by(Actor::Operator, Ask::AddToken(scoped(6, "feed", "events:write on pack=shop"))),
    ]);
    let rotate = |actor: Actor, name: &str, successor: u128| {
        let successor = TokenId(Id::root(NOON, successor));
        asked_by(actor, Ask::RotateToken(RotatedToken { name: name.into(), successor, until: NOON.plus_millis(60_000) }))
    };
    let ana = || holder(2, identity(1));
    let beyond = |missing: &str| Refusal::BeyondOwnRights(missing.into());
    spec.when(rotate(ana(), "root", 20)).then_refused(&beyond("packs:read"));
    spec.when(rotate(ana(), "reader", 20)).then_refused(&beyond("log:read"));
    spec.when(rotate(ana(), "feed", 20)).then(&["token.added", "token.limited", "token.rotated"]);
    spec.when(rotate(Actor::Token("reader".into()), "reader", 21)).then(&["token.added", "token.limited", "token.rotated"]);
    spec.when(rotate(ana(), "laptop", 22)).then(&["token.added", "token.limited", "token.rotated"]);
}

#[test]
fn token_that_replaces_itself_keeps_its_end() {
    const MINUTE: u64 = 60_000;
    let token = NewToken {
        scopes: Some(vec!["events:write".parse().unwrap()]),
        expires_at: Some(NOON.plus_millis(10 * MINUTE)),
        ..NewToken::with_roles(TokenId(Id::root(NOON, 2)), "ci", Vec::new())
    };
    let rotate = |actor: Actor, successor: u128| {
        let (successor, until) = (TokenId(Id::root(NOON, successor)), NOON.plus_millis(30 * MINUTE));
        asked_by(actor, Ask::RotateToken(RotatedToken { name: "ci".into(), successor, until }))
    };
    let mut spec = Spec::default().given_commands([add(1, "root", &["admin"]), asked_by(Actor::Operator, Ask::AddToken(token))]);
    let ends = |spec: &Spec, number: u128| spec.engine().access().token(&TokenId(Id::root(NOON, number))).unwrap().expires_at;
    spec.later(8 * MINUTE);
    for successor in [20, 21] {
        spec.when(rotate(Actor::Token("ci".into()), successor)).then(&["token.added", "token.limited", "token.rotated"]);
        assert_eq!(ends(&spec, successor), Some(NOON.plus_millis(10 * MINUTE)), "its holder does not prolong its life");
    }
    spec.when(rotate(Actor::Token("root".into()), 22)).then(&["token.added", "token.limited", "token.rotated"]);
    assert_eq!(ends(&spec, 22), Some(NOON.plus_millis(18 * MINUTE)), "for others, its lifetime begins again");
}

#[test]
fn token_has_a_limited_number_of_replaced_tokens_that_are_valid() {
    let mut spec = Spec::default().given_commands([add(1, "root", &["admin"])]);
    let rotate = |number: usize| {
        let successor = TokenId(Id::root(NOON, 100 + number as u128));
        asked_by(Actor::Operator, Ask::RotateToken(RotatedToken { name: "root".into(), successor, until: NOON.plus_millis(60_000) }))
    };
    for number in 0..REPLACED_MAX {
        spec.when(rotate(number)).then(&["token.added", "token.rotated"]);
    }
    let refusal = Refusal::LimitReached { what: "replaced tokens of this name that are still valid", max: REPLACED_MAX };
    spec.when(rotate(REPLACED_MAX)).then_refused(&refusal);
}

#[test]
fn token_with_nothing_but_scopes_may_do_what_they_name() {
    let token = NewToken {
        scopes: Some(vec!["events:write on pack=shop".parse().unwrap()]),
        ..NewToken::with_roles(TokenId(Id::root(NOON, 2)), "feed", Vec::new())
    };
    let spec = Spec::default().given_commands([add(1, "root", &["admin"]), asked_by(Actor::Operator, Ask::AddToken(token))]);
    let held = effective_rights(&spec, 2).unwrap();
    assert!(held.rights.include(Permission::EventsWrite, &Target::in_pack_of("shop.order")));
    assert!(!held.rights.include(Permission::EventsWrite, &Target::in_pack_of("core.order")));
    assert_eq!(held.rights.reach(Permission::EventsRead), None);
}

#[test]
fn enabling_an_identity_requires_what_it_may_do() {
    let permissions = vec![Permission::IdentitiesWrite];
    let mut spec = team().given_commands([
        asked_by(Actor::Operator, Ask::SetRole { name: "clerk".parse().unwrap(), permissions }),
        add_grant(grant(1, &Subject::Identity(identity(1)), "clerk", None)),
        add_identity(identity(2), &[]),
        add_grant(grant(2, &Subject::Identity(identity(2)), "author", None)),
        asked_by(Actor::Operator, Ask::SetIdentityStanding { id: identity(2), standing: Standing::Disabled }),
    ]);
    let enable = |actor| asked_by(actor, Ask::SetIdentityStanding { id: identity(2), standing: Standing::Enabled });
    spec.when(enable(holder(2, identity(1)))).then_refused(&Refusal::BeyondOwnRights("packs:read".into()));
    spec.when(enable(Actor::Token("root".into()))).then(&["identity.enabled"]);
}

#[test]
fn token_gains_nothing_by_grants_to_everyone_that_its_creator_may_not_do() {
    let scoped = NewToken {
        scopes: Some(["tokens:write", "events:write", "inquiries:answer"].map(|scope| scope.parse().unwrap()).to_vec()),
        ..NewToken::with_roles(TokenId(Id::root(NOON, 5)), "deputy", vec!["admin".into()])
    };
    let permissions = vec![Permission::EventsWrite];
    let mut spec = team().given_commands([
        asked_by(Actor::Operator, Ask::SetRole { name: "sender".parse().unwrap(), permissions }),
        add_grant(grant(1, &Subject::Everyone, "author", None)),
        asked_by(Actor::Operator, Ask::AddToken(scoped)),
    ]);
    let token = NewToken::with_roles(TokenId(Id::root(NOON, 6)), "new", vec!["sender".into()]);
    let by_deputy = asked_by(Actor::Token("deputy".into()), Ask::AddToken(token));
    spec.when(by_deputy).then_refused(&Refusal::BeyondOwnRights("packs:read".into()));
}

#[test]
fn role_is_not_created_under_a_name_that_tokens_already_have() {
    let mut spec = Spec::default().given_commands([add(1, "root", &["admin"]), add(2, "ben", &["release_managers"])]);
    let name: RoleName = "release_managers".parse().unwrap();
    let set = || asked_by(Actor::Operator, Ask::SetRole { name: name.clone(), permissions: vec![Permission::EventsRead] });
    spec.when(set()).then_refused(&Refusal::RoleInUse { role: name.clone(), grants: 0, tokens: 1 });
    spec.when(revoke("ben")).then(&["token.revoked"]);
    spec.when(set()).then(&["role.set"]);
}

#[test]
fn somebody_can_always_change_access() {
    let admins = Subject::Group("release".parse().unwrap());
    let mut spec = team().given_commands([add_grant(grant(1, &admins, "admin", None)), revoke("root")]);
    let last = |name: String| Refusal::LastAdmin(name);
    let ana = identity(1).to_string();
    spec.when(revoke("laptop")).then_refused(&last("laptop".into()));
    let by_operator = |ask| asked_by(Actor::Operator, ask);
    let disable = Ask::SetIdentityStanding { id: identity(1), standing: Standing::Disabled };
    spec.when(by_operator(disable)).then_refused(&last(ana.clone()));
    spec.when(by_operator(Ask::EraseIdentity(identity(1)))).then_refused(&last(ana.clone()));
    spec.when(by_operator(Ask::SetIdentityGroups { id: identity(1), groups: Vec::new() })).then_refused(&last(ana));
    let id = grant(1, &admins, "admin", None).id;
    spec.when(by_operator(Ask::RemoveGrant(id))).then_refused(&last(id.to_string()));
    // A token that expires does not count.
    let expiring = NewToken {
        expires_at: Some(NOON.plus_millis(60_000)),
        ..NewToken::with_roles(TokenId(Id::root(NOON, 8)), "soon", vec!["admin".into()])
    };
    let mut spec = spec.given_commands([by_operator(Ask::AddToken(expiring))]);
    spec.when(revoke("laptop")).then_refused(&last("laptop".into()));
    let mut spec = spec.given_commands([add(9, "root", &["admin"])]);
    spec.when(revoke("laptop")).then(&["token.revoked"]);
}

#[test]
fn administrator_who_stays_has_a_whole_grant_and_a_token_without_an_end_or_a_bound() {
    let ana = Subject::Identity(identity(1));
    let lasting = grant(1, &ana, "admin", None);
    let remove = || asked_by(Actor::Operator, Ask::RemoveGrant(lasting.id));
    let last = Refusal::LastAdmin(lasting.id.to_string());
    let mut spec = team().given_commands([add_grant(lasting.clone()), revoke("root")]);
    let tomorrow = Some(NOON.plus_millis(DAY_MILLIS));
    let of_nobody = Subject::Group("nobody".parse().unwrap());
    for other in [
        NewGrant { until: tomorrow, ..grant(2, &ana, "admin", None) },
        NewGrant { until: tomorrow, ..grant(3, &Subject::Everyone, "admin", None) },
        NewGrant { until: tomorrow, ..grant(4, &Subject::Group("release".parse().unwrap()), "admin", None) },
        grant(5, &ana, "admin", Some("pack=release")),
        grant(6, &ana, "operator", None),
        grant(7, &of_nobody, "admin", None),
    ] {
        spec.when(add_grant(other.clone())).then(&["grant.added"]);
        spec.when(remove()).then_refused(&last);
    }
    let scopes = Some(vec!["events:read".parse().unwrap()]);
    let token = |number: u128, name: &str| NewToken::with_roles(TokenId(Id::root(NOON, number)), name, vec!["admin".into()]);
    for other in [NewToken { scopes, ..token(20, "bounded") }, NewToken { expires_at: tomorrow, ..token(21, "ending") }] {
        spec.when(asked_by(Actor::Operator, Ask::AddToken(other))).then(&["token.added", "token.limited"]);
        spec.when(remove()).then_refused(&last);
    }
    spec.when(add_grant(grant(9, &ana, "admin", None))).then(&["grant.added"]);
    spec.when(remove()).then(&["grant.removed"]);
}

#[test]
fn role_in_use_or_built_in_cannot_be_removed() {
    let role: RoleName = "restarter".parse().unwrap();
    let set = Ask::SetRole { name: role.clone(), permissions: vec![Permission::ExecutionsRerun] };
    let mut spec = team().given_commands([asked_by(Actor::Operator, set), add_grant(grant(1, &Subject::Everyone, "restarter", None))]);
    let remove = |role: &RoleName| asked_by(Actor::Operator, Ask::RemoveRole(role.clone()));
    spec.when(remove(&role)).then_refused(&Refusal::RoleInUse { role: role.clone(), grants: 1, tokens: 0 });
    spec.when(remove(&"admin".parse().unwrap())).then_refused(&Refusal::RoleBuiltIn("admin".parse().unwrap()));
    spec.when(remove(&"nothing".parse().unwrap())).then_refused(&Refusal::NoRole("nothing".parse().unwrap()));
    let id = grant(1, &Subject::Everyone, "restarter", None).id;
    spec.when(asked_by(Actor::Operator, Ask::RemoveGrant(id))).then(&["grant.removed"]);
    spec.when(remove(&role)).then(&["role.removed"]);
    let set = Ask::SetRole { name: "viewer".parse().unwrap(), permissions: Vec::new() };
    spec.when(asked_by(Actor::Operator, set)).then_refused(&Refusal::RoleBuiltIn("viewer".parse().unwrap()));
}

#[test]
fn limited_grant_of_a_role_that_cannot_be_limited_is_refused() {
    let mut spec = team().given_commands([add_grant(grant(1, &Subject::Everyone, "viewer", None))]);
    let auditor = Ask::SetRole { name: "auditor".parse().unwrap(), permissions: vec![Permission::AuditRead] };
    spec.when(asked_by(Actor::Operator, auditor)).then(&["role.set"]);
    let refusal = Refusal::RoleNotLimitable("auditor".parse().unwrap());
    spec.when(add_grant(grant(2, &Subject::Everyone, "auditor", Some("pack=release")))).then_refused(&refusal);
}

#[test]
fn approver_reaches_what_it_is_asked_or_the_inquiries_inside_its_limit() {
    let reach = |spec: &Spec| effective_rights(spec, 2).unwrap().rights.reach(Permission::InquiriesAnswer);
    let mut spec = team();
    spec.when(add_grant(grant(1, &Subject::Everyone, "approver", None))).then(&["grant.added"]);
    assert_eq!(reach(&spec), Some(Reach::WhatIsAsked));
    let mut spec = team();
    spec.when(add_grant(grant(1, &Subject::Everyone, "approver", Some("pack=release")))).then(&["grant.added"]);
    assert_eq!(reach(&spec), Some(Reach::Limited));
    let rights = effective_rights(&spec, 2).unwrap().rights;
    for (action, is_inside) in [("release.ship", true), ("shop.refund", false)] {
        let target = Target::of_action(action);
        assert_eq!(rights.include(Permission::InquiriesAnswer, &target), is_inside, "{action}");
        assert_eq!(rights.include(Permission::InquiriesRead, &target), is_inside, "{action}");
    }
    assert_eq!(rights.reach(Permission::InquiriesCancel), None);
}

#[test]
fn bounded_right_to_answer_does_not_reach_all_that_its_holder_is_asked() {
    let scopes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Scope>>();
    let mut asked = Rights::default();
    asked.add_what_is_asked();
    let reach =
        |rights: &Rights| (rights.reach_what_is_asked(Permission::InquiriesRead), rights.reach_what_is_asked(Permission::InquiriesAnswer));
    assert_eq!(reach(&asked), (true, true));
    assert_eq!(reach(&Rights::default()), (false, false));
    for (texts, expected) in [
        (&["inquiries:read", "inquiries:answer"][..], (true, true)),
        (&["inquiries:read"], (true, false)),
        (&["inquiries:read on pack=x", "inquiries:answer"], (false, true)),
        (&["inquiries:read on pack=x", "inquiries:answer on pack=x"], (false, false)),
        (&["inquiries:read on pack=x", "inquiries:read"], (true, false)),
        (&[], (false, false)),
    ] {
        assert_eq!(reach(&asked.clone().within(&scopes(texts))), expected, "{texts:?}");
    }
    // Each of two bounds must allow it.
    let (whole, limited) = (scopes(&["inquiries:read"]), scopes(&["inquiries:read on pack=x"]));
    for (one, other, expected) in [(&whole, &whole, true), (&whole, &limited, false), (&limited, &whole, false)] {
        assert_eq!(asked.clone().within(one).within(other).reach_what_is_asked(Permission::InquiriesRead), expected);
    }
    // A grant inside a limit adds to what its holder is asked, and takes nothing away.
    let mut also = asked.clone();
    also.add(Permission::InquiriesRead, Some(&"pack=y".parse().unwrap()));
    assert!(also.reach_what_is_asked(Permission::InquiriesRead));
}

#[test]
fn token_with_a_limited_scope_does_not_reach_all_that_its_holder_is_asked() {
    let spec = |scope: &str| {
        let token = NewToken {
            scopes: Some(vec![scope.parse().unwrap()]),
            ..NewToken::with_roles(TokenId(Id::root(NOON, 3)), "bounded", vec!["managers".into()])
        };
        team().given_commands([asked_by(Actor::Operator, Ask::AddToken(token))])
    };
    let whole = effective_rights(&spec("inquiries:read"), 3).unwrap().rights;
    assert!(whole.reach_what_is_asked(Permission::InquiriesRead));
    let limited = effective_rights(&spec("inquiries:read on pack=x"), 3).unwrap().rights;
    assert!(!limited.reach_what_is_asked(Permission::InquiriesRead));
    assert!(!limited.include(Permission::InquiriesRead, &Target::of_action("x.ship")), "its holder does not reach the pack");
}

fn session(number: u128) -> SessionId {
    SessionId(Id::root(NOON, 3_000 + number))
}

/// Opens a session of a token, or of an identity.
fn open(number: u128, credential: Option<u128>, identity: Option<IdentityId>) -> Command {
    let credential = credential.map(|number| TokenId(Id::root(NOON, number)));
    let until = NOON.plus_millis(3_600_000);
    let session =
        NewSession { id: session(number), identity, way: "token".into(), credential, only: None, link: None, until, in_place_of: None };
    asked_by(Actor::Operator, Ask::OpenSession(session))
}

fn held_in(spec: &Spec, number: u128) -> Result<EffectiveRights, NotHeld> {
    spec.engine().access().held_in_session(&session(number), spec.engine().time())
}

#[test]
fn login_link_is_recorded_with_its_actor_and_its_session_names_it() {
    let link = LinkId(Id::root(NOON, 40));
    let mut spec = Spec::default().given_commands([add(1, "root", &["admin"]), add(2, "ci", &["viewer"])]);
    let mint = |by: &str, (number, name): (u128, &str)| {
        let new = NewLoginLink { id: link, token: TokenId(Id::root(NOON, number)), name: name.into(), until: NOON.plus_millis(60_000) };
        asked_by(Actor::Token(by.into()), Ask::MintLoginLink(new))
    };
    let refused = spec.when(mint("ci", (1, "root"))).result().clone().map(drop);
    assert!(matches!(refused, Err(Refusal::BeyondOwnRights(_))), "nobody becomes more than they are: {refused:?}");
    spec.when(mint("root", (3, "ci"))).then_refused(&Refusal::NoToken("ci".into()));
    spec.when(mint("root", (2, "ci"))).then(&["login_link.minted"]);
    let Command { ask: Ask::OpenSession(new), .. } = open(1, Some(2), None) else { panic!() };
    let new = NewSession { way: "link".into(), link: Some(OpenedLink::OfLogin(link)), ..new };
    let outcome = spec.when(asked_by(Actor::Operator, Ask::OpenSession(new)));
    let opened = outcome.records().iter().any(|record| matches!(&record.fact, Fact::SessionOpened(fact) if fact.link == Some(link)));
    assert!(opened, "{:?}", outcome.records());
    assert_eq!(spec.engine().access().session(&session(1)).unwrap().link, Some(link), "and whoever it lets in");
}

#[test]
fn session_has_the_rights_of_its_token_until_either_ends() {
    let mut spec = team().given_commands([add_grant(grant(1, &Subject::Identity(identity(1)), "viewer", None))]);
    spec.when(open(1, Some(2), None)).then(&["session.opened"]);
    let held = held_in(&spec, 1).unwrap();
    assert_eq!((held.identity, held.name.as_str()), (Some(identity(1)), "laptop"));
    assert_eq!(held.rights.reach(Permission::EventsRead), Some(Reach::All));
    let late = NOON.plus_millis(3_600_000);
    assert_eq!(spec.engine().access().held_in_session(&session(1), late), Err(NotHeld::Expired));
    spec.when(revoke("laptop")).then(&["token.revoked", "session.ended"]);
    assert_eq!(held_in(&spec, 1), Err(NotHeld::Unknown));
    spec.when(open(2, Some(2), None)).then_refused(&Refusal::CredentialGone);
}

#[test]
fn rights_in_a_session_are_certain_until_the_first_of_its_ends() {
    let until = NOON.plus_millis(3_600_000);
    let ends = |spec: &Spec| held_in(spec, 1).map(|held| (held.expires_at, held.valid_until)).unwrap();
    let opened = |given: &[Command], credential, identity| {
        let mut spec = team().given_commands(given.to_vec());
        spec.when(open(1, credential, identity)).then(&["session.opened"]);
        spec
    };
    let ana = Some(identity(1));
    for spec in [opened(&[], Some(2), None), opened(&[], None, ana), opened(&[], Some(1), None)] {
        assert_eq!(ends(&spec), (Some(until), Some(until)), "neither the token nor the identity has an end");
    }
    let ending = |millis: u64| {
        let token = NewToken {
            expires_at: Some(NOON.plus_millis(millis)),
            ..NewToken::with_roles(TokenId(Id::root(NOON, 5)), "ending", vec!["viewer".into()])
        };
        asked_by(Actor::Operator, Ask::AddToken(token))
    };
    let sooner = Some(NOON.plus_millis(3_599_999));
    assert_eq!(ends(&opened(&[ending(3_599_999)], Some(5), None)), (sooner, sooner));
    assert_eq!(ends(&opened(&[ending(3_600_001)], Some(5), None)), (Some(until), Some(until)));
    let granting = |millis: u64| {
        let end = Some(NOON.plus_millis(millis));
        add_grant(NewGrant { until: end, ..grant(1, &Subject::Identity(identity(1)), "viewer", None) })
    };
    for (credential, identity) in [(Some(2), None), (None, ana)] {
        assert_eq!(ends(&opened(&[granting(3_599_999)], credential, identity)), (Some(until), sooner));
        assert_eq!(ends(&opened(&[granting(3_600_001)], credential, identity)), (Some(until), Some(until)));
    }
}

#[test]
fn sessions_end_with_their_identity() {
    let stands = |standing| asked_by(Actor::Operator, Ask::SetIdentityStanding { id: identity(1), standing });
    let mut spec = team();
    spec.when(open(1, None, Some(identity(1)))).then(&["session.opened"]);
    spec.when(stands(Standing::Disabled)).then(&["identity.disabled", "session.ended"]);
    spec.when(open(2, None, Some(identity(1)))).then_refused(&Refusal::CredentialGone);
    spec.when(stands(Standing::Enabled)).then(&["identity.enabled"]);
    assert_eq!(held_in(&spec, 1), Err(NotHeld::Unknown), "an ended session stays ended");
    spec.when(open(3, Some(2), None)).then(&["session.opened"]);
    spec.when(asked_by(Actor::Operator, Ask::EraseIdentity(identity(1)))).then(&["token.revoked", "session.ended", "identity.erased"]);
}

#[test]
fn session_over_the_limit_of_an_identity_ends_the_one_that_was_named() {
    let mut spec = team();
    for number in 0..SESSIONS_OF_IDENTITY_MAX as u128 {
        spec.when(open(number, None, Some(identity(1)))).then(&["session.opened"]);
    }
    spec.when(open(100, Some(1), None)).then(&["session.opened"]);
    let Command { ask: Ask::OpenSession(one_more), .. } = open(200, Some(2), None) else { panic!() };
    let one_more = NewSession { in_place_of: Some(session(7)), ..one_more };
    spec.when(asked_by(Actor::Operator, Ask::OpenSession(one_more))).then(&["session.ended", "session.opened"]);
    assert_eq!(held_in(&spec, 7), Err(NotHeld::Unknown));
    spec.when(open(201, Some(2), None)).then(&["session.ended", "session.opened"]);
    assert_eq!(held_in(&spec, 0), Err(NotHeld::Unknown), "the oldest, if none is named");
    assert!(held_in(&spec, 100).is_ok(), "the session of another holder stays");
}

#[test]
fn session_ends_only_for_one_of_its_own_holder_over_the_limit() {
    let in_place_of = |number: u128, credential, of: u128| {
        let Command { ask: Ask::OpenSession(new), .. } = open(number, credential, None) else { panic!() };
        asked_by(Actor::Operator, Ask::OpenSession(NewSession { in_place_of: Some(session(of)), ..new }))
    };
    let mut spec = team();
    spec.when(open(100, Some(1), None)).then(&["session.opened"]);
    for number in 0..SESSIONS_OF_IDENTITY_MAX as u128 {
        spec.when(in_place_of(number, Some(2), 0)).then(&["session.opened"]);
    }
    // One of somebody else, and one that does not exist.
    for (number, named, ended) in [(200, 100, 0), (201, 999, 1)] {
        spec.when(in_place_of(number, Some(2), named)).then(&["session.ended", "session.opened"]);
        assert_eq!(held_in(&spec, ended), Err(NotHeld::Unknown), "the oldest of its own");
    }
    assert!(held_in(&spec, 100).is_ok() && held_in(&spec, 2).is_ok());
    spec.when(in_place_of(202, Some(1), 2)).then(&["session.opened"]);
    assert!(held_in(&spec, 2).is_ok() && held_in(&spec, 100).is_ok(), "the other holder is not over the limit");
}

#[test]
fn session_for_one_inquiry_reaches_inquiries_only() {
    let everything = add_grant(grant(1, &Subject::Identity(identity(1)), "admin", None));
    let mut spec = team().given_commands([everything]);
    let Command { ask: Ask::OpenSession(new), .. } = open(1, None, Some(identity(1))) else { panic!() };
    let only = Some(InquiryId(Id::root(NOON, 9)));
    spec.when(asked_by(Actor::Operator, Ask::OpenSession(NewSession { only, ..new }))).then(&["session.opened"]);
    let held = held_in(&spec, 1).unwrap();
    assert_eq!(held.only, only);
    assert!(held.rights.reach(Permission::InquiriesAnswer).is_some());
    assert_eq!((held.rights.reach(Permission::InquiriesCancel), held.rights.reach(Permission::EventsRead)), (None, None));
}

/// A change of a password or an authenticator app of the first identity.
fn change_credential(what: CredentialKind, how: CredentialChange, kept: Option<SessionId>) -> Ask {
    Ask::ChangeCredential(ChangedCredential { identity: identity(1), what, how, kept })
}

#[test]
fn new_password_ends_all_other_sessions_of_its_identity() {
    let mut spec = team().given_commands([add_identity(identity(2), &[])]);
    for (number, of) in [(1, 1), (2, 1), (3, 2)] {
        spec.when(open(number, None, Some(identity(of)))).then(&["session.opened"]);
    }
    let by = Actor::Identity { id: identity(1), by: CredentialId::Session(session(2)) };
    let set = change_credential(CredentialKind::Password, CredentialChange::Set, Some(session(2)));
    spec.when(asked_by(by.clone(), set)).then(&["credential.changed", "session.ended"]);
    assert_eq!(held_in(&spec, 1), Err(NotHeld::Unknown));
    assert!(held_in(&spec, 2).is_ok() && held_in(&spec, 3).is_ok());
    let other = change_credential(CredentialKind::Otp, CredentialChange::Set, None);
    spec.when(asked_by(by, other)).then(&["credential.changed"]);
    assert!(held_in(&spec, 2).is_ok(), "an authenticator app ends no session");
}

#[test]
fn nobody_resets_the_password_of_somebody_who_may_do_more() {
    let of = |number: u128, role| add_grant(grant(10 + number, &Subject::Identity(identity(number)), role, None));
    let mut spec = team().given_commands([add_identity(identity(2), &[]), of(1, "admin"), of(2, "operator")]);
    spec.when(open(2, None, Some(identity(2)))).then(&["session.opened"]);
    let reset = || change_credential(CredentialKind::Password, CredentialChange::Reset, None);
    let by = Actor::Identity { id: identity(2), by: CredentialId::Session(session(2)) };
    assert!(matches!(spec.when(asked_by(by, reset())).result(), Err(Refusal::BeyondOwnRights(_))));
    spec.when(open(1, None, Some(identity(1)))).then(&["session.opened"]);
    let by = Actor::Identity { id: identity(1), by: CredentialId::Session(session(1)) };
    spec.when(asked_by(by, reset())).then(&["credential.changed"]);
    assert!(held_in(&spec, 1).is_ok(), "the sessions end with the new password");
}

#[test]
fn nobody_passes_on_by_a_session_more_than_it_may_do() {
    let mut spec = team().given_commands([add_grant(grant(1, &Subject::Identity(identity(1)), "viewer", None))]);
    spec.when(open(1, None, Some(identity(1)))).then(&["session.opened"]);
    let by = Actor::Identity { id: identity(1), by: CredentialId::Session(session(1)) };
    let add = |roles: &str| Ask::AddToken(NewToken::with_roles(TokenId(Id::root(NOON, 77)), "t", vec![roles.into()]));
    assert!(matches!(spec.when(asked_by(by.clone(), add("admin"))).result(), Err(Refusal::BeyondOwnRights(_))));
    spec.when(asked_by(by.clone(), add("viewer"))).then(&["token.added"]);
    assert_eq!(by.to_string().parse(), Ok(by));
}

/// Measures what compiling rights and asking one question cost, at 1,000 identities and 10,000 grants, of which 1,000
/// concern the caller:
///
///     cargo test -p ensue-engine --test main -- --ignored --nocapture cost_of_rights
#[test]
#[ignore = "measures, and takes a while"]
#[expect(clippy::disallowed_types, reason = "it measures")]
fn cost_of_rights_stays_small_with_many_grants() {
    use std::time::Instant;
    let mut spec =
        Spec::default().given_commands([add(1, "root", &["admin"]), add_identity(identity(1), &[]), token_of(2, "laptop", identity(1))]);
    for number in 2..=1_000 {
        spec.when(add_identity(identity(number), &[]));
    }
    for number in 0..10_000_u128 {
        let of = if number < 1_000 { identity(1) } else { identity(2 + number % 999) };
        let on = format!("pack=p{number},label:site=s{number}");
        spec.when(add_grant(grant(number, &Subject::Identity(of), "viewer", Some(&on))));
    }
    let begun = Instant::now();
    let held = effective_rights(&spec, 2).unwrap();
    println!("compiled in {:?}", begun.elapsed());
    let mut times: Vec<_> = (0..10_000)
        .map(|number| {
            let (pack, labels) = (format!("p{number}"), [("site".parse().unwrap(), format!("s{number}").parse().unwrap())].into());
            let target = Target { pack: Some(&pack), labels: Some(&labels), ..Target::default() };
            let begun = Instant::now();
            let included = held.rights.include(Permission::ExecutionsRead, &target);
            let took = begun.elapsed();
            assert_eq!(included, number < 1_000);
            took
        })
        .collect();
    times.sort_unstable();
    println!("asked: p50 {:?}, p99 {:?}", times[5_000], times[9_900]);
}

/// The roles and grants of settings.
fn declares(roles: &[(&str, Permission)], grants: &[NewGrant]) -> Command {
    let roles = roles.iter().map(|(name, permission)| (name.parse().unwrap(), vec![*permission])).collect();
    asked_by(Actor::Operator, Ask::DeclareAccess(DeclaredAccess { roles, grants: grants.to_vec() }))
}

#[test]
fn declared_roles_and_grants_are_recorded_once_and_removed_when_they_leave() {
    let (everyone, ops) = (Subject::Everyone, Subject::Group("ops".parse().unwrap()));
    let mut spec = Spec::default();
    let restarter = ("restarter", Permission::ExecutionsRerun);
    let both = [grant(1, &ops, "restarter", Some("pack=release")), grant(2, &everyone, "viewer", None)];
    let declared = spec.when(declares(&[restarter], &both)).then(&["role.set", "grant.added", "grant.added"]);
    assert!(declared.records().iter().all(|record| record.actor == Actor::Operator && record.fact.schema() == 2));
    // The ids of a later start are others.
    let again = [grant(3, &ops, "restarter", Some("pack=release")), grant(4, &everyone, "viewer", None)];
    spec.when(declares(&[restarter], &again)).then(&[]);

    // What somebody else made stays.
    spec.when(asked_by(Actor::Operator, Ask::AddGrant(grant(5, &ops, "viewer", None)))).then(&["grant.added"]);
    let role = Ask::SetRole { name: "reader".parse().unwrap(), permissions: vec![Permission::ExecutionsRead] };
    spec.when(asked_by(Actor::Operator, role)).then(&["role.set"]);
    let other = ("restarter", Permission::ExecutionsRead);
    spec.when(declares(&[other], &again[..1])).then(&["role.set", "grant.removed"]);
    spec.when(declares(&[], &[])).then(&["grant.removed", "role.removed"]);
    let access = spec.engine().access();
    assert_eq!(access.grants().map(|(id, _)| *id).collect::<Vec<_>>(), [grant(5, &ops, "viewer", None).id]);
    assert_eq!(access.roles().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["reader"]);

    // A grant that somebody removed is added at the next start.
    spec.when(declares(&[], &again[1..])).then(&["grant.added"]);
    spec.when(asked_by(Actor::Operator, Ask::RemoveGrant(again[1].id))).then(&["grant.removed"]);
    spec.when(declares(&[], &again[1..])).then(&["grant.added"]);
}

#[test]
fn settings_that_cannot_be_applied_change_nothing() {
    let everyone = Subject::Everyone;
    let restarter = ("restarter", Permission::ExecutionsRerun);
    let role = |name: &str| name.parse::<RoleName>().unwrap();
    let mut spec = Spec::default();
    let unknown = grant(1, &everyone, "restarter", None);
    spec.when(declares(&[], std::slice::from_ref(&unknown))).then_refused(&Refusal::NoRole(role("restarter")));
    spec.when(declares(&[("admin", Permission::ExecutionsRead)], &[])).then_refused(&Refusal::RoleBuiltIn(role("admin")));
    let nobody = grant(1, &Subject::Identity(identity(7)), "viewer", None);
    spec.when(declares(&[restarter], &[nobody])).then_refused(&Refusal::NoIdentity(identity(7).to_string()));
    let whole = grant(1, &everyone, "auditor", Some("pack=release"));
    let auditor = ("auditor", Permission::AuditRead);
    spec.when(declares(&[auditor], &[whole])).then_refused(&Refusal::RoleNotLimitable(role("auditor")));

    // Only the settings change and remove a role of theirs, and not while others have granted it.
    spec.when(declares(&[restarter], &[])).then(&["role.set"]);
    let change = Ask::SetRole { name: role("restarter"), permissions: Vec::new() };
    spec.when(asked_by(Actor::Operator, change)).then_refused(&Refusal::RoleDeclared(role("restarter")));
    let remove = Ask::RemoveRole(role("restarter"));
    spec.when(asked_by(Actor::Operator, remove)).then_refused(&Refusal::RoleDeclared(role("restarter")));
    spec.when(asked_by(Actor::Operator, Ask::AddGrant(unknown))).then(&["grant.added"]);
    let in_use = Refusal::RoleInUse { role: role("restarter"), grants: 1, tokens: 0 };
    spec.when(declares(&[], &[])).then_refused(&in_use);
}

#[test]
fn declared_grants_count_towards_the_bounds_of_all() {
    let everyone = Subject::Everyone;
    let site = |number: u128| format!("label:site=s{number}");
    let grants = |from: u128, to: u128| -> Vec<NewGrant> {
        (from..=to).map(|number| grant(number, &everyone, "viewer", Some(&site(number)))).collect()
    };
    let mut spec = Spec::default();
    spec.when(asked_by(Actor::Operator, Ask::AddGrant(grant(5_000, &everyone, "viewer", None)))).then(&["grant.added"]);
    let max = Refusal::LimitReached { what: "grants of one subject", max: 1_000 };
    spec.when(declares(&[], &grants(1, 1_000))).then_refused(&max);
    spec.when(declares(&[], &grants(1, 999))).then(&vec!["grant.added"; 999]);
}

#[test]
fn settings_never_remove_the_last_administrator() {
    let id = identity(7);
    let mut spec = Spec::default().given_commands([add_identity(id, &[]), token_of(1, "ana", id)]);
    spec.when(declares(&[], &[grant(1, &Subject::Identity(id), "admin", None)])).then(&["grant.added"]);
    spec.when(declares(&[], &[])).then_refused(&Refusal::LastAdmin("the settings".into()));
}

#[test]
fn name_that_is_used_again_has_nothing_of_what_it_had_before() {
    let token = |number: u128| TokenId(Id::root(NOON, number));
    let mut spec = Spec::default().given_commands([add(1, "admin", &["admin"]), add(2, "ci", &["operator"])]);
    spec.when(open(1, Some(2), None)).then(&["session.opened"]);
    spec.when(revoke("ci")).then(&["token.revoked", "session.ended"]);
    spec.when(add(3, "ci", &["viewer"])).then(&["token.added"]);
    let access = spec.engine().access();
    assert_eq!(access.effective_rights(&token(2), NOON), Err(NotHeld::Unknown));
    assert_eq!(access.sessions().count(), 0);
    let held = access.effective_rights(&token(3), NOON).unwrap();
    assert_eq!(held.rights.reach(Permission::EventsWrite), None, "the operator's rights are gone");

    // The identity of a name has another id once the first was erased.
    let mut spec =
        spec.given_commands([add_identity(identity(1), &[]), add_grant(grant(1, &Subject::Identity(identity(1)), "operator", None))]);
    spec.when(asked_by(Actor::Operator, Ask::EraseIdentity(identity(1)))).then(&["grant.removed", "identity.erased"]);
    let spec = spec.given_commands([add_identity(identity(2), &[])]);
    let held = spec.engine().access().rights_of(identity(2), NOON).unwrap();
    assert_eq!(held.rights.reach(Permission::EventsWrite), None);
}

/// Sets the clock, and lets the log record that.
fn set_clock(spec: &mut Spec, from: Timestamp, to: Timestamp) {
    spec.step_clock(to);
    spec.when(asked_by(Actor::Engine, Ask::NoteClockStep { from, to })).then(&["clock.stepped"]);
}

/// A token with an end, and a session and a grant that end then too.
fn ending_at(ends: Timestamp) -> Spec {
    let token = NewToken { expires_at: Some(ends), ..NewToken::with_roles(TokenId(Id::root(NOON, 3)), "short", vec!["viewer".to_owned()]) };
    let viewer = grant(1, &Subject::Identity(identity(1)), "viewer", None);
    team().given_commands([
        asked_by(Actor::Operator, Ask::AddToken(token)),
        add_grant(NewGrant { until: Some(ends), ..viewer }),
        open(1, Some(2), None),
    ])
}

/// Returns whether the token, the session and the grant of [`ending_at`] are in force.
fn in_force(spec: &Spec) -> [bool; 3] {
    let reads = |held: Result<EffectiveRights, NotHeld>| held.is_ok_and(|held| held.rights.reach(Permission::EventsRead).is_some());
    [effective_rights(spec, 3) != Err(NotHeld::Expired), held_in(spec, 1) != Err(NotHeld::Expired), reads(effective_rights(spec, 2))]
}

#[test]
fn clock_that_is_set_back_revives_nothing_until_it_is_accepted() {
    let (ends, later) = (NOON.plus_millis(3_600_000), NOON.plus_millis(7_200_000));
    let mut spec = ending_at(ends);
    assert_eq!(in_force(&spec), [true; 3]);
    let to = NOON.minus_millis(10 * DAY_MILLIS);
    set_clock(&mut spec, later, to);
    assert_eq!(in_force(&spec), [false; 3]);
    // What is new follows the clock as it is, also if it ends at the same time.
    let new = NewToken { expires_at: Some(ends), ..NewToken::with_roles(TokenId(Id::root(NOON, 4)), "new", vec!["viewer".to_owned()]) };
    spec.when(asked_by(Actor::Operator, Ask::AddToken(new))).then(&["token.added", "token.limited"]);
    assert!(effective_rights(&spec, 4).is_ok());
    // Another step back changes nothing, and neither does a restart.
    set_clock(&mut spec, to, to.minus_millis(DAY_MILLIS));
    assert_eq!(in_force(&spec), [false; 3]);
    let restored = State::load(spec.engine().log(), &spec.engine().save()).unwrap();
    assert_eq!(restored.access(), spec.engine().access());
    spec.when(asked_by(ana(), Ask::AcceptClock)).then(&["clock.accepted"]);
    assert_eq!(in_force(&spec), [true; 3], "the operator says that it was the earlier time that was wrong");
    spec.when(asked_by(ana(), Ask::AcceptClock)).then(&[]);
}

#[test]
fn absence_that_has_ended_does_not_begin_again_when_the_clock_is_set_back() {
    let (ends, later) = (NOON.plus_millis(3_600_000), NOON.plus_millis(7_200_000));
    let mut spec = ending_at(ends);
    let absence = |until| NewAbsence { id: identity(1), from: None, until: Some(until), deputy: None };
    spec.when(asked_by(Actor::Operator, Ask::SetAbsence(absence(ends)))).then(&["identity.absent_set"]);
    let is_absent = |spec: &Spec, at: Timestamp| spec.engine().access().is_absent(&identity(1), at);
    assert!(is_absent(&spec, NOON) && !is_absent(&spec, later));
    set_clock(&mut spec, later, NOON);
    assert!(!is_absent(&spec, NOON));
    // A new one follows the clock as it is.
    spec.when(asked_by(Actor::Operator, Ask::SetAbsence(absence(ends.plus_millis(1))))).then(&["identity.absent_set"]);
    assert!(is_absent(&spec, NOON));
}

#[test]
fn clock_that_was_far_ahead_for_some_minutes_ends_nothing_for_longer() {
    let mut spec = ending_at(NOON.plus_millis(3_600_000));
    let ahead = NOON.plus_millis(365 * DAY_MILLIS);
    set_clock(&mut spec, NOON, ahead);
    assert_eq!(in_force(&spec), [false; 3]);
    set_clock(&mut spec, ahead.plus_millis(300_000), NOON.plus_millis(300_000));
    assert_eq!(in_force(&spec), [true; 3], "the step was corrected before it was trusted");
    set_clock(&mut spec, NOON.plus_millis(300_000), ahead);
    set_clock(&mut spec, ahead.plus_millis(900_000), NOON.plus_millis(900_000));
    assert_eq!(in_force(&spec), [false; 3], "the step had lasted");
}

proptest! {
    #[test]
    fn what_has_ended_is_never_in_force_again(moves in prop::collection::vec((0..5_400_000_u64, -864_000_000..3_000_000_i64), 1..20)) {
        let mut spec = ending_at(NOON.plus_millis(3_600_000));
        let (mut now, mut before) = (NOON, [true; 3]);
        for (passes, step) in moves {
            now = now.plus_millis(passes);
            spec.step_clock(now);
            let to = if step < 0 { now.minus_millis(step.unsigned_abs()) } else { now.plus_millis(step.unsigned_abs()) };
            // They are looked at just before the step.
            before = if now >= NOON.plus_millis(3_600_000) { [false; 3] } else { before };
            set_clock(&mut spec, now, to);
            now = to;
            let after = in_force(&spec);
            for (before, after) in before.iter().zip(after) {
                prop_assert!(*before || !after, "at {}: {:?}", now, after);
            }
            before = after;
        }
    }
}
