//! Tests of the views with few rows: packs, keys, tokens, dead letters, parked reactions.

use ensue_engine::access::audit::facts::{AccessDenied, ExportMade, LoginRefused};
use ensue_engine::access::facts::{KeyRemoved, KeySet, TokenAdded, TokenLimited, TokenRevoked, TokenRotated};
use ensue_engine::access::keys::facts::{KeyExpirySet, KeyRevealed, KeyRotated};
use ensue_engine::catalog::facts::{PackInstalled, PackRemoved};
use ensue_engine::fact::Fact;
use ensue_engine::health::facts::{ReactionDismissed, ReactionParked, ReactionRetried};
use ensue_engine::ids::{EventId, ExecutionId, Id, IdentityId, LogId, TokenId};
use ensue_engine::record::{Actor, AttemptOf, Body, CatalogRevision, CredentialId, Digest, Position, StreamId};
use ensue_engine::vars::facts::{VarRemoved, VarSet};
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::packs::PackStatus;
use ensue_views::tokens::TokenStatus;
use ensue_views::{AuditEntry, Key, Pack, ParkedReaction, Term, Token, Var, View as _};

use crate::{fold, only};

fn add_fact(story: &mut Story, stream: StreamId, fact: impl Into<Fact>) -> Position {
    story.append_fact(stream, None, Actor::Token("ana".into()), None, fact.into(), None)
}

fn install(story: &mut Story, version: &str, catalog: u64) -> Position {
    let name: ensue_engine::names::PackName = "garden".parse().unwrap();
    let fact = PackInstalled { name: name.clone(), version: version.into(), digest: Digest::of(b"x"), catalog: CatalogRevision(catalog) };
    add_fact(story, StreamId::Pack(name), fact)
}

#[test]
fn pack_row_shows_the_last_installed_version() {
    let mut story = Story::new();
    install(&mut story, "1.0.0", 1);
    let upgraded = install(&mut story, "1.1.0", 2);
    let pack: Pack = only(story.records());
    assert_eq!((pack.version.as_str(), pack.catalog, pack.position), ("1.1.0", CatalogRevision(2), upgraded));
    assert_eq!((pack.status, pack.installed_by.as_str()), (PackStatus::Installed, "token/ana"));
}

#[test]
fn removed_pack_stays_listed_as_removed_until_reinstalled() {
    let mut story = Story::new();
    install(&mut story, "1.0.0", 1);
    let removed = PackRemoved { name: "garden".parse().unwrap(), catalog: CatalogRevision(2) };
    add_fact(&mut story, StreamId::Pack("garden".parse().unwrap()), removed);
    let pack: Pack = only(story.records());
    assert_eq!((pack.status, pack.removed_by.as_deref()), (PackStatus::Removed, Some("token/ana")));
    install(&mut story, "1.0.0", 3);
    let pack: Pack = only(story.records());
    assert_eq!((pack.status, pack.removed_at), (PackStatus::Installed, None));
}

#[test]
fn key_is_listed_until_its_removal() {
    let mut story = Story::new();
    let key: ensue_engine::names::KeyRef = "garden.code".parse().unwrap();
    let stream = || StreamId::Key(key.clone());
    add_fact(&mut story, stream(), KeySet { key: key.clone(), version: 1 });
    let again = add_fact(&mut story, stream(), KeySet { key: key.clone(), version: 2 });
    let set: Key = only(story.records());
    assert_eq!((set.current.version, set.position, set.current.set_by.as_str()), (2, again, "token/ana"));
    add_fact(&mut story, stream(), KeyRemoved { key: key.clone() });
    assert!(fold::<Key>(story.records()).is_empty());
}

#[test]
fn key_shows_its_last_versions_and_how_long_the_one_before_is_accepted() {
    let mut story = Story::new();
    let key: ensue_engine::names::KeyRef = "garden.code".parse().unwrap();
    let stream = || StreamId::Key(key.clone());
    add_fact(&mut story, stream(), KeySet { key: key.clone(), version: 1 });
    let until = NOON.plus_millis(3_600_000);
    for version in 2..=3 {
        add_fact(&mut story, stream(), KeyRotated { key: key.clone(), version, previous_until: Some(until) });
    }
    let expiry = add_fact(&mut story, stream(), KeyExpirySet { key: key.clone(), version: 3, expires_at: until });
    add_fact(&mut story, stream(), KeyRevealed { key: key.clone(), version: 3 });
    let set: Key = only(story.records());
    assert_eq!((set.current.version, set.current.expires_at, set.position), (3, Some(until), expiry));
    let accepted: Vec<_> = set.replaced.iter().map(|version| (version.version, version.accepted_until)).collect();
    assert_eq!(accepted, [(2, Some(until)), (1, None)]);
    for version in 4..40 {
        add_fact(&mut story, stream(), KeySet { key: key.clone(), version });
    }
    let set: Key = only(story.records());
    assert_eq!((set.replaced.len() + 1, set.replaced[0].accepted_until), (ensue_views::keys::VERSIONS_SHOWN_MAX, None));
}

