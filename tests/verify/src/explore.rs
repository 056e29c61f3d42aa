//! `cargo verify explore`: looks for faults that nobody has found yet, with inputs that nobody has tried.
//!
//! Kinds of search take turns until the time is over, the one that had the least time first. What is found is named with the line
//! that repeats it, and the one that keeps it for the gate. Nothing is written into the tree but the corpus of the fuzzers, which git
//! ignores.

mod long;
mod turns;

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

pub(crate) use self::turns::FUZZING;
use self::turns::Search;
use crate::report::{count, seconds};
use crate::seed;

/// What to look for, and for how long.
#[derive(Args)]
pub(crate) struct Exploration {
    /// For how many minutes; without it, everything runs once in its long version, which takes a night.
    #[arg(long, value_name = "M")]
    minutes: Option<u64>,
    /// Only this kind of search.
    #[arg(long, value_enum)]
    only: Option<Kind>,
    /// How many processes keep the processor busy beside it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    load: usize,
    /// The first seed, to repeat an exploration; without it, one that nobody has used.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

/// A kind of search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// Fresh worlds of the simulator.
    Worlds,
    /// Property tests with a fresh seed.
    Properties,
    /// One-line bugs that the simulator must find.
    Mutants,
    /// Random requests to a node, by its OpenAPI document.
    Openapi,
    /// Random failures of two PostgreSQL servers, and kills and promotions of them.
    Schedules,
    /// Kills and failures of the machine below a node, at random moments.
    Faults,
    /// The fuzzers of the readers of outside input.
    Fuzzers,
    /// What is tried once: hostile inputs on a small stack in release, examples, advisories.
    Once,
}

impl Kind {
    /// Returns how many parts of the time are for it. An hour must be enough for all planted bugs.
    fn parts(self) -> u32 {
        if self == Self::Mutants { 3 } else { 1 }
    }

    /// Returns the noun of what it counts.
    fn noun(self) -> &'static str {
        match self {
            Self::Worlds => "world",
            Self::Properties => "property test",
            Self::Mutants => "planted bug",
            Self::Openapi => "Schemathesis run",
            Self::Schedules => "schedule",
            Self::Faults => "fault test",
            Self::Fuzzers => "fuzzer",
            Self::Once => "other check",
        }
    }
}

/// Something that was found.
pub(crate) struct Find {
    /// What breaks what.
    pub(crate) what: String,
    /// The command line that repeats it.
    pub(crate) repeat: String,
    /// The command line that keeps it, if a command can.
    pub(crate) keep: Option<String>,
}

/// What a turn did.
#[derive(Default)]
pub(crate) struct Turn {
    /// How many things were tried.
    pub(crate) tried: usize,
    pub(crate) finds: Vec<Find>,
    /// Why nothing could be tried, so that this kind has no further turn.
    pub(crate) end: Option<String>,
}

/// Explores.
///
/// # Errors
/// If something was found, or if the search cannot begin.
pub(crate) fn run(exploration: &Exploration) -> Result<()> {
    let first = exploration.seed.unwrap_or_else(unused_seed);
    eprintln!("explore: the first seed is {first}; the gate's is {}", seed());
    let _load = Load::begin(exploration.load)?;
    let search = Search::begin(first, exploration.only)?;
    let finds = match exploration.minutes {
        Some(minutes) => take_turns(search, exploration.only, Duration::from_secs(60 * minutes))?,
        None => long::run(search, exploration.only)?,
    };
    ensure!(finds == 0, "{} found", count(finds, "fault"));
    Ok(())
}

/// Lets the kinds take turns until the time is over. Returns how many faults were found.
fn take_turns(mut search: Search, only: Option<Kind>, time: Duration) -> Result<usize> {
    let begin = Instant::now();
    let deadline = begin + time;
    let mut spent: BTreeMap<Kind, Duration> =
        Kind::value_variants().iter().filter(|kind| only.is_none_or(|only| only == **kind)).map(|kind| (*kind, Duration::ZERO)).collect();
    let mut tried: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut finds = Vec::new();
    while Instant::now() < deadline {
        let Some((&kind, _)) = spent.iter().min_by_key(|(kind, spent)| **spent / kind.parts()) else { break };
        let began = Instant::now();
        let turn = search.turn(kind, deadline)?;
        *tried.entry(kind).or_default() += turn.tried;
        eprintln!("explore: {}: {}, {}", seconds(begin.elapsed()), count(turn.tried, kind.noun()), count(turn.finds.len(), "find"));
        turn.finds.iter().for_each(print);
        finds.extend(turn.finds);
        match turn.end {
            Some(why) => {
                eprintln!("explore: no further {}: {why}", kind.noun());
                spent.remove(&kind);
            }
            None => *spent.entry(kind).or_default() += began.elapsed().max(Duration::from_millis(1)),
        }
    }
    sum_up(&tried, &finds);
    Ok(finds.len())
}

/// Prints what was tried and what was found.
fn sum_up(tried: &BTreeMap<Kind, usize>, finds: &[Find]) {
    let parts: Vec<String> = tried.iter().filter(|(_, tried)| **tried > 0).map(|(kind, tried)| count(*tried, kind.noun())).collect();
    println!("explore: {}", if parts.is_empty() { "nothing could be tried".to_owned() } else { parts.join(", ") });
    finds.iter().for_each(print);
}

fn print(find: &Find) {
    println!("found: {}\n  repeat it with: {}", find.what, find.repeat);
    match &find.keep {
        Some(keep) => println!("  keep it with:   {keep}"),
        None => println!("  keep it as a test at the lowest level that shows it"),
    }
}

/// Returns a seed that was not used before.
fn unused_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis() % 1_000_000_000_000).unwrap_or(0)
}

/// Processes that keep the processor busy until they are dropped.
struct Load(Vec<Child>);

impl Load {
    fn begin(processes: usize) -> Result<Self> {
        let mut load = Self(Vec::new());
        for _ in 0..processes {
            let busy = Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
            load.0.push(busy.context("a busy process does not start")?);
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for busy in &mut self.0 {
            drop(busy.kill());
            drop(busy.wait());
        }
    }
}
