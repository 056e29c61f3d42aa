//! `cargo verify`: runs the steps of CI one by one, and reports how long each took. `--long` adds the steps
//! that take hours, and `--only STEP` runs one of those that follow the tests.
//!
//! It installs nothing; `.ci/run` does that and then runs this. A step whose requirements are missing on the
//! machine is skipped by name, except that it fails if `CI` is `true`.

mod changed;
mod clients;
mod image;
mod node;
mod openapi;
mod quick;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// One verification step.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
}

const FORMATTING: Step = Step { name: "formatting", arguments: &["fmt", "--all", "--check"], variables: &[] };

const LINTS: Step =
    Step { name: "lints", arguments: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], variables: &[] };

const TESTS: Step = Step { name: "tests", arguments: &["test", "--workspace", "--locked"], variables: &[] };

const LICENCES: Step =
    Step { name: "bans, licences and sources", arguments: &["deny", "--locked", "check", "bans", "licenses", "sources"], variables: &[] };

const ADVISORIES: Step = Step { name: "advisories", arguments: &["deny", "--locked", "check", "advisories"], variables: &[] };

/// Hostile inputs on a small stack, in the users' build profile: another profile uses the stack differently.
const HOSTILE: Step = Step {
    name: "hostile inputs, in release",
    arguments: &["test", "--release", "--locked", "-p", "ensue-expression", "--test", "hostile"],
    variables: &[],
};

/// A minute for each. The first folder collects the fuzzer's interesting inputs; the inputs that once failed
/// are in `fuzz/seeds`.
const FUZZING: [(&str, Step); 3] = [
    (
        "fuzz/corpus/parse",
        Step {
            name: "fuzzing: parse",
            arguments: &fuzzing(["parse", "fuzz/corpus/parse", "fuzz/seeds/expressions", EXPRESSIONS]),
            variables: &[],
        },
    ),
    (
        "fuzz/corpus/evaluate",
        Step {
            name: "fuzzing: evaluate",
            arguments: &fuzzing(["evaluate", "fuzz/corpus/evaluate", "fuzz/seeds/expressions", EXPRESSIONS]),
            variables: &[],
        },
    ),
    (
        "fuzz/corpus/yaml",
        Step {
            name: "fuzzing: yaml",
            arguments: &fuzzing(["yaml", "fuzz/corpus/yaml", "fuzz/seeds/yaml", "-dict=fuzz/yaml.dict"]),
            variables: &[],
        },
    ),
];

const EXPRESSIONS: &str = "-dict=fuzz/expressions.dict";

/// `cargo fuzz` without a sanitizer, which stable Rust does not have: our code has no `unsafe`, and panics
/// are found all the same.
const fn fuzzing([target, corpus, seeds, words]: [&'static str; 4]) -> [&'static str; 13] {
    [
        "fuzz",
        "run",
        "-s",
        "none",
        target,
        corpus,
        seeds,
        "--",
        words,
        "-max_total_time=60",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-verbosity=0",
    ]
}

/// The fault tests with the built node on a real machine, in their long versions: 1,300 kills, 50 restarts
/// under load, hundreds of damaged files.
const FAULTS: Step =
    Step { name: "faults", arguments: &["test", "-p", "ensue", "--locked", "faults"], variables: &[("ENSUE_FAULTS", "long")] };

/// Simulated worlds: the stored seeds and fresh ones, on both cores.
const SIMULATION: Step = Step {
    name: "simulation",
    arguments: &["run", "-q", "-p", "ensue-tests", "--bin", "sim", "--locked", "--", "--seeds", "300"],
    variables: &[],
};

const LONG_SIMULATION: Step = Step {
    name: "simulation, long",
    arguments: &["run", "-q", "-p", "ensue-tests", "--bin", "sim", "--locked", "--", "--seeds", "20000", "--all-rare-states"],
    variables: &[],
};

/// A fifth of the bugs of one line, each of which the simulator must find: another fifth with each commit.
const SOME_MUTANTS: Step = Step { name: "mutants, a fifth", arguments: &mutants("5"), variables: &[] };

/// All of them.
const ALL_MUTANTS: Step = Step { name: "mutants", arguments: &mutants("1"), variables: &[] };

const fn mutants(part: &'static str) -> [&'static str; 10] {
    ["run", "-q", "-p", "ensue-tests", "--bin", "mutants", "--locked", "--", "--one-of", part]
}

/// A minute of severe overload, in the users' build profile.
const OVERLOAD: Step = Step {
    name: "overload, in release",
    arguments: &["test", "--release", "-p", "ensue", "--locked", "overload"],
    variables: &[("ENSUE_OVERLOAD_SECONDS", "60"), ("ENSUE_OVERLOAD_CONNECTIONS", "1000"), ("ENSUE_OVERLOAD_MEMORY", "536870912")],
};

type RunsStep = fn(&mut Report) -> Result<()>;

/// The steps after the tests, in their order. Any of them can be run alone.
const AFTER_TESTS: &[(&str, RunsStep)] = &[
    ("openapi", openapi::check),
    ("clients", clients::check),
    ("image", image::check),
    ("simulation", |report| report.run(&SIMULATION)),
    ("mutants", |report| report.run(&SOME_MUTANTS)),
    ("dependencies", check_dependencies),
    ("hostile", |report| report.run(&HOSTILE)),
    ("fuzzing", fuzz),
];

fn names() -> String {
    AFTER_TESTS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn main() -> Result<()> {
    let mut is_long = false;
    let mut is_quick = false;
    let mut only = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--long" => is_long = true,
            "--quick" => is_quick = true,
            "--only" => only = Some(arguments.next().context("`--only` needs the name of a step")?),
            other => bail!("unknown argument `{other}`; `cargo verify` takes `--quick`, `--long` or `--only STEP`"),
        }
    }
    let mut report = Report::default();
    if is_quick {
        quick::check(&mut report)?;
        report.print();
        return Ok(());
    }
    if let Some(only) = only {
        let (_, step) =
            AFTER_TESTS.iter().find(|(name, _)| *name == only).with_context(|| format!("no step is called `{only}`: {}", names()))?;
        step(&mut report)?;
        report.print();
        return Ok(());
    }
    for step in [FORMATTING, LINTS, TESTS] {
        report.run(&step)?;
    }
    tell_of_missing_packages(&mut report);
    for (name, step) in AFTER_TESTS {
        match *name {
            "simulation" if is_long => report.run(&LONG_SIMULATION)?,
            "mutants" if is_long => report.run(&ALL_MUTANTS)?,
            _ => step(&mut report)?,
        }
    }
    if is_long {
        report.run(&FAULTS)?;
        report.run(&OVERLOAD)?;
        image::check_shipped(&mut report)?;
        changed::check(&mut report)?;
    }
    report.print();
    Ok(())
}

