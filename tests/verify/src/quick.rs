//! The fast lane, `cargo verify --quick`: formatting, lints, the tests of the crates that changed, the house rules, and thirty worlds.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::report::Ledger;
use crate::{FORMATTING, LINTS, Step, TIDY, cargo, git};

const FEW_WORLDS: Step = Step {
    name: "simulation, thirty worlds",
    arguments: &["run", "-q", "-p", "ensue-simulation", "--bin", "sim", "--locked", "--", "--seeds", "30"],
    variables: &[],
};

/// Names the commit since which changes count. Without it, changes since the last commit and that commit's own count.
const SINCE: &str = "ENSUE_CHANGED_SINCE";

/// The crates whose tests are left to the full lane, each with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("ensue-tests", "the step before has run them"),
    ("ensue", "they start built nodes and take minutes: `cargo test -p ensue`"),
    ("ensue-simulation", "the next step runs thirty worlds; for the rest: `cargo test -p ensue-simulation`"),
];

/// Verifies what changed, as far as it can be verified in a few minutes.
///
/// # Errors
/// If a step failed. The others ran all the same.
pub(crate) fn check() -> Result<()> {
    let mut ledger = Ledger::default();
    for step in [FORMATTING, LINTS, TIDY] {
        ledger.cargo(&step);
    }
    for name in changed_crates()? {
        match LEFT_OUT.iter().find(|(left_out, _)| *left_out == name) {
            Some((_, why)) => eprintln!("verify: skipped: tests of {name}: {why}"),
            None => {
                let arguments = ["test", "-q", "-p", &name, "--locked", "--no-fail-fast"];
                ledger.command(&format!("tests of {name}"), &format!("cargo {}", arguments.join(" ")), cargo(&arguments));
            }
        }
    }
    ledger.cargo(&FEW_WORLDS);
    ledger.print();
    ledger.outcome()
}

/// Returns the names of the crates with changed files.
fn changed_crates() -> Result<BTreeSet<String>> {
    let since = std::env::var(SINCE).unwrap_or_else(|_| "HEAD~1".to_owned());
    let changed = git(&["diff", "--name-only", &since])?;
    let untracked = git(&["ls-files", "--others", "--exclude-standard"])?;
    let paths = changed.lines().chain(untracked.lines()).map(Path::new);
    // The fuzz targets are a workspace of their own.
    Ok(paths.filter(|path| !path.starts_with("fuzz")).filter_map(crate_of).collect())
}

/// Returns the name of the crate that a file belongs to: that of the innermost folder with a manifest.
fn crate_of(path: &Path) -> Option<String> {
    let manifest = path.ancestors().skip(1).map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.exists())?;
    let manifest = std::fs::read_to_string(manifest).ok()?;
    let package = manifest.split_once("[package]")?.1;
    package.lines().find_map(|line| Some(line.strip_prefix("name = ")?.trim_matches('"').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_belongs_to_the_innermost_crate() {
        let root = crate::root();
        let of = |path: &str| crate_of(&root.join(path));
        for (path, name) in [
            ("engine/src/ids/derived.rs", "ensue-engine"),
            ("cli/tests/main.rs", "ensue"),
            ("tests/tidy/rooms.rs", "ensue-tests"),
            ("tests/simulation/plan.rs", "ensue-simulation"),
            ("tests/verify/src/main.rs", "ensue-verify"),
            ("tests/disk/src/lib.rs", "ensue-disk"),
            ("tests/support/src/story.rs", "ensue-test-support"),
        ] {
            assert_eq!(of(path).as_deref(), Some(name), "{path}");
        }
        assert_eq!(of("README.md"), None);
    }
}
