//! `cargo verify`: the gate, which decides whether a change breaks what worked, and `cargo verify explore`, which looks for faults that
//! nobody has found yet.
//!
//! It installs nothing; `.ci/run` does that and then runs this. A step whose requirements are missing on the machine is skipped by
//! name, except that it fails if `CI` is `true`.

#[path = "../../support/cargo.rs"]
mod cargo;
mod changed_code;
mod clients;
mod explore;
mod gate;
mod image;
mod jobs;
mod keep;
mod node;
mod openapi;
mod output;
mod page;
mod programs;
mod quick;
mod report;
mod stuck_jobs;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};

use self::cargo::cargo;
use self::report::seconds;

/// Without arguments: the gate, which is what CI runs.
#[derive(Parser)]
#[command(name = "cargo verify", bin_name = "cargo verify", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Only formatting, the rules of this repository, and generated files: under a minute on a warm tree.
    #[arg(long = "static", conflicts_with_all = ["quick", "only"])]
    is_static: bool,
    /// Formatting, lints, the tests of the crates that changed, the rules, and thirty simulated worlds.
    #[arg(long, conflicts_with = "only")]
    quick: bool,
    /// One of the steps that run beside the tests; a wrong name lists them.
    #[arg(long, value_name = "STEP")]
    only: Option<String>,
    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Look for new faults with inputs that nobody has tried.
    Explore(explore::Exploration),
    /// Turn a find into a case that the gate tries each time.
    Keep(keep::Keep),
}

/// One verification step.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
}

const FORMATTING: Step = Step { name: "formatting", arguments: &["fmt", "--all", "--check"], variables: &[] };

/// The rules of this repository, in a crate that needs no other one of ours but the list of planted bugs.
const TIDY: Step = Step {
    name: "rules, prose, links, patches",
    arguments: &["test", "--quiet", "--workspace", "--locked", "--test=tidy"],
    variables: &[],
};

const LINTS: Step =
    Step { name: "lints", arguments: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], variables: &[] };

const LICENCES: Step =
    Step { name: "bans, licences and sources", arguments: &["deny", "--locked", "check", "bans", "licenses", "sources"], variables: &[] };

type RunsStep = fn(&mut Report) -> Result<()>;

/// The steps that are no programs of tests, in the order in which they are listed. Any of them can be run alone.
const AFTER_TESTS: &[(&str, RunsStep)] = &[
    ("clients", clients::check),
    ("dependencies", check_dependencies),
    ("image", image::check),
    ("openapi", |report| openapi::check(report, openapi::Kind::Gate)),
    ("page", page::check),
    ("simulation", simulate),
];

/// The worlds of the gate: the kept ones, and as many others from the seed of all random inputs on.
const WORLDS: [&str; 5] = ["--kept", "--seeds", "40", "--workers", "1"];

fn main() -> ExitCode {
    match verify(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn verify(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Subcommands::Explore(exploration)) => return explore::run(&exploration),
        Some(Subcommands::Keep(keep)) => return keep::run(&keep),
        None => {}
    }
    if arguments.is_static {
        return gate::run_static();
    }
    if arguments.quick {
        return quick::check();
    }
    let Some(only) = arguments.only else { return gate::run() };
    let names = || AFTER_TESTS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let (_, step) =
        AFTER_TESTS.iter().find(|(name, _)| *name == only).with_context(|| format!("no step is called `{only}`: {}", names()))?;
    let mut report = Report::default();
    let outcome = step(&mut report);
    report.print();
    outcome
}

/// Runs the worlds of the gate.
fn simulate(report: &mut Report) -> Result<()> {
    report.time("simulation", || {
        let program = programs::binary("sim")?;
        let status = Command::new(program).args(WORLDS).args(["--from", seed()]).status().context("the simulator does not start")?;
        ensure!(status.success(), "a world breaks a promise; its line repeats it");
        Ok(())
    })
}

/// Checks the licences, the sources and the bans of the third-party crates against `deny.toml`.
fn check_dependencies(report: &mut Report) -> Result<()> {
    if !succeeds(&["deny", "--version"]) {
        refuse_in_ci("cargo-deny")?;
        report.skip(LICENCES.name, "`.ci/run` installs cargo-deny");
        return Ok(());
    }
    report.run(&LICENCES)
}

/// Returns the seed of all random inputs of the gate: the number in `tests/seed`.
fn seed() -> &'static str {
    static SEED: OnceLock<&'static str> = OnceLock::new();
    SEED.get_or_init(|| include_str!("../../seed").trim())
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// Fails in CI, where every step is required and a missing tool is an error.
fn refuse_in_ci(tool: &str) -> Result<()> {
    if is_ci() {
        bail!("{tool} is not installed; `.ci/run` installs it");
    }
    Ok(())
}

/// Returns the root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads a file of the workspace, by its path from the root.
fn read_root(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).output().context("git does not start")?;
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

fn succeeds(arguments: &[&str]) -> bool {
    cargo(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The parts of one step, with its output on the terminal: how long each took, and what was skipped.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
}

impl Report {
    /// Runs and times a command of cargo.
    fn run(&mut self, step: &Step) -> Result<()> {
        self.time(step.name, || {
            let status = gate::command_of(step).status().context("cargo does not start")?;
            ensure!(status.success(), "`cargo {}` ended with {status}", step.arguments.join(" "));
            Ok(())
        })
    }

    /// Runs and times a part that is not a cargo command.
    fn time(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("verify: {name}");
        let begin = Instant::now();
        let outcome = work();
        self.lines.push(format!("{name:<36} {:>9}", seconds(begin.elapsed())));
        outcome
    }

    fn skip(&mut self, name: &str, why: &str) {
        eprintln!("skipped: {name}: {why}");
        self.lines.push(format!("{name:<36} skipped: {why}"));
    }

    fn print(&self) {
        self.lines.iter().for_each(|line| eprintln!("  {line}"));
    }
}
