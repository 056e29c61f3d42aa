//! `cargo sim`: runs simulated worlds with fresh or given seeds, and reports the violated invariant.
//!
//! A failing seed is one line that replays it exactly. With `--keep` it is stored, and runs each time from then on.
//! Deliberate bugs are the job of the program `mutants`, which stores nothing.

#[path = "../../support/cargo.rs"]
mod cargo;

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ensue_simulation::watchdog::{PATIENCE, run_watched};
use ensue_simulation::{Ran, Verbosity, Violation, sometimes};

use self::cargo::cargo;

/// The default number of fresh seeds.
const SEEDS: u64 = 100;
/// One of so many fresh seeds is run twice, and both runs must leave the same trace.
const TWICE_EVERY: u64 = 15;
/// The one file in the folder of stored seeds that is not a seed.
const README: &str = "README.md";

/// The command line's options.
struct SimOptions {
    /// Drawn one at a time: a run that is limited by time has no last seed.
    seeds: Box<dyn Iterator<Item = (u64, Times)> + Send>,
    verbosity: Verbosity,
    until: Option<Duration>,
    rare_states: RareStates,
    /// How many worlds run at once.
    workers: usize,
    failures: Failures,
}

/// What becomes of seeds that fail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failures {
    /// They are named.
    Named,
    /// They are also stored, so that they run each time from then on.
    Kept,
}

/// How many times a seed is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    /// Once.
    Once,
    /// Twice, and both runs must leave the same trace.
    Twice,
}

/// How unreached rare states are handled.
#[derive(PartialEq, Eq)]
enum RareStates {
    /// They are reported.
    MayBeMissed,
    /// The run fails.
    MustBeReached,
}

fn main() -> Result<ExitCode> {
    if std::env::args().any(|argument| argument == "--mutants") {
        return mutants();
    }
    let asked = parse_options(std::env::args().skip(1))?;
    ensue_simulation::quiet_simulated_bugs();
    let begin = Instant::now();
    let workers = if asked.verbosity == Verbosity::Told { 1 } else { asked.workers };
    let left = Mutex::new(asked.seeds);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while asked.until.is_none_or(|until| begin.elapsed() < until) {
                    let Some((seed, times)) = lock(&left).next() else { return };
                    let began = Instant::now();
                    let ran = run(seed, asked.verbosity);
                    let ran = match times {
                        Times::Twice if asked.verbosity == Verbosity::Quiet => again(seed, ran),
                        Times::Once | Times::Twice => ran,
                    };
                    lock(&tally).note(seed, ran, began.elapsed(), asked.failures);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.print(begin.elapsed());
    let missed = sometimes::missed_states();
    for name in &missed {
        println!("  never reached: {name}");
    }
    let is_enough = missed.is_empty() || asked.rare_states == RareStates::MayBeMissed;
    Ok(if tally.failed.is_empty() && is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Searches for each of the deliberate bugs.
fn mutants() -> Result<ExitCode> {
    let with = ["run", "-q", "-p", "ensue-simulation", "--bin", "mutants", "--locked", "--"];
    let further = std::env::args().skip(1).filter(|argument| argument != "--mutants");
    let status = cargo(&with).args(further).status().context("cargo does not start")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a seed. If its world hangs, names it and ends the process, because nothing else would.
fn run(seed: u64, verbosity: Verbosity) -> Result<Ran, Violation> {
    let give_up = || {
        println!("FAILED cargo sim --seed {seed}   # its world has not ended in {} s: something in it spins", PATIENCE.as_secs());
        std::process::exit(1);
    };
    run_watched(PATIENCE, || ensue_simulation::run(seed, verbosity), give_up)
}

/// Runs a seed a second time: equal seeds leave equal traces.
fn again(seed: u64, first: Result<Ran, Violation>) -> Result<Ran, Violation> {
    let first = first?;
    let second = run(seed, Verbosity::Quiet)?;
    if first.hash != second.hash {
        let what =
            format!("the seed left two traces: {} after {} events, {} after {}", first.hash, first.events, second.hash, second.events);
        return Err(Violation::new("I23", what));
    }
    Ok(first)
}

fn parse_options(mut arguments: impl Iterator<Item = String>) -> Result<SimOptions> {
    let (mut verbosity, mut until, mut rare_states) = (Verbosity::Quiet, None, RareStates::MayBeMissed);
    let mut named = Vec::new();
    let (mut count, mut from, mut with_kept, mut failures) = (None, None, false, Failures::Named);
    let mut workers = std::thread::available_parallelism().map_or(1, usize::from);
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64> {
            let value = arguments.next().with_context(|| format!("`{argument}` needs a number"))?;
            value.parse().with_context(|| format!("`{value}` is not a number"))
        };
        match argument.as_str() {
            "--seed" => named.push((number()?, Times::Twice)),
            "--seeds" => count = Some(number()?),
            "--from" => from = Some(number()?),
            "--kept" => with_kept = true,
            "--keep" => failures = Failures::Kept,
            "--workers" => workers = usize::try_from(number()?.max(1))?,
            "--minutes" => until = Some(Duration::from_secs(60 * number()?)),
            "--verbose" => verbosity = Verbosity::Told,
            "--all-rare-states" => rare_states = RareStates::MustBeReached,
            other => bail!(
                "unknown argument `{other}`; `cargo sim` takes --seed S, --seeds N, --from S, --kept, --keep, --minutes M, --workers N, \
                 --verbose, --all-rare-states, or --mutants"
            ),
        }
    }
    if !named.is_empty() {
        return Ok(SimOptions { seeds: Box::new(named.into_iter()), verbosity, until, rare_states, workers, failures });
    }
    let kept = if from.is_none() || with_kept { kept_seeds()? } else { Vec::new() };
    let from = from.unwrap_or_else(fresh);
    let count = count.unwrap_or(if until.is_some() { u64::MAX } else { SEEDS });
    match count {
        u64::MAX => println!("sim: {} kept seeds, then seeds from {from} on until the time is over", kept.len()),
        count => println!("sim: {} kept seeds, {count} seeds from {from} on", kept.len()),
    }
    let kept = kept.into_iter().map(|seed| (seed, Times::Twice));
    let times = |place: u64| if place.is_multiple_of(TWICE_EVERY) { Times::Twice } else { Times::Once };
    let fresh = (0..count).map(move |place| (from.wrapping_add(place), times(place)));
    Ok(SimOptions { seeds: Box::new(kept.chain(fresh)), verbosity, until, rare_states, workers, failures })
}

/// Returns an unused first seed.
fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros() % 1_000_000_000_000).unwrap_or(0)
}

/// The folder of the seeds that once failed, a file each with its finding: they are run each time.
fn kept_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("simulation/seeds")
}

