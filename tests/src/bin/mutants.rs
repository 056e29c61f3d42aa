//! `cargo sim --mutants`: breaks the node in one line at a time, and says in how many simulated worlds each bug is found.
//!
//! A bug is chosen once per process, so each has a process of its own. Nothing else builds with the feature `mutants`.

use std::collections::VecDeque;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use ensue_simulation::mutants::{MUTANTS, Mutant};
use ensue_simulation::{Verbosity, run};

/// Names the bug of this process.
const CHOSEN: &str = "ENSUE_MUTANT";
/// From which seed on worlds are run, where nothing else is said: the same each time, so that the figures can be compared.
const FROM: u64 = 1;

/// What is asked for.
struct Asked {
    from: u64,
    seeds: Option<u64>,
    only: Option<String>,
}

fn main() -> Result<ExitCode> {
    let asked = asked()?;
    match std::env::var(CHOSEN) {
        Ok(name) => one(&name, &asked),
        Err(_) => all(&asked),
    }
}

fn asked() -> Result<Asked> {
    let mut asked = Asked { from: FROM, seeds: None, only: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("`{argument}` needs a value"))?;
        match argument.as_str() {
            "--from" => asked.from = value.parse().with_context(|| format!("`{value}` is not a number"))?,
            "--seeds" => asked.seeds = Some(value.parse().with_context(|| format!("`{value}` is not a number"))?),
            "--only" => asked.only = Some(value),
            other => bail!("unknown argument `{other}`; `cargo sim --mutants` takes --from S, --seeds N, --only NAME"),
        }
    }
    Ok(asked)
}

/// Runs worlds with the chosen bug until one shows it.
fn one(name: &str, asked: &Asked) -> Result<ExitCode> {
    let mutant = MUTANTS.iter().find(|mutant| mutant.name == name).with_context(|| format!("there is no mutant `{name}`"))?;
    ensue_engine::mutants::choose(name.to_owned());
    std::panic::set_hook(Box::new(|_| {}));
    let most = asked.seeds.unwrap_or(mutant.seeds_max);
    for tried in 0..most {
        let seed = asked.from.wrapping_add(tried);
        if let Err(violation) = run(seed, Verbosity::Quiet) {
            println!("{}\t{violation}", tried + 1);
            return Ok(ExitCode::SUCCESS);
        }
    }
    println!("0\tnot found in {most} worlds from seed {} on", asked.from);
    Ok(ExitCode::FAILURE)
}

/// Runs each bug in a process of its own, as many at once as there are cores.
fn all(asked: &Asked) -> Result<ExitCode> {
    let chosen = MUTANTS.iter().filter(|mutant| asked.only.as_ref().is_none_or(|only| mutant.name.contains(only.as_str())));
    let left = Mutex::new(chosen.collect::<VecDeque<_>>());
    let found: Mutex<Vec<(&Mutant, Result<(u64, String), String>)>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(mutant) = lock(&left).pop_front() else { return };
                    let outcome = hunted(mutant, asked);
                    match &outcome {
                        Ok((seeds, by)) => println!("found in {seeds:>4}: {}: {by}", mutant.name),
                        Err(why) => println!("NOT FOUND    : {}: {why}", mutant.name),
                    }
                    lock(&found).push((mutant, outcome));
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut seeds: Vec<u64> = found.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).map(|(seeds, _)| *seeds).collect();
    seeds.sort_unstable();
    let median = seeds.get(seeds.len() / 2).copied().unwrap_or(0);
    println!("mutants: {} of {} found, the median in {median} worlds", seeds.len(), found.len());
    Ok(if seeds.len() < found.len() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Gives in how many worlds a bug was found, and by which invariant; or why it was not.
fn hunted(mutant: &Mutant, asked: &Asked) -> Result<(u64, String), String> {
    let itself = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(itself).args(std::env::args().skip(1)).env(CHOSEN, mutant.name).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (seeds, by) = said.lines().last().and_then(|line| line.split_once('\t')).unwrap_or(("", "it ended without a word"));
    match seeds.parse() {
        Ok(seeds) if seeds > 0 => Ok((seeds, by.to_owned())),
        Ok(_) | Err(_) => Err(format!("{by} (from seed {})", asked.from)),
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
