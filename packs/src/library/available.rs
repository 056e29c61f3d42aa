//! The packs of the library that a node has only if somebody adds them.

use ensue_engine::catalog::{Presence, Schema};
use ensue_engine::names::{KeyRef, PackName};

use super::{INSTALLED, all};
use crate::diagnostics::Report;
use crate::read::PackSource;
use crate::syntax;

/// A pack of the library that can be added.
#[derive(Clone, Debug)]
pub struct AvailablePack {
    /// Its name.
    pub name: PackName,
    /// Its version.
    pub version: String,
    /// Its purpose, in a sentence.
    pub description: String,
    /// The keys that it reads.
    pub keys: Vec<KeyRef>,
    /// The settings that have no default, so that an operator must set them.
    pub settings: Vec<String>,
    /// Its files.
    pub source: PackSource,
}

/// Returns the packs that can be added, ordered by name.
pub fn available() -> Vec<AvailablePack> {
    all().into_iter().filter(|(name, _)| !INSTALLED.contains(name)).filter_map(|(_, source)| describe(source)).collect()
}

/// Describes a pack. Returns `None` if its `pack.yaml` has errors, which a test rules out.
fn describe(source: PackSource) -> Option<AvailablePack> {
    let pack = syntax::read(&source, &mut Report::default(), &mut Report::default())?;
    let settings = match &pack.manifest.config {
        Some(Schema::Fields(fields)) => fields.0.iter().filter(|field| field.presence == Presence::Required).collect(),
        Some(Schema::Any | Schema::Whole(_)) | None => Vec::new(),
    };
    Some(AvailablePack {
        settings: settings.into_iter().map(|field| field.name.clone()).collect(),
        version: pack.manifest.version.as_ref()?.to_string(),
        description: pack.manifest.description.clone(),
        keys: pack.manifest.keys.clone()?,
        name: pack.name,
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::diagnostics::Colour;
    use crate::library;

    #[test]
    fn packs_to_add_have_no_findings_and_a_readme() {
        let available = available();
        let packs: Vec<PackSource> = library().into_iter().chain(available.iter().map(|pack| pack.source.clone())).collect();
        let checked = crate::tests(&packs, &BTreeMap::new());
        let shown: String = checked.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
        assert_eq!(shown, "");
        for pack in &available {
            assert!(pack.source.files.contains_key("README.md"), "{}", pack.name);
            assert!(pack.source.files.keys().any(|file| file.starts_with("tests/")), "{}", pack.name);
            assert!(!pack.description.is_empty(), "{}", pack.name);
        }
    }

    #[test]
    fn every_folder_of_the_library_is_installed_or_available() {
        let available = available();
        let names: Vec<&str> = available.iter().map(|pack| pack.name.as_str()).collect();
        let folders: Vec<&str> = all().into_keys().filter(|name| !INSTALLED.contains(name)).collect();
        assert_eq!(names, folders);
    }
}
