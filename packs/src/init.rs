//! The files that `ensue init` writes: the node's configuration, and one pack with one rule and one test.
//!
//! This module only returns texts. The command line writes them, and refuses to overwrite existing files.

use ensue_engine::names::PackName;

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("init/", $path))
    };
}

/// Every file with its text, in which `{{pack}}` is a placeholder for the pack's name.
const FILES: &[(&str, &str)] = &[
    ("ensue.yaml", template!("ensue.yaml")),
    ("packs/{{pack}}/pack.yaml", template!("pack.yaml")),
    ("packs/{{pack}}/README.md", template!("README.md")),
    ("packs/{{pack}}/triggers/hello.yaml", template!("triggers/hello.yaml")),
    ("packs/{{pack}}/sensors/github.yaml", template!("sensors/github.yaml")),
    ("packs/{{pack}}/rules/greet.yaml", template!("rules/greet.yaml")),
    ("packs/{{pack}}/tests/greet.test.yaml", template!("tests/greet.test.yaml")),
];

const PACK: &str = "{{pack}}";

/// Returns the files of a new project, by path within its folder.
pub fn init_files(pack: &PackName) -> Vec<(String, String)> {
    let filled = |text: &str| text.replace(PACK, pack.as_str());
    FILES.iter().map(|(path, text)| (filled(path), filled(text))).collect()
}

/// Derives a pack's name from a folder's (`my-automation` becomes `my_automation`). Returns `None` if no
/// letter is left.
pub fn pack_name_of(folder: &str) -> Option<PackName> {
    let name: String = folder.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    name.trim_start_matches(|c: char| !c.is_ascii_lowercase()).trim_end_matches('_').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Colour;
    use crate::{PackSource, check, library};
    use std::collections::BTreeMap;

    #[test]
    fn new_project_has_no_findings() {
        let pack: PackName = "my_automation".parse().unwrap();
        let files = init_files(&pack);
        let inside = files.iter().filter_map(|(path, text)| Some((path.strip_prefix("packs/my_automation/")?.to_owned(), text.clone())));
        let source = PackSource::of("packs/my_automation", inside).unwrap();
        let packs: Vec<PackSource> = library().into_iter().chain([source]).collect();
        let checked = check(&packs, &BTreeMap::new());
        let shown: String = checked.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
        assert_eq!(shown, "");
        assert!(checked.good.iter().any(|good| good.name == pack && good.rules.len() == 1));
        assert!(files.iter().all(|(path, text)| !path.contains("{{pack}}") && !text.contains("{{pack}}")));
    }

    #[test]
    fn folder_name_becomes_the_pack_name() {
        let name = |folder| pack_name_of(folder).map(|name| name.to_string());
        assert_eq!(name("my-automation").as_deref(), Some("my_automation"));
        assert_eq!(name("2nd.Try").as_deref(), Some("nd_try"));
        assert_eq!(name("42"), None);
    }
}
