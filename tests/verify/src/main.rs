//! `cargo verify`: runs the steps of CI one by one, and reports how long each took. `--long` adds the steps
//! that take hours, and `--only STEP` runs one of those that follow the tests. `--seed N` repeats the random inputs of another run.
//!
//! It installs nothing; `.ci/run` does that and then runs this. A step whose requirements are missing on the
//! machine is skipped by name, except that it fails if `CI` is `true`.

mod changed;
mod clients;
mod failures;
mod image;
mod node;
mod openapi;
mod page;
mod quick;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use self::failures::Failures;

/// One verification step.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
}

/// A step that is a program of `ensue-tests`. `cargo run` would build our crates again, with other features of what they depend on
/// than the tests; so it is the one that was built with the tests.
struct Program {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

/// Builds what [`TESTS`] runs, which includes the programs.
const BUILD: [&str; 5] = ["test", "--workspace", "--locked", "--no-run", "--quiet"];

const FORMATTING: Step = Step { name: "formatting", arguments: &["fmt", "--all", "--check"], variables: &[] };

const LINTS: Step =
    Step { name: "lints", arguments: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], variables: &[] };

const TESTS: [&str; 4] = ["test", "--workspace", "--locked", "--no-fail-fast"];

/// How many tests run at once on each core: most of them wait, for programs, timers and nodes.
const TESTS_PER_CORE: usize = 2;

const LICENCES: Step =
    Step { name: "bans, licences and sources", arguments: &["deny", "--locked", "check", "bans", "licenses", "sources"], variables: &[] };

const ADVISORIES: Step = Step { name: "advisories", arguments: &["deny", "--locked", "check", "advisories"], variables: &[] };

/// Hostile inputs on a small stack. The profile builds the expressions as for users: another one uses the stack differently.
const HOSTILE: Step = Step {
    name: "hostile inputs, in release",
    arguments: &["test", "--profile", "hostile", "--locked", "-p", "ensue-expression", "--test", "hostile"],
    variables: &[],
};

/// How many hexadecimal digits of the id of a tree make a seed: the fuzzer takes 32 bits, and 0 means none to it.
const SEED_DIGITS: usize = 7;

/// The fuzz targets: the seeds of each, which are the inputs that once failed, and its words.
const FUZZING: [[&str; 3]; 5] = [
    ["parse", "fuzz/seeds/expressions", "-dict=fuzz/expressions.dict"],
    ["evaluate", "fuzz/seeds/expressions", "-dict=fuzz/expressions.dict"],
    ["yaml", "fuzz/seeds/yaml", "-dict=fuzz/yaml.dict"],
    ["jwt", "fuzz/seeds/jwt", "-dict=fuzz/json.dict"],
    ["jwks", "fuzz/seeds/jwks", "-dict=fuzz/json.dict"],
];

/// Without a sanitizer, which stable Rust does not have: our code has no `unsafe`, and panics are found all the same.
const FUZZING_BUILD: Step = Step { name: "fuzzing, its build", arguments: &["fuzz", "build", "-s", "none"], variables: &[] };

/// For 90 seconds: five targets share two cores, so that each has half a minute of one.
const FUZZING_LIMITS: [&str; 4] = ["-max_total_time=90", "-timeout=10", "-rss_limit_mb=1024", "-verbosity=0"];

/// The fault tests with the built node on a real machine, in their long versions: 1,300 kills, 50 restarts
/// under load, hundreds of damaged files.
const FAULTS: Step =
    Step { name: "faults", arguments: &["test", "-p", "ensue", "--locked", "faults"], variables: &[("ENSUE_FAULTS", "long")] };

/// The log on two PostgreSQL servers: 1,000 promotions, 1,000 kills, and 200 schedules that a model also runs.
const DATABASES: Step = Step {
    name: "databases",
    arguments: &["test", "-p", "ensue-postgres", "--locked", "--test", "main", "--", "promoted", "killed", "schedule"],
    variables: &[("ENSUE_PROMOTIONS", "1000"), ("ENSUE_KILLS", "1000"), ("ENSUE_SCHEDULES", "200")],
};

