//! `cargo verify keep`: turns what an exploration found into a case that the gate tries each time.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};

use crate::explore::FUZZING;
use crate::{cargo, programs, root};

/// The seeds of runs of random requests, and of schedules, that once failed: a line each.
pub(crate) const OPENAPI_SEEDS: &str = "tests/openapi/seeds";
pub(crate) const SCHEDULE_SEEDS: &str = "postgres/tests/schedules/seeds";

/// What to keep.
#[derive(Args)]
pub(crate) struct Keep {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A world, by its seed: a file in tests/simulation/seeds.
    Simulation { seed: u64 },
    /// A counterexample of a property test: a line in proptest-regressions.
    Property { package: String, test: String, seed: u64 },
    /// A run of random requests: a line in tests/openapi/seeds.
    Openapi { seed: u32 },
    /// Random failures of two PostgreSQL servers: a line in postgres/tests/schedules/seeds.
    Schedule { seed: u64 },
    /// An input of a fuzzer: a file in fuzz/seeds.
    Fuzz { target: String, input: PathBuf },
}

/// Keeps a find.
///
/// # Errors
/// If nothing fails, so that there is nothing to keep, or if it cannot be written.
pub(crate) fn run(keep: &Keep) -> Result<()> {
    match &keep.what {
        What::Simulation { seed } => {
            let sim = programs::binary("sim")?;
            let status =
                Command::new(sim).args(["--seed", &seed.to_string(), "--keep"]).status().context("the simulator does not start")?;
            ensure!(!status.success(), "world {seed} breaks nothing, so there is nothing to keep");
        }
        What::Property { package, test, seed } => {
            let status = cargo(&["test", "--locked", "-p", package, "--", "--exact", test])
                .env("PROPTEST_RNG_SEED", seed.to_string())
                .env_remove("PROPTEST_DISABLE_FAILURE_PERSISTENCE")
                .status()
                .context("cargo does not start")?;
            ensure!(!status.success(), "`{test}` holds with seed {seed}, so there is nothing to keep");
            println!("commit what the test wrote below `proptest-regressions`");
        }
        What::Openapi { seed } => add_line(OPENAPI_SEEDS, &seed.to_string())?,
        What::Schedule { seed } => add_line(SCHEDULE_SEEDS, &seed.to_string())?,
        What::Fuzz { target, input } => {
            let known = FUZZING.iter().find(|[name, ..]| name == target);
            let Some([_, seeds, _]) = known else {
                bail!("no fuzzer is called `{target}`: {}", FUZZING.map(|[name, ..]| name).join(", "));
            };
            let name = input.file_name().context("an input is a file")?;
            let kept = root().join(seeds).join(name);
            std::fs::copy(input, &kept).with_context(|| format!("{} cannot be copied", input.display()))?;
            println!("kept as {seeds}/{}", name.to_string_lossy());
        }
    }
    Ok(())
}

/// Returns the seeds of a file of lines. Lines that begin with `#` are comments.
pub(crate) fn seeds_of(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Adds a line to a file of seeds, unless it is there.
fn add_line(path: &str, line: &str) -> Result<()> {
    let text = crate::read_root(path)?;
    if text.lines().any(|known| known.trim() == line) {
        println!("{path} has it already");
        return Ok(());
    }
    let mut file = std::fs::OpenOptions::new().append(true).open(root().join(path)).with_context(|| path.to_owned())?;
    writeln!(file, "{line}").with_context(|| path.to_owned())?;
    println!("kept in {path}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_seeds_may_have_comments() {
        assert_eq!(seeds_of("# each once failed\n17\n\n 4711 \n"), [17, 4711]);
    }
}
