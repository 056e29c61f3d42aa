//! The packs of the library, which are in the binary.
//!
//! Every node has those of [`INSTALLED`], and `check` ensures that no other pack uses their names. The others are there to be
//! added: `ensue packs add` copies one into the folder of packs, where it is a pack like any other.

mod available;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use ensue_engine::names::PackName;
use ensue_engine::record::Digest;

pub use available::{AvailablePack, available};
use files::FILES;

use crate::diagnostics::Report;
use crate::read::{FileMode, PackFile, PackSource};
use crate::syntax::{self, WrittenPack};

/// The packs that every node has.
pub const INSTALLED: [&str; 3] = ["core", "examples", "github"];

/// Returns the packs that every node has, ordered by name.
pub fn library() -> Vec<PackSource> {
    all().into_iter().filter(|(name, _)| INSTALLED.contains(name)).map(|(_, source)| source).collect()
}

/// Returns all packs of the library by name.
fn all() -> BTreeMap<&'static str, PackSource> {
    let mut packs: BTreeMap<&str, PackSource> = BTreeMap::new();
    for (path, text) in FILES {
        let Some((pack, inside)) = path.split_once('/') else { continue };
        let source = packs.entry(pack).or_insert_with(|| PackSource { origin: format!("library/{pack}"), files: BTreeMap::new() });
        source.files.insert(inside.to_owned(), PackFile { bytes: Bytes::from_static(text.as_bytes()), mode: FileMode::Plain });
    }
    packs
}

/// Returns the name of the pack that all others may use without listing it.
pub(crate) fn core() -> PackName {
    "core".parse().expect("it is of the shape of a name")
}

/// Returns the names of the packs that every node has.
pub fn names() -> BTreeSet<PackName> {
    INSTALLED.iter().filter_map(|name| name.parse().ok()).collect()
}

/// Returns how to add a pack of the library that a node has only if somebody adds it; `None` for other names.
pub(crate) fn how_to_add(pack: &str) -> Option<String> {
    let is_available =
        !INSTALLED.contains(&pack) && FILES.iter().any(|(path, _)| path.split_once('/').is_some_and(|(name, _)| name == pack));
    is_available.then(|| format!("add it from the library: ensue packs add {pack}"))
}

/// Returns the digest of each pack that every node has, by name.
pub(crate) fn digests() -> &'static BTreeMap<PackName, Digest> {
    static DIGESTS: LazyLock<BTreeMap<PackName, Digest>> = LazyLock::new(|| {
        let named = |source: &PackSource| source.origin.strip_prefix("library/").and_then(|name| name.parse().ok());
        library().iter().filter_map(|source| Some((named(source)?, source.digest()))).collect()
    });
    &DIGESTS
}

/// Reads a pack as [`syntax::read`] does. A node reads the packs of its library with each change of its
/// folder, and they never change, so each of them is parsed once.
pub(crate) fn read(source: &PackSource, report: &mut Report, tests: &mut Report) -> Option<Arc<WrittenPack>> {
    /// By name and origin, since errors name files by their origin.
    static PARSED: Mutex<BTreeMap<(PackName, String), Arc<WrittenPack>>> = Mutex::new(BTreeMap::new());
    let name = source.origin.rsplit('/').next()?.parse().ok();
    let shipped: Option<PackName> = name.filter(|name| digests().get(name).is_some_and(|digest| *digest == source.digest()));
    let Some(name) = shipped else { return syntax::read(source, report, tests).map(Arc::new) };
    let key = (name, source.origin.clone());
    let mut parsed = PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pack) = parsed.get(&key) {
        return Some(Arc::clone(pack));
    }
    let pack = Arc::new(syntax::read(source, report, tests)?);
    // A pack of the library has no findings, and is kept without them.
    if report.is_empty() && tests.is_empty() {
        parsed.insert(key, Arc::clone(&pack));
    }
    Some(pack)
}

#[cfg(test)]
mod tests {
    use ensue_engine::events::internal::InternalTrigger;
    use ensue_engine::schedule::SCHEDULE_TRIGGER;

    use super::*;
    use crate::diagnostics::Colour;

    #[test]
    fn every_file_of_the_folder_is_in_the_binary() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("library");
        let mut found = Vec::new();
        for pack in std::fs::read_dir(&folder).unwrap() {
            let path = pack.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let source = PackSource::read(&path).unwrap();
            found.extend(source.files.keys().map(|file| format!("{name}/{file}")));
        }
        found.sort();
        let listed: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn core_has_exactly_the_engine_s_own_triggers() {
        let found: Vec<String> = FILES
            .iter()
            .filter_map(|(path, _)| Some(format!("core.{}", path.strip_prefix("core/triggers/")?.strip_suffix(".yaml")?)))
            .collect();
        let mut own: Vec<String> = InternalTrigger::ALL.map(|own| own.as_str().to_owned()).into();
        own.push(SCHEDULE_TRIGGER.to_owned());
        own.sort();
        assert_eq!(found, own);
    }

    #[test]
    fn pack_of_the_library_is_parsed_once_and_an_edited_one_is_read_as_it_is() {
        let parsed = |source: &PackSource| read(source, &mut Report::default(), &mut Report::default()).unwrap();
        let mut core = library().into_iter().find(|source| source.origin == "library/core").unwrap();
        let first = parsed(&core);
        assert!(Arc::ptr_eq(&first, &parsed(&core)));
        assert!(core.files.remove("actions/echo.yaml").is_some());
        let edited = parsed(&core);
        assert!(first.actions.contains_key("echo") && !edited.actions.contains_key("echo"));
    }

    #[test]
    fn library_has_no_findings() {
        let checked = crate::check(&library(), &BTreeMap::new());
        let shown: String = checked.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
        assert_eq!(shown, "");
        let names: Vec<&str> = checked.good.iter().map(|pack| pack.name.as_str()).collect();
        assert_eq!(names, ["core", "examples", "github"]);
    }
}
