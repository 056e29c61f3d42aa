//! `cargo sim --mutants`: breaks the node in one line at a time, and reports in how many simulated worlds
//! each bug is found.
//!
//! The bugs are planted in a copy of the sources, and this program is built there once more. A bug is chosen
//! once per process, so each has its own process. A world can show a bug only if it passes without one, so
//! the worlds are also run without any bug.

mod copy;

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use ensue_simulation::mutants::{MUTANTS, Mutant, SEEDS_MAX};
use ensue_simulation::watchdog::{PATIENCE, watched};
use ensue_simulation::{Ran, Verbosity, Violation};

/// Names this process's bug. The seam in the copy of the engine reads it too.
const CHOSEN: &str = "ENSUE_MUTANT";
/// The default first seed: the same each time, so that the figures can be compared.
const FROM: u64 = 1;
/// How many worlds are run without a bug beforehand: as many as most bugs need. If a bug needs more, its
/// world is checked afterwards.
const WORLDS_BEFORE: u64 = 12;
/// The exit code of a process whose world could not continue, so that no bug was looked for.
const UNJUDGED: u8 = 2;

/// The command line's options.
struct Asked {
    from: u64,
    seeds: Option<u64>,
    only: Option<String>,
    /// One of how many parts of the bugs is looked for; which part follows from the number of commits.
    one_of: usize,
}

fn main() -> Result<ExitCode> {
    let asked = asked()?;
    match std::env::var(CHOSEN) {
        Ok(name) => one(&name, &asked),
        Err(_) => all(&asked, &copy::built()?),
    }
}

fn asked() -> Result<Asked> {
    let mut asked = Asked { from: FROM, seeds: None, only: None, one_of: 1 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("`{argument}` needs a value"))?;
        match argument.as_str() {
            "--from" => asked.from = value.parse().with_context(|| format!("`{value}` is not a number"))?,
            "--seeds" => asked.seeds = Some(value.parse().with_context(|| format!("`{value}` is not a number"))?),
            "--only" => asked.only = Some(value),
            "--one-of" => {
                asked.one_of =
                    value.parse().ok().filter(|parts| *parts > 0).with_context(|| format!("`{value}` is not a number of parts"))?
            }
            other => bail!("unknown argument `{other}`; `cargo sim --mutants` takes --from S, --seeds N, --only NAME, --one-of PARTS"),
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
        /// By which invariant.
        by: String,
    },
    /// It was not found, with the reason.
    Missed(String),
    /// There was no search: a world could not continue.
    Unjudged(String),
}

/// Runs worlds with the chosen bug until one shows it.
fn one(name: &str, asked: &Asked) -> Result<ExitCode> {
    let mutant = MUTANTS.iter().find(|mutant| mutant.name == name).with_context(|| format!("there is no mutant `{name}`"))?;
    std::panic::set_hook(Box::new(|_| {}));
    let (from, most) = (asked.from.wrapping_add(mutant.passes), asked.seeds.unwrap_or(SEEDS_MAX));
    for tried in 0..most {
        let seed = from.wrapping_add(tried);
        if let Err(violation) = run(seed) {
            println!("{}\t{violation}", tried + 1);
            return Ok(if violation.is_of_the_world() { ExitCode::from(UNJUDGED) } else { ExitCode::SUCCESS });
        }
    }
    println!("0\tnot found in {most} worlds from seed {from} on");
    Ok(ExitCode::FAILURE)
}

/// Runs the world of a seed. If it hangs, names it and ends the process, because nothing else would.
fn run(seed: u64) -> Result<Ran, Violation> {
    let give_up = || {
        println!("0\tcargo sim --seed {seed}   # its world has not ended in {} s: something in it spins", PATIENCE.as_secs());
        std::process::exit(1);
    };
    watched(PATIENCE, || ensue_simulation::run(seed, Verbosity::Quiet), give_up)
}

/// Runs each bug in its own process, as many at once as there are cores.
fn all(asked: &Asked, built: &Path) -> Result<ExitCode> {
    ensue_simulation::quiet_simulated_bugs();
    let chosen = MUTANTS.iter().filter(|mutant| asked.only.as_ref().is_none_or(|only| mutant.name.contains(only.as_str())));
    let part = if asked.one_of == 1 { 0 } else { commits()? % asked.one_of };
    let chosen: VecDeque<&Mutant> = chosen.skip(part).step_by(asked.one_of).collect();
    if asked.one_of > 1 {
        println!("part {part} of {}", asked.one_of);
    }
    if chosen.is_empty() {
        bail!("no bug has `{}` in its name", asked.only.as_deref().unwrap_or_default());
    }
    let before = WORLDS_BEFORE.min(asked.seeds.unwrap_or(WORLDS_BEFORE));
    hold_without_a_bug((0..before).map(|place| asked.from.wrapping_add(place)))?;
    let left = Mutex::new(chosen);
    let hunts: Mutex<Vec<(&Mutant, Hunt)>> = Mutex::default();
    on_each_core(|| {
        loop {
            let Some(mutant) = lock(&left).pop_front() else { return };
            let hunt = hunted(mutant, asked, built).unwrap_or_else(|error| Hunt::Unjudged(format!("{error:#}")));
            match &hunt {
                Hunt::Found { worlds, by } => println!("found in {worlds:>4}: {}: {by}", mutant.name),
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
            Hunt::Found { worlds, .. } => {
                found.push(*worlds);
                seeds.extend((mutant.passes + worlds > before).then(|| asked.from.wrapping_add(mutant.passes + worlds - 1)));
            }
            Hunt::Missed(_) => is_missed = true,
            Hunt::Unjudged(why) => bail!("`{}` was not looked for, mend that first: {why}", mutant.name),
        }
    }
    found.sort_unstable();
    let median = found.get(found.len() / 2).copied().unwrap_or(0);
    hold_without_a_bug(seeds.into_iter())?;
    println!("mutants: {} of {} found, the median in {median} worlds", found.len(), hunts.len());
    Ok(if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Returns how many commits led to this one, so that each commit has another part of the bugs looked for.
fn commits() -> Result<usize> {
    let output = Command::new("git").args(["rev-list", "--count", "HEAD"]).output().context("git does not start")?;
    let count = String::from_utf8_lossy(&output.stdout);
    count.trim().parse().with_context(|| format!("git counts `{}` commits", count.trim()))
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
fn hunted(mutant: &Mutant, asked: &Asked, built: &Path) -> Result<Hunt> {
    let output = Command::new(built).args(std::env::args().skip(1)).env(CHOSEN, mutant.name).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (worlds, by) = said.lines().last().and_then(|line| line.split_once('\t')).unwrap_or(("", "it ended without a word"));
    let missed = || Hunt::Missed(format!("{by} (from seed {})", asked.from.wrapping_add(mutant.passes)));
    Ok(match output.status.code() {
        Some(0) => worlds.parse().map_or_else(|_| missed(), |worlds| Hunt::Found { worlds, by: by.to_owned() }),
        Some(code) if code == i32::from(UNJUDGED) => Hunt::Unjudged(by.to_owned()),
        Some(_) | None => missed(),
    })
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
