//! Installing and removing packs: the catalog's revisions and its history.

use ensue_engine::catalog::{Catalog, Definitions};
use ensue_engine::command::{Answer, Ask, Command, PackChange, Refusal};
use ensue_engine::record::{Body, CatalogRevision, Digest};
use ensue_test_support::spec::Spec;

use crate::support::{ana, asked_by};

/// A log with empty catalogs that can be built.
fn site() -> Spec {
    (1..=6).fold(Spec::default(), |spec, revision| spec.with_catalog(Catalog::new(CatalogRevision(revision), Definitions::default())))
}

fn install(name: &str, version: &str) -> PackChange {
    PackChange::Install {
        name: name.parse().unwrap(),
        version: version.to_owned(),
        digest: Digest::of(format!("{name} {version}").as_bytes()),
        manifest: Body::json(&b"{}"[..]),
    }
}

fn remove(name: &str) -> PackChange {
    PackChange::Remove { name: name.parse().unwrap() }
}

fn change(base: u64, changes: Vec<PackChange>) -> Command {
    asked_by(ana(), Ask::ChangePacks { base: CatalogRevision(base), changes })
}

fn versions_at(spec: &Spec, revision: u64) -> Vec<String> {
    let packs = spec.engine().packs().at(CatalogRevision(revision));
    packs.into_iter().map(|(name, pack)| format!("{name} {}", pack.version)).collect()
}

#[test]
fn changes_in_one_command_make_one_revision() {
    let mut spec = site();
    let outcome = spec.when(change(0, vec![install("a", "1"), install("b", "1")])).then(&["pack.installed", "pack.installed"]);
    assert_eq!(outcome.answer(), Answer::Catalog(CatalogRevision(1)));
    assert_eq!(versions_at(&spec, 1), ["a 1", "b 1"]);
}

#[test]
fn change_for_an_older_revision_is_rejected() {
    let mut spec = site().given_commands([change(0, vec![install("a", "1")])]);
    for base in [0, 2] {
        let refusal = Refusal::CatalogMoved { now: CatalogRevision(1), base: CatalogRevision(base) };
        spec.when(change(base, vec![install("a", "2")])).then_refused(&refusal);
    }
}

#[test]
fn every_earlier_revision_can_be_read_even_after_a_restart() {
    let mut spec = site().given_commands([
        change(0, vec![install("a", "1"), install("b", "1")]),
        change(1, vec![install("a", "2")]),
        change(2, vec![remove("b")]),
        change(3, vec![install("b", "2"), remove("a")]),
    ]);
    spec.restart();
    let history: Vec<Vec<String>> = (0..=5).map(|revision| versions_at(&spec, revision)).collect();
    assert_eq!(history[0], Vec::<String>::new());
    assert_eq!(history[1], ["a 1", "b 1"]);
    assert_eq!(history[2], ["a 2", "b 1"]);
    assert_eq!(history[3], ["a 2"]);
    assert_eq!(history[4], ["b 2"]);
    assert_eq!(history[5], history[4]);
    assert_eq!(spec.engine().catalog_revision(), CatalogRevision(4));
    assert!(spec.engine().packs().get(&"a".parse().unwrap()).is_none());
    assert_eq!(spec.engine().packs().get(&"b".parse().unwrap()).map(|pack| pack.version.as_str()), Some("2"));
}

#[test]
fn removing_a_missing_pack_rejects_the_whole_catalog_change() {
    let mut spec = site();
    spec.when(change(0, vec![install("a", "1"), remove("b")])).then_refused(&Refusal::NoPack("b".parse().unwrap()));
    assert_eq!(spec.engine().catalog_revision(), CatalogRevision(0));
}

#[test]
fn empty_change_makes_no_revision() {
    let outcome = site().when(change(0, Vec::new())).then(&[]);
    assert_eq!(outcome.answer(), Answer::Catalog(CatalogRevision(0)));
}

#[test]
fn pack_whose_name_is_a_prefix_of_another_s_is_separate() {
    let spec = site().given_commands([change(0, vec![install("a", "1"), install("ab", "1")]), change(1, vec![remove("a")])]);
    assert_eq!(versions_at(&spec, 2), ["ab 1"]);
}
