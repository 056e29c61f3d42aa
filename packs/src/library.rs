//! The packs that ship with the binary.
//!
//! They are installed like any other pack. `check` ensures that no other pack uses their names.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ensue_engine::names::PackName;
use ensue_engine::record::Digest;

use crate::read::{FileMode, PackFile, PackSource};

macro_rules! files {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../library/", $path))),)*]
    };
}

/// Every file of `packs/library/`; a test compares the list with the folder.
const FILES: &[(&str, &str)] = files![
    "core/README.md",
    "core/actions/echo.yaml",
    "core/actions/emit.yaml",
    "core/actions/http.yaml",
    "core/actions/inquiry.yaml",
    "core/actions/noop.yaml",
    "core/actions/set_var.yaml",
    "core/actions/shell.yaml",
    "core/actions/sleep.yaml",
    "core/actions/wait.yaml",
    "core/pack.yaml",
    "core/tests/actions.test.yaml",
    "core/triggers/attempt_indeterminate.yaml",
    "core/triggers/execution_ended.yaml",
    "core/triggers/inquiry_ended.yaml",
    "core/triggers/inquiry_escalated.yaml",
    "core/triggers/inquiry_opened.yaml",
    "core/triggers/inquiry_reminded.yaml",
    "core/triggers/key_expiring.yaml",
    "core/triggers/rule_erred.yaml",
    "core/triggers/schedule.yaml",
    "core/triggers/sensor_failed.yaml",
    "core/triggers/sensor_recovered.yaml",
    "examples/README.md",
    "examples/pack.yaml",
    "examples/rules/answer_hello.yaml",
    "examples/rules/celebrate_merge.yaml",
    "examples/rules/greet_pull_request.yaml",
    "examples/rules/note_pull_request.yaml",
    "examples/tests/hello.test.yaml",
    "examples/tests/pull_requests.test.yaml",
    "examples/triggers/hello.yaml",
    "github/README.md",
    "github/pack.yaml",
    "github/sensors/webhook.yaml",
    "github/tests/events.test.yaml",
    "github/triggers/check_run.yaml",
    "github/triggers/check_suite.yaml",
    "github/triggers/create.yaml",
    "github/triggers/delete.yaml",
    "github/triggers/deployment.yaml",
    "github/triggers/deployment_status.yaml",
    "github/triggers/event.yaml",
    "github/triggers/fork.yaml",
    "github/triggers/issue_comment.yaml",
    "github/triggers/issues.yaml",
    "github/triggers/ping.yaml",
    "github/triggers/pull_request.yaml",
    "github/triggers/pull_request_review.yaml",
    "github/triggers/pull_request_review_comment.yaml",
    "github/triggers/push.yaml",
    "github/triggers/release.yaml",
    "github/triggers/repository.yaml",
    "github/triggers/star.yaml",
    "github/triggers/status.yaml",
    "github/triggers/workflow_job.yaml",
    "github/triggers/workflow_run.yaml",
];

/// Returns the packs of the library, ordered by name.
pub fn library() -> Vec<PackSource> {
    let mut packs: BTreeMap<&str, PackSource> = BTreeMap::new();
    for (path, text) in FILES {
        let Some((pack, inside)) = path.split_once('/') else { continue };
        let source = packs.entry(pack).or_insert_with(|| PackSource { origin: format!("library/{pack}"), files: BTreeMap::new() });
        source.files.insert(inside.to_owned(), PackFile { bytes: Bytes::from_static(text.as_bytes()), mode: FileMode::Plain });
    }
    packs.into_values().collect()
}

/// Returns the name of the pack that all others may use without listing it.
pub(crate) fn core() -> PackName {
    "core".parse().expect("it is of the shape of a name")
}

/// Returns the names of the packs of the library.
pub fn names() -> BTreeSet<PackName> {
    let folders = FILES.iter().filter_map(|(path, _)| path.split_once('/'));
    folders.filter_map(|(name, _)| name.parse().ok()).collect()
}

/// Returns the digest of each pack of the library, by name.
pub(crate) fn digests() -> BTreeMap<PackName, Digest> {
    let named = |source: &PackSource| source.origin.strip_prefix("library/").and_then(|name| name.parse().ok());
    library().iter().filter_map(|source| Some((named(source)?, source.digest()))).collect()
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
    fn library_has_no_findings() {
        let checked = crate::check(&library(), &BTreeMap::new());
        let shown: String = checked.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
        assert_eq!(shown, "");
        let names: Vec<&str> = checked.good.iter().map(|pack| pack.name.as_str()).collect();
        assert_eq!(names, ["core", "examples", "github"]);
    }
}
