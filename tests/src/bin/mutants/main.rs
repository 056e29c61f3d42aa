//! `cargo sim --mutants`: breaks the node in one line at a time, and reports in how many simulated worlds
//! each bug is found.
//!
//! The bugs are planted in a copy of the sources, and this program is built there once more. A bug is chosen
//! once per process, so each has its own process. A world can show a bug only if it passes without one, so
//! the worlds that showed one are also run without any bug.

#[path = "../../../support/cargo.rs"]
mod cargo;
mod copy;

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ensue_mutants::{MUTANTS, Mutant, WORLDS_MAX};
use ensue_simulation::watchdog::{PATIENCE, run_watched};
use ensue_simulation::{Ran, Verbosity, Violation};

/// Names this process's bug. The seam in the copy of the engine reads it too.
const CHOSEN: &str = "ENSUE_MUTANT";
/// The default first seed: the same each time, so that the figures can be compared.
const FROM: u64 = 1;
/// The exit code of a process whose world could not continue, so that no bug was looked for.
const UNJUDGED: u8 = 2;

/// The command line's options.
struct MutantOptions {
    /// With a first seed, the search begins there instead of in the world that showed the bug before.
    from: Option<u64>,
    seeds: u64,
    only: Option<String>,
    /// The time after which no further bug is looked for.
    until: Option<Duration>,
    /// How many bugs of the list to pass over, for a run that continues another one.
    skip: usize,
}

impl MutantOptions {
    /// Returns the seeds of the worlds in which a bug is looked for, in their order.
    fn worlds(&self, mutant: &Mutant) -> impl Iterator<Item = u64> {
        let known = self.from.is_none().then_some(mutant.world);
        let from = self.from.unwrap_or(FROM);
        let others = (from..from.saturating_add(self.seeds)).filter(move |seed| Some(*seed) != known);
        known.into_iter().chain(others).take(usize::try_from(self.seeds).unwrap_or(usize::MAX))
    }
}

fn main() -> Result<ExitCode> {
    let asked = parse_options()?;
    match std::env::var(CHOSEN) {
        Ok(name) => one(&name, &asked),
        Err(_) => all(&asked, &copy::build()?),
    }
}

fn parse_options() -> Result<MutantOptions> {
    let mut asked = MutantOptions { from: None, seeds: WORLDS_MAX, only: None, until: None, skip: 0 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("`{argument}` needs a value"))?;
        let number = || value.parse::<u64>().with_context(|| format!("`{value}` is not a number"));
        match argument.as_str() {
            "--from" => asked.from = Some(number()?),
            "--seeds" => asked.seeds = number()?,
            "--only" => asked.only = Some(value),
            "--minutes" => asked.until = Some(Duration::from_secs(60 * number()?)),
            "--skip" => asked.skip = usize::try_from(number()?)?,
            other => {
                bail!("unknown argument `{other}`; `cargo sim --mutants` takes --from S, --seeds N, --only NAME, --minutes M, --skip N")
            }
        }
    }
    Ok(asked)
}

/// The result of the search for a bug.
enum Hunt {
    /// It was found.
    Found {
        /// In how many worlds.
        worlds: u64,
        /// The seed of the world that showed it.
        seed: u64,
        /// By which invariant.
        by: String,
    },
    /// It was not found, with the reason.
    Missed(String),
    /// There was no search: a world could not continue.
    Unjudged(String),
}

/// Runs worlds with the chosen bug until one shows it.
fn one(name: &str, asked: &MutantOptions) -> Result<ExitCode> {
    let mutant = MUTANTS.iter().find(|mutant| mutant.name == name).with_context(|| format!("there is no mutant `{name}`"))?;
    std::panic::set_hook(Box::new(|_| {}));
    for (tried, seed) in (1..).zip(asked.worlds(mutant)) {
        if let Err(violation) = run(seed) {
            println!("{tried}\t{seed}\t{violation}");
            return Ok(if violation.is_of_the_world() { ExitCode::from(UNJUDGED) } else { ExitCode::SUCCESS });
        }
    }
    println!("0\t0\tnot found in {} worlds", asked.seeds);
    Ok(ExitCode::FAILURE)
}

