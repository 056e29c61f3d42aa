//! Keys and tokens: versions are assigned once, a rotation overlaps, an expiry is reported once, names are
//! unique, and the last admin token cannot be removed.

use ensue_engine::access::keys::state::{KeyVersions, PreviousVersion};
use ensue_engine::access::keys::{OVERLAP_MILLIS_MAX, WARNED_BEFORE_MILLIS};
use ensue_engine::command::{Ask, Command, KeyRotation, Refusal};
use ensue_engine::ids::{Id, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::record::Actor;
use ensue_engine::time::Timestamp;
use ensue_test_support::NOON;
use ensue_test_support::spec::Spec;

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
    asked_by(ana(), Ask::AddToken { id: TokenId(Id::root(NOON, number)), name: name.to_owned(), roles })
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
    let mut spec = Spec::default().given([set_key(2)]);
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
    let mut spec = spec.given([set_key(1), remove_key()]);
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
    let mut spec = Spec::default().given([set_key(1)]);
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
        let spec = Spec::default().given([set_key(1), rotate_key(2, DAY_MILLIS), command]);
        let versions = spec.engine().access().key(&key()).unwrap();
        assert_eq!((versions.current, versions.previous), (kept, None));
    }
}

#[test]
fn rotation_needs_a_key_that_is_set_a_new_version_and_at_most_thirty_days() {
    let mut spec = Spec::default();
    spec.when(rotate_key(1, 0)).then_refused(&Refusal::NoKey(key()));
    let mut spec = spec.given([set_key(1)]);
    spec.when(rotate_key(1, 0)).then_refused(&Refusal::KeyVersion { key: key(), now: 1, given: 1 });
    spec.when(rotate_key(2, OVERLAP_MILLIS_MAX + 1)).then_refused(&Refusal::OverlapTooLong { key: key() });
    spec.when(rotate_key(2, OVERLAP_MILLIS_MAX)).then(&["key.rotated"]);
}

#[test]
fn only_stored_versions_are_revealed() {
    let mut spec = Spec::default();
    spec.when(reveal_key(1)).then_refused(&Refusal::NoKey(key()));
    let mut spec = spec.given([set_key(1), rotate_key(2, DAY_MILLIS)]);
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
        let spec = Spec::default().given([expiring_key(1, NOON.plus_millis(DAY_MILLIS)), command]);
        assert_eq!(spec.engine().next_due(), None);
    }
}

#[test]
fn clock_that_stepped_far_ahead_reports_no_expiry_until_the_step_has_lasted() {
    let (from, to) = (NOON, NOON.plus_millis(100 * DAY_MILLIS));
    let mut spec = Spec::default().given([expiring_key(1, NOON.plus_millis(30 * DAY_MILLIS))]);
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
    let mut spec = Spec::default().given([add(1, "ana", &["admin"]), add(2, "ben", &[])]);
    spec.when(add(3, "ben", &["admin"])).then_refused(&Refusal::TokenNameTaken("ben".into()));
    spec.when(revoke("ben")).then(&["token.revoked"]);
    spec.when(add(3, "ben", &["admin"])).then(&["token.added"]);
    assert_eq!(names(&spec), ["ana", "ben"]);
}

#[test]
fn last_token_that_can_create_others_cannot_be_revoked() {
    let mut spec = Spec::default().given([add(1, "ana", &["admin"]), add(2, "ben", &["release_managers"])]);
    spec.when(revoke("ana")).then_refused(&Refusal::LastAdmin("ana".into()));
    let mut spec = spec.given([add(3, "cleo", &["viewer", "admin"])]);
    spec.when(revoke("ana")).then(&["token.revoked"]);
    spec.when(revoke("cleo")).then_refused(&Refusal::LastAdmin("cleo".into()));
    spec.when(revoke("ben")).then(&["token.revoked"]);
    assert_eq!(names(&spec), ["cleo"]);
}

#[test]
fn unknown_token_cannot_be_revoked() {
    Spec::default().when(revoke("dora")).then_refused(&Refusal::NoToken("dora".into()));
}
