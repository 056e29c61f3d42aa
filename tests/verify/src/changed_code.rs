//! Bugs that `cargo mutants` plants in changed code: the tests of the crate must find each of them.

use anyhow::{Context, Result, bail};

use crate::{Report, cargo, git, refuse_in_ci, succeeds};

const NAME: &str = "planted bugs";

/// Names the commit to compare with. The default is the newest tag.
const SINCE: &str = "ENSUE_CHANGED_SINCE";

/// Names a part of the bugs, such as `0/8`, so that several machines or nights share the work.
const SHARD: &str = "ENSUE_SHARD";

/// How long the tests of a crate may take with a bug, in seconds, before the bug counts as a hang.
const SECONDS: &str = "900";

/// Plants bugs in changed product code, one at a time. A bug that is not found and cannot matter is listed in
/// `.cargo/mutants.toml` with the reason.
pub(crate) fn check(report: &mut Report) -> Result<()> {
    if !succeeds(&["mutants", "--version"]) {
        refuse_in_ci("cargo-mutants")?;
        report.skip(NAME, "install cargo-mutants with `cargo install --locked cargo-mutants`");
        return Ok(());
    }
    let Some(since) = std::env::var(SINCE).ok().or_else(newest_tag) else {
        report.skip(NAME, "there is no tag: name a commit with ENSUE_CHANGED_SINCE");
        return Ok(());
    };
    report.time(NAME, || {
        let root = crate::root();
        let changes = git(&["diff", &since, "--", "*.rs", ":!tests", ":!*/tests/*", ":!*/tests.rs"])?;
        let patch = root.join("target/changed.patch");
        std::fs::write(&patch, changes).context("the changes")?;
        let mut planting = cargo(&["mutants", "--no-shuffle", "--baseline=skip", "--timeout", SECONDS, "--output", "target"]);
        planting.arg("--in-diff").arg(&patch).current_dir(&root);
        if let Ok(shard) = std::env::var(SHARD) {
            planting.args(["--shard", &shard]);
        }
        // https://mutants.rs/exit-codes.html
        match planting.status().context("cargo does not start")?.code() {
            Some(0) => Ok(()),
            Some(2 | 3) => bail!("bugs were not found: `target/mutants.out/missed.txt` and `timeout.txt` list them"),
            _ => bail!("cargo mutants failed"),
        }
    })
}

fn newest_tag() -> Option<String> {
    git(&["describe", "--tags", "--abbrev=0"]).ok().map(|tag| tag.trim().to_owned())
}