/// The log on three PostgreSQL servers under Patroni: 100 failures of servers, of Patroni and of etcd. It runs alone, because
/// Patroni has leases of seconds there.
const FAILOVERS: Step = Step {
    name: "failovers",
    arguments: &["test", "-p", "ensue-postgres", "--locked", "--test", "main", "--", "patroni"],
    variables: &[("ENSUE_PATRONI", "100")],
};

/// Simulated worlds: the stored seeds and others, on both cores.
const SIMULATION: Program = Program { name: "simulation", program: "sim", arguments: &["--seeds", "100", "--kept"] };

const LONG_SIMULATION: Program =
    Program { name: "simulation, long", program: "sim", arguments: &["--seeds", "20000", "--all-rare-states"] };

/// A fifth of the bugs of one line, each of which the simulator must find: another fifth with each commit. It runs with `--only`.
const SOME_MUTANTS: Program = Program { name: "mutants, a fifth", program: "mutants", arguments: &["--one-of", "5"] };

/// All of them.
const ALL_MUTANTS: Program = Program { name: "mutants", program: "mutants", arguments: &[] };

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
    ("page", page::check),
    ("image", image::check),
    ("simulation", |report| report.program(&SIMULATION, &["--from", &report.seed.to_string()])),
    ("mutants", |report| report.program(&SOME_MUTANTS, &[])),
    ("dependencies", check_dependencies),
    ("hostile", |report| report.run(&HOSTILE)),
    ("fuzzing", fuzz),
];

fn names() -> String {
    AFTER_TESTS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn main() -> ExitCode {
    match verify() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn verify() -> Result<()> {
    let mut is_long = false;
    let mut is_quick = false;
    let mut only = None;
    let mut seed = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--long" => is_long = true,
            "--quick" => is_quick = true,
            "--only" => only = Some(arguments.next().context("`--only` needs the name of a step")?),
            "--seed" => seed = Some(arguments.next().context("`--seed` needs a number")?.parse().context("`--seed` needs a number")?),
            other => bail!("unknown argument `{other}`; `cargo verify` takes `--quick`, `--long`, `--only STEP` and `--seed N`"),
        }
    }
    let seed = match seed {
        Some(seed) => seed,
        None if is_long => unused_seed(),
        None => seed_of_the_tree()?,
    };
    eprintln!("verify: random inputs with --seed {seed}");
    let mut report = Report { seed, lines: Vec::new() };
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
    report.run(&FORMATTING)?;
    report.run(&LINTS)?;
    let threads = (cores()? * TESTS_PER_CORE).to_string();
    report.cargo("tests", &TESTS, &[("RUST_TEST_THREADS", &threads), ("PROPTEST_RNG_SEED", &seed.to_string())])?;
    tell_of_missing_packages(&mut report);
    for (name, step) in AFTER_TESTS {
        match *name {
            "simulation" if is_long => report.program(&LONG_SIMULATION, &[])?,
            "mutants" if is_long => report.program(&ALL_MUTANTS, &[])?,
            // It judges the simulator, and builds everything once more.
            "mutants" => {}
            _ => step(&mut report)?,
        }
    }
    if is_long {
        report.run(&FAULTS)?;
        report.run(&DATABASES)?;
        report.run(&FAILOVERS)?;
        report.run(&OVERLOAD)?;
        image::check_shipped(&mut report)?;
        page::measure(&mut report)?;
        changed::check(&mut report)?;
        page::check_advisories(&mut report)?;
    }
    report.print();
    Ok(())
}