#[test]
fn var_is_listed_until_its_removal() {
    let mut story = Story::new();
    let name: ensue_engine::names::VarName = "sync.cursor".parse().unwrap();
    let execution = ExecutionId(Id::root(NOON, 7));
    let set = |execution| VarSet { name: name.clone(), execution };
    let mut change = |fact: Fact, value: Option<&str>| {
        let body = value.map(|value| Body::json(value.to_owned()));
        story.append_fact(StreamId::Var(name.clone()), None, Actor::Worker("local".into()), None, fact, body)
    };
    change(set(None).into(), Some("1"));
    let again = change(set(Some(execution)).into(), Some("[2]"));
    change(VarSet { name: "other".parse().unwrap(), execution: None }.into(), Some("3"));
    let rows = fold::<Var>(story.records());
    let var = rows.values().find(|var| var.name == name).unwrap();
    assert_eq!((var.position, var.set_by.as_str(), var.execution), (again, "worker/local", Some(execution)));
    assert_eq!(var.value.map(|value| (value.position, value.bytes)), Some((again, 3)));
    story.append_fact(StreamId::Var(name.clone()), None, Actor::Operator, None, VarRemoved { name, execution: None }.into(), None);
    assert_eq!(fold::<Var>(story.records()).len(), 1);
}

#[test]
fn revoked_token_stays_listed_as_revoked() {
    let mut story = Story::new();
    let id = TokenId(Id::root(NOON, 7));
    add_fact(&mut story, StreamId::Token(id), TokenAdded { id, name: "bo".into(), roles: vec!["viewer".into()] });
    let added: Token = only(story.records());
    assert_eq!((added.status, added.revoked_at, added.added_by.as_str()), (TokenStatus::Active, None, "token/ana"));
    add_fact(&mut story, StreamId::Token(id), TokenRevoked { id });
    let revoked: Token = only(story.records());
    assert_eq!((revoked.status, revoked.name.as_str(), revoked.roles), (TokenStatus::Revoked, "bo", vec!["viewer".to_owned()]));
    assert!(revoked.revoked_at.is_some());
}

#[test]
fn replaced_token_ends_with_the_overlap_or_at_its_own_end_before_that() {
    let (id, successor, minute) = (TokenId(Id::root(NOON, 7)), TokenId(Id::root(NOON, 8)), 60_000);
    for (lasts, overlap, ends) in
        [(None, minute, minute), (Some(minute), 60 * minute, minute), (Some(60 * minute), minute, minute), (Some(minute), 0, 0)]
    {
        let mut story = Story::new();
        for added in [id, successor] {
            add_fact(&mut story, StreamId::Token(added), TokenAdded { id: added, name: "ci".into(), roles: vec!["viewer".into()] });
        }
        let expires_at = lasts.map(|millis| NOON.plus_millis(millis));
        let scopes = Some(vec!["events:read".to_owned()]);
        add_fact(&mut story, StreamId::Token(id), TokenLimited { id, identity: None, scopes: scopes.clone(), expires_at });
        add_fact(&mut story, StreamId::Token(id), TokenRotated { id, successor, until: NOON.plus_millis(overlap) });
        let tokens = fold::<Token>(story.records());
        let (old, new) = (&tokens[&id.to_string()], &tokens[&successor.to_string()]);
        assert_eq!((old.status, old.expires_at), (TokenStatus::Replaced, Some(NOON.plus_millis(ends))), "{lasts:?}, {overlap}");
        assert_eq!((old.scopes.clone(), new.status, new.expires_at), (scopes, TokenStatus::Active, None), "{lasts:?}, {overlap}");
    }
}

#[test]
fn expiry_of_a_version_that_was_replaced_is_not_shown() {
    let mut story = Story::new();
    let key: ensue_engine::names::KeyRef = "garden.code".parse().unwrap();
    let stream = || StreamId::Key(key.clone());
    let expires_at = NOON.plus_millis(3_600_000);
    add_fact(&mut story, stream(), KeySet { key: key.clone(), version: 1 });
    let second = add_fact(&mut story, stream(), KeySet { key: key.clone(), version: 2 });
    add_fact(&mut story, stream(), KeyExpirySet { key: key.clone(), version: 1, expires_at });
    let set: Key = only(story.records());
    assert_eq!((set.current.expires_at, set.replaced[0].expires_at, set.position), (None, None, second));
    let last = add_fact(&mut story, stream(), KeyExpirySet { key: key.clone(), version: 2, expires_at });
    let set: Key = only(story.records());
    assert_eq!((set.current.expires_at, set.position), (Some(expires_at), last));
}

#[test]
fn parked_reaction_is_listed_until_retried_or_dismissed() {
    let mut story = Story::new();
    let of = Position(1);
    let stream = StreamId::Log(story.log());
    let ends: [Fact; 2] = [ReactionRetried { of }.into(), ReactionDismissed { of }.into()];
    for end in ends {
        let parked_at = add_fact(&mut story, stream.clone(), ReactionParked { of, next: 2, error: "index out of bounds".into() });
        let parked: ParkedReaction = only(story.records());
        assert_eq!((parked.of, parked.position, parked.next), (of, parked_at, 2));
        add_fact(&mut story, stream.clone(), end);
        assert!(fold::<ParkedReaction>(story.records()).is_empty());
    }
}

