//! Keys and tokens: versions are assigned once, names are unique, and the last admin token cannot be removed.

use ensue_engine::access::state::KeyVersions;
use ensue_engine::command::{Ask, Command, Refusal};
use ensue_engine::ids::{Id, TokenId};
use ensue_engine::names::KeyRef;
use ensue_test_support::NOON;
use ensue_test_support::spec::Spec;

use crate::support::{ana, asked_by};

fn key() -> KeyRef {
    "demo.secret".parse().unwrap()
}

fn set_key(version: u32) -> Command {
    asked_by(ana(), Ask::SetKey { key: key(), version })
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
    assert_eq!(spec.engine().access().key(&key()), Some(KeyVersions { current: Some(3), newest: 3 }));
}

#[test]
fn key_version_is_used_once_even_after_the_key_was_removed() {
    let mut spec = Spec::default().given([set_key(2)]);
    for given in [1, 2] {
        spec.when(set_key(given)).then_refused(&Refusal::KeyVersion { key: key(), now: 2, given });
    }
    spec.when(remove_key()).then(&["key.removed"]);
    assert_eq!(spec.engine().access().key(&key()), Some(KeyVersions { current: None, newest: 2 }));
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