/// Reports that tests lack the packages to compare Ensue with other implementations: such tests skip
/// themselves, or fail if `CI` is `true`.
fn tell_of_missing_packages(report: &mut Report) {
    let installed = root().join("target/npm/node_modules");
    if !installed.is_dir() {
        report.skip("tests against npm packages", "`.ci/run` installs them, from tests/npm/package.json");
    } else if Command::new("node").arg("--version").output().is_err() {
        report.skip("CEL conformance cases", "there is no `node`; `.ci/run` installs it");
    }
    let python = root().join("target/python/bin/python");
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

/// Runs the fuzz targets on random inputs, all at once: each of them uses one core.
fn fuzz(report: &mut Report) -> Result<()> {
    if !succeeds(&["fuzz", "--version"]) {
        refuse_in_ci("cargo-fuzz")?;
        report.skip("fuzzing", "install cargo-fuzz with `cargo install --locked cargo-fuzz`");
        return Ok(());
    }
    report.run(&FUZZING_BUILD)?;
    let seed = report.seed;
    report.time("fuzzing", || {
        let mut running = Vec::new();
        for [target, seeds, words] in FUZZING {
            // The fuzzer adds the inputs that it finds interesting to the first folder.
            let corpus = format!("fuzz/corpus/{target}");
            std::fs::create_dir_all(&corpus).context("the folder for what the fuzzer finds interesting")?;
            let mut fuzzer = cargo(&["fuzz", "run", "-s", "none", target, &corpus, seeds, "--", words]);
            fuzzer.args(FUZZING_LIMITS).arg(format!("-seed={}", seed.max(1)));
            running.push((target, fuzzer.spawn().context("cargo does not start")?));
        }
        let mut failed = Vec::new();
        for (target, mut fuzzer) in running {
            if !fuzzer.wait().context("a fuzzer")?.success() {
                failed.push(target);
            }
        }
        ensure!(failed.is_empty(), "the fuzzer found inputs that fail: {}", failed.join(", "));
        Ok(())
    })
}

/// Returns the seed of the files of the last commit. Two runs of one commit try the same inputs, and the next commit tries others.
fn seed_of_the_tree() -> Result<u64> {
    let tree = git(&["rev-parse", "HEAD^{tree}"])?;
    let digits = tree.get(..SEED_DIGITS).context("git did not return the id of the tree")?;
    u64::from_str_radix(digits, 16).context("git did not return the id of the tree")
}

/// Returns a seed that was not used before, for a run that looks for what nobody found yet.
fn unused_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(0) % (1 << (4 * SEED_DIGITS))
}

fn cores() -> Result<usize> {
    Ok(std::thread::available_parallelism().context("the number of cores")?.get())
}

/// Fails in CI, where every step is required and a missing tool is an error.
fn refuse_in_ci(tool: &str) -> Result<()> {
    if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        bail!("{tool} is not installed; `.ci/run` installs it");
    }
    Ok(())
}

/// Returns the root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
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
struct Report {
    /// With which all random inputs are made, so that a failure can be repeated.
    seed: u64,
    lines: Vec<String>,
}

impl Report {
    fn run(&mut self, step: &Step) -> Result<()> {
        self.cargo(step.name, step.arguments, step.variables)
    }

    fn cargo(&mut self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        eprintln!("verify: {name}: cargo {}", arguments.join(" "));
        let begin = Instant::now();
        let mut running =
            cargo(arguments).envs(variables.iter().copied()).stdout(Stdio::piped()).spawn().context("cargo does not start")?;
        let failures = repeat_output(running.stdout.take().context("cargo has no output")?)?;
        let status = running.wait().context("cargo")?;
        self.lines.push(line(name, begin.elapsed()));
        if !status.success() {
            if !failures.lines().is_empty() {
                eprintln!("\nverify: the failures of {name}, again:");
                failures.lines().iter().for_each(|line| eprintln!("{line}"));
            }
            self.print();
            bail!("{name} failed");
        }
        Ok(())
    }

    fn program(&mut self, step: &Program, more: &[&str]) -> Result<()> {
        let program = root().join("target/debug").join(step.program);
        let arguments = [step.arguments, more].concat();
        self.time(step.name, || {
            eprintln!("{} {}", step.program, arguments.join(" "));
            ensure!(cargo(&BUILD).stdout(Stdio::null()).status().context("cargo does not start")?.success(), "the tests do not build");
            ensure!(Command::new(&program).args(&arguments).status().context("it does not start")?.success(), "{} failed", step.name);
            Ok(())
        })
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

/// Prints the output of a step while it comes, and collects what it says about failed tests.
fn repeat_output(output: impl Read) -> Result<Failures> {
    let mut failures = Failures::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("the output of cargo")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        failures.take(&line);
    }
    Ok(failures)
}

fn line(name: &str, took: Duration) -> String {
    let seconds = took.as_secs();
    format!("{name:<28} {:>3} min {:>2} s", seconds / 60, seconds % 60)
}
