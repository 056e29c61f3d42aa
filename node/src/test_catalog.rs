//! Catalogs for tests: the pack `core` and a pack `demo` with the given files.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::{Catalog, Pack};
use ensue_engine::command::{Ask, PackChange};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::RuleRef;
use ensue_engine::record::{Body, CatalogRevision};
use ensue_packs::{Manifest, PackSource, build, check, library};
use ensue_test_support::NOON;

/// Returns the catalog of revision 1 with these files of the pack `demo`.
pub(crate) fn catalog_with(files: impl IntoIterator<Item = (&'static str, String)>) -> Catalog {
    let pack = ("pack.yaml", "name: demo\nversion: 1.0.0\n".to_owned());
    let pack = PackSource::of("packs/demo", std::iter::once(pack).chain(files)).unwrap();
    let packs: Vec<PackSource> = library().into_iter().filter(|pack| pack.origin == "library/core").chain([pack]).collect();
    let checked = check(&packs, &BTreeMap::new());
    assert!(!checked.has_errors(), "{:?}", checked.diagnostics);
    let id_of = |_: &RuleRef| RuleId(Id::root(NOON, 7));
    let good: Vec<(PackSource, Manifest)> = checked.good.into_iter().map(|good| (good.source.clone(), good.manifest(id_of))).collect();
    build(CatalogRevision(1), &good).unwrap()
}

/// Returns the command that installs the catalog as the first one.
pub(crate) fn installing(catalog: &Catalog) -> Ask {
    let install = |pack: &Arc<Pack>| PackChange::Install {
        name: pack.name.clone(),
        version: pack.version.clone(),
        digest: pack.digest,
        manifest: Body::json(&b"{}"[..]),
    };
    Ask::ChangePacks { base: CatalogRevision(0), changes: catalog.packs().values().map(install).collect() }
}
