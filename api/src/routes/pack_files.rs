//! The files of installed packs: list them, show one, and check what a pack would be with others.

use std::collections::BTreeMap;

use ensue_engine::access::limit::Target;
use ensue_engine::explain::Explain;
use ensue_engine::names::PackName;
use ensue_engine::record::CatalogRevision;
use ensue_packs::{Diagnostic, PackSource, check_until};
use thiserror::Error;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing;
use crate::operation::Operation;
use crate::paging::PageQuery;
use crate::permissions::{PacksRead, Permission, RulesWrite};
use crate::ports::{Patience, Ports};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{Query, bad};
use crate::respond;
use crate::wire::pack_files::{WireChecked, WireInstalledFile, WireToCheck};

/// The parameter of the version of a file.
#[derive(Query)]
struct RevisionQuery {
    /// The file as it was in this revision of the catalog; without it, as it is installed.
    #[query(what = "the revision of a catalog, such as 12")]
    revision: Option<u64>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<PacksRead>(
        "/packs/{pack}/files",
        list,
        Operation::lists::<WireInstalledFile>("pack_file_list", "Lists the files of an installed pack by path", &[PageQuery::PARAMETERS]),
    );
    routes.get::<PacksRead>(
        "/packs/{pack}/files/{path}",
        get,
        Operation::shows::<WireInstalledFile>("pack_file_get", "Returns a file of an installed pack with its text")
            .with_query(&[RevisionQuery::PARAMETERS])
            .refuses(&[(410, "catalog_gone")]),
    );
    // A check is work, so that reading packs is not enough.
    routes.post::<RulesWrite>(
        "/packs/{pack}/check",
        try_out,
        Operation::new("pack_check", "Checks an installed pack as if some of its files were others; nothing is installed")
            .passes_keys_over()
            .takes_json::<WireToCheck>(r#"{"files": {"rules/greet.yaml": "trigger: demo.hello\naction: core.noop\n"}}"#)
            .gives::<WireChecked>(200, "The findings.", &[])
            .refuses(&[(404, "not_found"), (422, "pack_unreadable")]),
    );
}

/// The definitions of an earlier revision are no longer stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("the catalog of revision {0} is no longer stored")]
#[explain(slug = "catalog-gone", fault = Missing, hint = "leave out `revision` to see the file as it is installed")]
struct RevisionGone(CatalogRevision);

/// Returns the name of the pack in the path, if the caller may see the pack.
fn pack_name<P: Permission>(allowed: &AllowedCaller<P>, call: &Call) -> Result<PackName, Problem> {
    let name: PackName = call.parse_part("pack", PacksRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::of_pack(name.as_str()))?;
    Ok(name)
}

/// Reads the files of an installed pack. Blocking.
fn source(ports: &Ports, name: &PackName) -> Result<PackSource, Problem> {
    let source = ports.installed.source(name)?;
    Ok(source.ok_or_else(|| Missing::new(PacksRead::THING, name.as_str()))?)
}

/// Lists the files of a pack.
pub(super) async fn list(allowed: AllowedCaller<PacksRead>, call: Call) -> Outcome {
    let name = pack_name(&allowed, &call)?;
    let source = call.api().threads.blocking(move |ports| source(ports, &name)).await??;
    let listed = listing::of_catalog(&call, &allowed, source.files.iter(), |(path, _)| (*path).clone())?;
    let items = listed.items.into_iter().map(|(path, file)| WireInstalledFile::for_list(path, file)).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a file of a pack as it is installed, or as it was in an earlier revision of the catalog.
pub(super) async fn get(allowed: AllowedCaller<PacksRead>, call: Call) -> Outcome {
    let name = pack_name(&allowed, &call)?;
    let path = call.part("path").to_owned();
    let revision = call.parameters::<RevisionQuery>()?.revision.map(CatalogRevision);
    respond::json(&call.api().threads.blocking(move |ports| read_file(ports, &name, &path, revision)).await??)
}

/// Shows a file. Blocking.
fn read_file(ports: &Ports, name: &PackName, path: &str, revision: Option<CatalogRevision>) -> Result<WireInstalledFile, Problem> {
    let current = ports.installed.current();
    let (catalog, source) = match revision {
        Some(revision) if revision > current.revision() => {
            return Err(bad("revision", format!("is {revision}, but the newest revision of the catalog is {}", current.revision())).into());
        }
        Some(revision) if revision < current.revision() => {
            // The files of the packs are kept as long as the catalog can be built from them.
            let catalog = ports.installed.at(revision).ok_or(RevisionGone(revision))?;
            let digest = catalog.packs().get(name).map(|pack| pack.digest);
            let digest = digest.ok_or_else(|| Missing::new(PacksRead::THING, name.as_str()))?;
            (catalog, ports.installed.copy(name, &digest).map_err(|_| RevisionGone(revision))?)
        }
        Some(_) | None => (current, source(ports, name)?),
    };
    let file = source.files.get(path).ok_or_else(|| Missing::new("file of the pack", path))?;
    Ok(WireInstalledFile::whole((name, path), file, &catalog))
}

/// Checks a pack with other files.
pub(super) async fn try_out(allowed: AllowedCaller<RulesWrite>, mut call: Call) -> Outcome {
    let name = pack_name(&allowed, &call)?;
    let WireToCheck { files } = call.json().await?;
    let work = move |ports: &Ports, patience: &Patience| check_pack(ports, &name, &files, patience);
    respond::json(&call.api().threads.checking_packs(&allowed.caller(), work).await??)
}

/// Checks the installed packs as if one had these files. Blocking.
fn check_pack(
    ports: &Ports,
    name: &PackName,
    files: &BTreeMap<String, Option<String>>,
    patience: &Patience,
) -> Result<WireChecked, Problem> {
    let catalog = ports.installed.current();
    // Findings name the pack by its name, wherever it was read from.
    let mut tried = PackSource { origin: name.to_string(), ..source(ports, name)? };
    for (path, text) in files {
        match text {
            Some(text) => tried.put(path.clone(), text.clone()).map_err(|why| Problem::of(&why))?,
            None => drop(tried.files.remove(path)),
        }
    }
    let mut sources = vec![tried];
    for other in catalog.packs().keys().filter(|other| *other != name) {
        sources.push(source(ports, other)?);
    }
    let configs = catalog.packs().iter().map(|(name, pack)| (name.clone(), (*pack.config).clone())).collect();
    let checked = check_until(&sources, &configs, &patience.stop_check());
    patience.demand()?;
    let checked = checked.expect("a check is given up only if its patience is over, which stays over");
    let is_good = checked.good.iter().any(|good| good.name == *name);
    // The caller may not see the other packs.
    let findings: Vec<Diagnostic> =
        checked.diagnostics.into_iter().filter(|one| one.pack.as_ref().is_none_or(|pack| pack == name)).collect();
    Ok(WireChecked::new(is_good, &findings, files))
}