/// Returns the rows of the audit, oldest first.
fn rows(story: &Story) -> Vec<AuditEntry> {
    let mut rows: Vec<AuditEntry> = fold::<AuditEntry>(story.records()).into_values().collect();
    rows.sort_by_key(|row| row.position);
    rows
}

#[test]
fn audit_has_a_row_for_each_record_of_a_credential() {
    let mut story = Story::new();
    let key: ensue_engine::names::KeyRef = "garden.code".parse().unwrap();
    let stream = StreamId::Key(key.clone());
    let (identity, token) = (IdentityId(Id::root(NOON, 5)), TokenId(Id::root(NOON, 6)));
    let ana = Actor::Identity { id: identity, by: CredentialId::Token(token) };
    let fact = |version| KeySet { key: key.clone(), version }.into();
    story.append_fact(stream.clone(), None, ana, None, fact(1), None);
    story.append_fact(stream.clone(), None, Actor::Token("ci".into()), None, fact(2), None);
    story.append_fact(stream.clone(), None, Actor::Operator, None, fact(3), None);
    for other in [Actor::Engine, Actor::Worker("local".into()), Actor::Sensor("garden.hook".parse().unwrap())] {
        story.append_fact(stream.clone(), None, other, None, fact(4), None);
    }
    let shown: Vec<_> = rows(&story).into_iter().map(|row| (row.actor, row.credential, row.what, row.of)).collect();
    let row = |actor: String, credential: Option<String>| (actor, credential, "key.set".to_owned(), "key/garden.code".to_owned());
    assert_eq!(
        shown,
        [
            row(format!("identity/{identity}"), Some(format!("token/{token}"))),
            row("token/ci".into(), Some("token/ci".into())),
            row("operator".into(), None),
        ]
    );
    assert_eq!(AuditEntry::of_column(&StreamId::Event(EventId(Id::root(NOON, 1)))), None);
}

#[test]
fn audit_shows_what_an_execution_did_with_its_own_token() {
    let mut story = Story::new();
    let key: ensue_engine::names::KeyRef = "garden.code".parse().unwrap();
    let (one, other) = (ExecutionId(Id::root(NOON, 7)), ExecutionId(Id::root(NOON, 8)));
    for (execution, number) in [(one, 1), (one, 2), (other, 1)] {
        let actor = Actor::Execution(AttemptOf { execution, number });
        story.append_fact(StreamId::Key(key.clone()), None, actor, None, KeySet { key: key.clone(), version: 1 }.into(), None);
    }
    let shown: Vec<_> = rows(&story).into_iter().map(|row| (row.actor, row.credential)).collect();
    let row = |of: ExecutionId, number: u32| (format!("execution/{of}"), Some(format!("execution/{of}/{number}")));
    assert_eq!(shown, [row(one, 1), row(one, 2), row(other, 1)], "its attempts are found together");
    let columns: Vec<_> = rows(&story).iter().map(|row| row.columns()[0].clone()).collect();
    assert_eq!(columns[0], Some(Term::Text(format!("execution/{one}"))));
    assert_eq!(columns[1], columns[0]);
}

#[test]
fn audit_shows_refusals_and_exports_with_their_numbers() {
    let mut story = Story::new();
    let stream = StreamId::Log(LogId(Id::root(NOON, 1)));
    let identity = IdentityId(Id::root(NOON, 5));
    let ci = || Actor::Token("ci".into());
    let denied = AccessDenied { permission: Some("keys:write".into()), count: 3, first: NOON, last: NOON };
    story.append_fact(stream.clone(), None, ci(), None, denied.clone().into(), None);
    story.append_fact(stream.clone(), None, Actor::Engine, None, AccessDenied { permission: None, count: 7, ..denied }.into(), None);
    let refused = LoginRefused { way: Some("token".into()), identity: Some(identity), count: 2, first: NOON, last: NOON };
    story.append_fact(stream.clone(), None, Actor::Engine, None, refused.into(), None);
    let export = ExportMade { what: "audit".into(), filters: [].into(), rows: 9, digest: Digest::of(b"") };
    story.append_fact(stream, None, ci(), None, export.into(), None);
    let shown: Vec<_> = rows(&story).into_iter().map(|row| (row.what, row.actor, row.permission.or(row.way), row.count)).collect();
    let row = |what: &str, actor: &str, of: Option<&str>, count| (what.to_owned(), actor.to_owned(), of.map(str::to_owned), Some(count));
    assert_eq!(
        shown,
        [
            row("access.denied", "token/ci", Some("keys:write"), 3),
            row("access.denied", "engine", None, 7),
            row("login.refused", &format!("identity/{identity}"), Some("token"), 2),
            row("export.made", "token/ci", None, 9),
        ]
    );
}