/// Runs the world of a seed. If it hangs, names it and ends the process, because nothing else would.
fn run(seed: u64) -> Result<Ran, Violation> {
    let give_up = || {
        println!("0\t{seed}\tcargo sim --seed {seed}   # its world has not ended in {} s: something in it spins", PATIENCE.as_secs());
        std::process::exit(1);
    };
    run_watched(PATIENCE, || ensue_simulation::run(seed, Verbosity::Quiet), give_up)
}

/// Runs each bug in its own process, as many at once as there are cores.
fn all(asked: &MutantOptions, built: &Path) -> Result<ExitCode> {
    ensue_simulation::quiet_simulated_bugs();
    let chosen = MUTANTS.iter().filter(|mutant| asked.only.as_ref().is_none_or(|only| mutant.name.contains(only.as_str())));
    let chosen: VecDeque<&Mutant> = chosen.skip(asked.skip).collect();
    if chosen.is_empty() {
        bail!("no bug has `{}` in its name, after the first {} that have it", asked.only.as_deref().unwrap_or_default(), asked.skip);
    }
    let begin = Instant::now();
    let left = Mutex::new(chosen);
    let hunts: Mutex<Vec<(&Mutant, Hunt)>> = Mutex::default();
    on_each_core(|| {
        while asked.until.is_none_or(|until| begin.elapsed() < until) {
            let Some(mutant) = lock(&left).pop_front() else { return };
            let hunt = run_hunt(mutant, built).unwrap_or_else(|error| Hunt::Unjudged(format!("{error:#}")));
            match &hunt {
                Hunt::Found { worlds, seed, by } => println!("found in {worlds:>4}: {}: {by} (world {seed})", mutant.name),
                Hunt::Missed(why) => println!("NOT FOUND    : {}: {why}", mutant.name),
                Hunt::Unjudged(why) => println!("NOT JUDGED   : {}: {why}", mutant.name),
            }
            lock(&hunts).push((mutant, hunt));
        }
    });
    let hunts = hunts.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut found, mut seeds, mut is_missed) = (Vec::new(), Vec::new(), false);
    for (mutant, hunt) in &hunts {
        match hunt {
            Hunt::Found { worlds, seed, .. } => {
                found.push(*worlds);
                seeds.push(*seed);
            }
            Hunt::Missed(_) => is_missed = true,
            Hunt::Unjudged(why) => bail!("`{}` was not looked for, mend that first: {why}", mutant.name),
        }
    }
    found.sort_unstable();
    let median = found.get(found.len() / 2).copied().unwrap_or(0);
    hold_without_a_bug(seeds.into_iter())?;
    println!("mutants: {} of {} found, the median in {median} worlds", found.len(), hunts.len());
    let not_tried = lock(&left).len();
    if not_tried > 0 {
        println!("mutants: the time is over; {not_tried} were not looked for: continue with --skip {}", asked.skip + hunts.len());
    }
    Ok(if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs worlds without any bug: one that does not hold shows nothing of one either.
fn hold_without_a_bug(seeds: impl Iterator<Item = u64>) -> Result<()> {
    let left = Mutex::new(seeds.collect::<BTreeSet<_>>());
    let failed: Mutex<Option<(u64, Violation)>> = Mutex::default();
    on_each_core(|| {
        loop {
            let Some(seed) = lock(&left).pop_first() else { return };
            if let Err(violation) = run(seed) {
                lock(&failed).get_or_insert((seed, violation));
            }
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((seed, violation)) => bail!("a world fails without any bug, mend it first: cargo sim --seed {seed}   # {violation}"),
        None => Ok(()),
    }
}

/// Runs a function on as many threads as there are cores.
fn on_each_core(work: impl Fn() + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(&work))));
}

/// Searches for a bug in its own process.
fn run_hunt(mutant: &Mutant, built: &Path) -> Result<Hunt> {
    let output = Command::new(built).args(std::env::args().skip(1)).env(CHOSEN, mutant.name).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut parts = said.lines().last().unwrap_or_default().splitn(3, '\t');
    let (worlds, seed) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let by = parts.next().unwrap_or("it ended without a word").to_owned();
    Ok(match (output.status.code(), worlds.parse(), seed.parse()) {
        (Some(0), Ok(worlds), Ok(seed)) => Hunt::Found { worlds, seed, by },
        (Some(code), _, _) if code == i32::from(UNJUDGED) => Hunt::Unjudged(by),
        _ => Hunt::Missed(by),
    })
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