/// Reports that tests lack the packages to compare Ensue with other implementations: such tests skip
/// themselves, or fail if `CI` is `true`.
fn tell_of_missing_packages(report: &mut Report) {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/npm/node_modules");
    if !installed.is_dir() {
        report.skip("tests against npm packages", "`.ci/run` installs them, from tests/npm/package.json");
    } else if Command::new("node").arg("--version").output().is_err() {
        report.skip("CEL conformance cases", "there is no `node`; `.ci/run` installs it");
    }
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    if !Command::new(python).args(["-c", "import cloudevents, requests"]).output().is_ok_and(|imported| imported.status.success()) {
        report.skip("the guide to CloudEvents", "`.ci/run` installs its SDK, from tests/python/requirements.txt");
    }
}

/// Checks the third-party crates against `deny.toml`, and against the advisory database if it is available.
fn check_dependencies(report: &mut Report) -> Result<()> {
    if !succeeds(&["deny", "--version"]) {
        refuse_in_ci("cargo-deny")?;
        report.skip(LICENCES.name, "install cargo-deny with `cargo install --locked cargo-deny`");
        report.skip(ADVISORIES.name, "install cargo-deny with `cargo install --locked cargo-deny`");
        return Ok(());
    }
    report.run(&LICENCES)?;
    if succeeds(&["deny", "--locked", "fetch", "db"]) {
        report.run(&ADVISORIES)
    } else {
        report.skip(ADVISORIES.name, "their database cannot be fetched here");
        Ok(())
    }
}

/// Runs each fuzz target on random inputs for a minute.
fn fuzz(report: &mut Report) -> Result<()> {
    let is_there = succeeds(&["fuzz", "--version"]);
    if !is_there {
        refuse_in_ci("cargo-fuzz")?;
    }
    for (corpus, step) in &FUZZING {
        if is_there {
            std::fs::create_dir_all(corpus).context("the folder for what the fuzzer finds interesting")?;
            report.run(step)?;
        } else {
            report.skip(step.name, "install cargo-fuzz with `cargo install --locked cargo-fuzz`");
        }
    }
    Ok(())
}

/// Fails in CI, where every step is required and a missing tool is an error.
fn refuse_in_ci(tool: &str) -> Result<()> {
    if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        bail!("{tool} is not installed; `.ci/run` installs it");
    }
    Ok(())
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).output().context("git does not start")?;
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

fn succeeds(arguments: &[&str]) -> bool {
    cargo(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The steps that ran, and how long each took.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
}

impl Report {
    fn run(&mut self, step: &Step) -> Result<()> {
        self.cargo(step.name, step.arguments, step.variables)
    }

    fn cargo(&mut self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        eprintln!("verify: {name}: cargo {}", arguments.join(" "));
        let begin = Instant::now();
        let status = cargo(arguments).envs(variables.iter().copied()).status().context("cargo does not start")?;
        self.lines.push(line(name, begin.elapsed()));
        if !status.success() {
            self.print();
            bail!("{name} failed");
        }
        Ok(())
    }

    /// Runs and times a step that is not a cargo command.
    fn time(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("verify: {name}");
        let begin = Instant::now();
        let outcome = work();
        self.lines.push(line(name, begin.elapsed()));
        if outcome.is_err() {
            self.print();
        }
        outcome
    }

    fn skip(&mut self, name: &str, why: &str) {
        eprintln!("verify: skipped: {name}: {why}");
        self.lines.push(format!("{name:<28} skipped: {why}"));
    }

    fn print(&self) {
        eprintln!("\nverify:");
        for line in &self.lines {
            eprintln!("  {line}");
        }
    }
}

fn line(name: &str, took: Duration) -> String {
    let seconds = took.as_secs();
    format!("{name:<28} {:>3} min {:>2} s", seconds / 60, seconds % 60)
}
