//! The gate: the steps that decide whether a change breaks what worked. Two runs of one tree try the same inputs in the same order.
//!
//! All steps run, whatever fails, and the end names all failures. Only what does not compile ends a run early.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::jobs::{EndedJob, Job};
use crate::programs;
use crate::report::{Ledger, seconds};
use crate::{AFTER_TESTS, FORMATTING, LINTS, Step, TIDY, cargo, is_ci, jobs, programs::TestProgram, read_root, seed};

/// The gate ends itself with a table of its times before CI would kill it without one, after 90 minutes.
const LIMIT: Duration = Duration::from_secs(80 * 60);

/// How many tests run at once within a job, and within the one that would run alone at the end otherwise.
const TEST_THREADS: &str = "2";
const LONGEST_TEST_THREADS: &str = "3";

/// The jobs that take longest begin first, so that none of them runs alone at the end. The others follow in the order of their names.
const LONGEST_FIRST: &[&str] = &[
    "ensue --test main",
    "page",
    "ensue-api --test api",
    "ensue-postgres --test main",
    "simulation",
    "image",
    "ensue-node --lib",
    "ensue-packs --test main",
    "ensue-engine --test main",
    "ensue-store --test main",
    "openapi",
    "clients",
    "ensue-executor --test main",
];

/// The tests that may skip themselves in CI, because they need a kernel that not every machine has. The file has a line for each.
const SKIPS: &str = "tests/skipped_in_ci";

/// The tests that compare generated files with what they are generated from.
const GENERATED: Step = Step {
    name: "generated files",
    arguments: &[
        "test",
        "--quiet",
        "--workspace",
        "--locked",
        "--test=api",
        "--test=built",
        "--",
        "stored_",
        "types_of_the_page",
        "built_page",
        "embedded_files",
    ],
    variables: &[],
};

/// Runs the gate.
///
/// # Errors
/// If a step failed; the report says which, and how to repeat it.
pub(crate) fn run() -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let mut ledger = Ledger::default();
    eprintln!("verify: the seed of all random inputs is {}", seed());
    ledger.cargo(&FORMATTING);
    let Some(programs) = ledger.time("build", "cargo verify", programs::build) else {
        ledger.print();
        bail!("the tests do not compile, so nothing else ran");
    };
    ledger.cargo(&LINTS);
    let begin = Instant::now();
    // One for each core: several tests of each run at once. With two for each, tests that need real time failed.
    let at_once = std::thread::available_parallelism().map_or(2, usize::from);
    let ended = jobs::run(in_order(&programs)?, at_once, deadline, print_outcome)?;
    ledger.line("tests and other steps", begin.elapsed());
    finish(ledger, &ended)
}

/// Runs what needs no build of the product: formatting, and the rules of this repository, which also hold the generated files and the patches.
///
/// # Errors
/// If a rule does not hold.
pub(crate) fn run_static() -> Result<()> {
    let mut ledger = Ledger::default();
    ledger.cargo(&FORMATTING);
    ledger.cargo(&TIDY);
    ledger.cargo(&GENERATED);
    ledger.print();
    ledger.outcome()
}

/// Returns all jobs, those that take longest first.
fn in_order(programs: &[TestProgram]) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for program in programs {
        let mut command = program.command();
        let threads = if program.name() == LONGEST_FIRST[0] { LONGEST_TEST_THREADS } else { TEST_THREADS };
        command.env("RUST_TEST_THREADS", threads).env("PROPTEST_RNG_SEED", seed());
        let repeat = format!("PROPTEST_RNG_SEED={} cargo test -p {} {}", seed(), program.package, program.selection);
        jobs.push(Job { name: program.name(), command, repeat });
    }
    for (name, _) in AFTER_TESTS {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--only", name]).env(programs::BUILT.0, programs::BUILT.1);
        jobs.push(Job { name: (*name).to_owned(), command, repeat: format!("cargo verify --only {name}") });
    }
    let place = |job: &Job| LONGEST_FIRST.iter().position(|name| *name == job.name).unwrap_or(LONGEST_FIRST.len());
    jobs.sort_by_key(place);
    Ok(jobs)
}

/// Says at once how a job ended.
fn print_outcome(job: &EndedJob) {
    let tests = match job.output.passed {
        0 => String::new(),
        passed => format!(", {passed} tests passed"),
    };
    match &job.failure {
        None => eprintln!("verify: {}: {}{tests}", job.name, seconds(job.took)),
        Some(why) => {
            eprintln!("verify: {}: FAILED after {}: {why}{tests}", job.name, seconds(job.took));
            job.output.failed.iter().for_each(|name| eprintln!("  failed: {name}"));
        }
    }
}

/// Sums up, and names everything that failed.
fn finish(mut ledger: Ledger, ended: &[EndedJob]) -> Result<()> {
    let (mut passed, mut ignored, mut skipped) = (0, 0, BTreeSet::new());
    for job in ended {
        ledger.line(&job.name, job.took);
        passed += job.output.passed;
        ignored += job.output.ignored;
        skipped.extend(job.output.skipped.iter().cloned());
        if let Some(why) = &job.failure {
            ledger.fail_job(job, why);
        }
    }
    eprintln!("\nverify: skipped by name:");
    skipped.iter().for_each(|line| eprintln!("  {line}"));
    if is_ci() {
        let known = read_root(SKIPS)?;
        for line in new_skips(&known, &skipped) {
            ledger.fail(&format!("skipped: {line}"), "cargo verify", &format!("{SKIPS} does not list this test: it must run in CI"));
        }
    }
    ledger.print();
    let failed = ended.iter().map(|job| job.output.failed.len()).sum::<usize>();
    println!("tests: {passed} passed, {failed} failed, {} skipped", ignored + skipped.len() as u64);
    ensure!(passed > 0, "no test ran");
    ledger.outcome()
}

/// Returns the skipped tests that the list does not name.
fn new_skips<'a>(known: &str, skipped: &'a BTreeSet<String>) -> Vec<&'a String> {
    let known: BTreeSet<&str> = known.lines().filter(|line| !line.starts_with('#')).map(str::trim).collect();
    skipped.iter().filter(|line| !known.contains(line.split(": ").next().unwrap_or_default())).collect()
}

/// Returns the command of cargo that runs a step.
pub(crate) fn command_of(step: &Step) -> Command {
    let mut command = cargo(step.arguments);
    command.envs(step.variables.iter().copied());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_that_skips_itself_is_new_unless_it_is_listed() {
        let skipped = BTreeSet::from(["one: no cgroup".to_owned(), "two: no PostgreSQL".to_owned()]);
        assert_eq!(new_skips("# why\none\n", &skipped), ["two: no PostgreSQL"]);
    }
}