fn kept_seeds() -> Result<Vec<u64>> {
    let mut seeds = Vec::new();
    let files = match std::fs::read_dir(kept_folder()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(seeds),
        files => files.context("the folder of kept seeds")?,
    };
    for file in files {
        let name = file?.file_name();
        let name = name.to_string_lossy();
        if name != README {
            seeds.push(name.parse().with_context(|| format!("`{name}` in the folder of kept seeds is not a seed"))?);
        }
    }
    seeds.sort_unstable();
    Ok(seeds)
}

/// The result of storing a failed seed.
enum KeepOutcome {
    /// It has a file now.
    Now,
    /// It already had one.
    Before,
    /// It has none: its world could not continue, which says nothing about the seed.
    Unjudged,
    /// It has none, with the error.
    Not(std::io::Error),
}

/// Stores a failed seed with its finding.
fn keep(seed: u64, violation: &Violation) -> KeepOutcome {
    if violation.is_of_the_world() {
        return KeepOutcome::Unjudged;
    }
    let keep = || {
        std::fs::create_dir_all(kept_folder())?;
        let mut file = std::fs::File::create_new(kept_folder().join(seed.to_string()))?;
        writeln!(file, "{violation}")
    };
    match keep() {
        Ok(()) => KeepOutcome::Now,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => KeepOutcome::Before,
        Err(error) => KeepOutcome::Not(error),
    }
}

impl fmt::Display for KeepOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("kept in tests/simulation/seeds"),
            Self::Before => f.write_str("it was kept before"),
            Self::Unjudged => f.write_str("it is not kept: the node was not judged"),
            Self::Not(error) => write!(f, "it cannot be kept: {error}"),
        }
    }
}

/// After how many worlds a line says how far the run is.
const PROGRESS_EVERY: u64 = 10;

/// The summary of all runs.
#[derive(Default)]
struct Tally {
    seeds: u64,
    events: u64,
    records: u64,
    starts: u64,
    micros: u64,
    slowest: (Duration, u64),
    failed: Vec<u64>,
}

impl Tally {
    fn note(&mut self, seed: u64, ran: Result<Ran, Violation>, took: Duration, failures: Failures) {
        self.seeds += 1;
        if self.seeds.is_multiple_of(PROGRESS_EVERY) {
            println!("progress: {} worlds; the last took {:.1} s", self.seeds, took.as_secs_f64());
        }
        self.slowest = self.slowest.max((took, seed));
        match ran {
            Ok(ran) => {
                self.events += ran.events;
                self.records += ran.records;
                self.starts += u64::from(ran.starts);
                self.micros += ran.micros;
            }
            Err(violation) => {
                let kept = match failures {
                    Failures::Named => String::new(),
                    Failures::Kept => format!(" ({})", keep(seed, &violation)),
                };
                println!("FAILED cargo sim --seed {seed}   # {violation}{kept}");
                self.failed.push(seed);
            }
        }
    }

    fn print(&self, took: Duration) {
        let hours = self.micros as f64 / 3.6e9;
        println!(
            "sim: {} seeds in {:.0} s: {hours:.1} simulated hours, {} events, {} records, {} starts; the slowest took {:.1} s (seed {})",
            self.seeds,
            took.as_secs_f64(),
            self.events,
            self.records,
            self.starts,
            self.slowest.0.as_secs_f64(),
            self.slowest.1
        );
        for (name, times) in sometimes::all() {
            println!("  reached {times:>9} times: {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_bounded_by_time_draws_its_seeds_one_at_a_time() {
        let asked = parse_options(["--minutes", "5", "--from", "7"].map(str::to_owned).into_iter()).unwrap();
        let drawn: Vec<u64> = asked.seeds.take(3).map(|(seed, _)| seed).collect();
        assert_eq!((drawn, asked.until), (vec![7, 8, 9], Some(Duration::from_secs(300))));
    }
}
