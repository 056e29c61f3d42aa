//! The fast lane, `cargo verify --quick`: formatting, lints, the tests of the crates that changed, the house rules, and thirty worlds.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{FORMATTING, LINTS, Report, Step, git};

const HOUSE_RULES: Step =
    Step { name: "house rules", arguments: &["test", "-q", "-p", "ensue-tests", "--test", "tidy", "--locked"], variables: &[] };

const FEW_WORLDS: Step = Step {
    name: "simulation, thirty worlds",
    arguments: &["run", "-q", "-p", "ensue-tests", "--bin", "sim", "--locked", "--", "--seeds", "30"],
    variables: &[],
};

/// Names the commit since which changes count. Without it, changes since the last commit and that commit's own count.
const SINCE: &str = "ENSUE_CHANGED_SINCE";

/// The tests of the command line start built nodes and take minutes: the full lane runs them.
const LEFT_OUT: &[&str] = &["cli", "tests"];

/// Verifies what changed, as far as it can be verified in a few minutes.
pub(crate) fn check(report: &mut Report) -> Result<()> {
    for step in [FORMATTING, LINTS] {
        report.run(&step)?;
    }
    let folders = changed_folders()?;
    for folder in folders.iter().filter(|folder| !LEFT_OUT.contains(&folder.as_str())) {
        report.cargo(&format!("tests of {folder}"), &["test", "-q", "-p", &format!("ensue-{folder}"), "--locked"], &[])?;
    }
    for folder in folders.iter().filter(|folder| *folder == "cli") {
        report.skip(&format!("tests of {folder}"), "they take minutes: `cargo test -p ensue`");
    }
    report.run(&HOUSE_RULES)?;
    report.run(&FEW_WORLDS)
}

/// Returns the folders of the crates with changed files.
fn changed_folders() -> Result<BTreeSet<String>> {
    let since = std::env::var(SINCE).unwrap_or_else(|_| "HEAD~1".to_owned());
    let changed = git(&["diff", "--name-only", &since])?;
    let untracked = git(&["ls-files", "--others", "--exclude-standard"])?;
    let folders = changed.lines().chain(untracked.lines()).filter_map(|path| path.split_once('/')).map(|(folder, _)| folder.to_owned());
    Ok(folders.filter(|folder| std::path::Path::new(folder).join("Cargo.toml").exists() && folder != "fuzz").collect())
}
