//! `ensue bench`: how fast this machine and this build are.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Asking;
use crate::bench::long::Length;
use crate::bench::{self, Done, Pace, Plan, measure, tables};
use crate::output::Output;
use crate::progress::Progress;
use crate::report::{Exit, Failure, Outcome, tell};

/// For how long each limit is measured at the most.
const LIMIT_MEASURED_MAX: Duration = Duration::from_secs(2);

/// Measure a node of this binary: webhooks in, actions finished.
///
/// Each scenario gets a fresh node, a process of its own in a temporary directory, and 22 KB pull requests of GitHub's shape, signed.
/// Latencies count from the moment a delivery was meant to be sent to its answer, and to the end of its work.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Scenarios:
  limits   what the machine can do at best: a bare handler, the disk, SQLite,
           programs; figures of the others are then also shares of these
  ingest   events are stored; no rule is true
  rule     one rule is true, and a no-op finished
  http     one rule is true, and makes one HTTP call to a server of the bench
  process  one rule is true, and runs `true` under a supervisor
  api      one rule is true, and a no-op finished, while others read
  rules    10 against 10,000 rules on one trigger, of which 10 are true
  log      starts after kills, on a log made so long (only when it is named)

Examples:
  ensue bench                            all of them, 64 connections
  ensue bench http --rate 20             at 20 a second, whatever the node does
  ensue bench http --until-called        64 at a time, each until its call came
  ensue bench rule --connections 16 --seconds 30 -o json
  ensue bench limits rule -o json > monday.json
  ensue bench compare monday.json tuesday.json
  ensue bench log --records 10000000 --folder /var/tmp/long"
)]
pub(crate) struct Bench {
    #[command(subcommand)]
    beside: Option<Beside>,
    /// What is measured; otherwise all of it.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Over how many connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    connections: u16,
    /// Send so many a second, whatever the node does; otherwise each connection sends the next when it has its answer.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Have each connection wait for the HTTP call of its delivery, not only for the answer (`http`).
    #[arg(long, conflicts_with = "rate")]
    until_called: bool,
    /// For how long each is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "S")]
    seconds: u64,
    /// How many records the log gets (`log`).
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    records: u64,
    /// How many of its executions stay open, without a worker (`log`).
    #[arg(long, default_value_t = 0, value_name = "N")]
    open: u64,
    /// Where the long log is made and stays (`log`); otherwise in a temporary
    /// directory.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// What is done with what was measured.
#[derive(Debug, Subcommand)]
enum Beside {
    /// Show the figures of two measurements side by side.
    ///
    /// Runs belong together by their scenario and pace; the ratio is the second as a multiple of the first.
    Compare {
        /// What `ensue bench --output json` wrote first.
        first: PathBuf,
        /// What it wrote then.
        second: PathBuf,
    },
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// What the machine can do at best.
    Limits,
    /// Events are stored; no rule is true.
    Ingest,
    /// One rule is true, and a no-op finished.
    Rule,
    /// One rule is true, and makes one HTTP call.
    Http,
    /// One rule is true, and runs a program under a supervisor.
    Process,
    /// One rule is true, and a no-op finished, while others read.
    Api,
    /// 10 against 10,000 rules on one trigger, of which 10 are true.
    Rules,
    /// Starts after kills, on a long log.
    Log,
}

impl Scenario {
    fn runs(self) -> Vec<bench::Scenario> {
        match self {
            Self::Ingest => vec![bench::Scenario::Ingest],
            Self::Rule => vec![bench::Scenario::Rule],
            Self::Http => vec![bench::Scenario::Http],
            Self::Rules => vec![bench::Scenario::Rules(10), bench::Scenario::Rules(10_000)],
            Self::Process => vec![bench::Scenario::Process],
            Self::Api => vec![bench::Scenario::Api],
            Self::Limits | Self::Log => Vec::new(),
        }
    }
}

impl Bench {
    pub(super) fn run(self, asking: &Asking) -> Outcome {
        if let Some(Beside::Compare { first, second }) = &self.beside {
            return compare(first, second, asking.output);
        }
        if self.scenarios.contains(&Scenario::Log) {
            if self.scenarios != [Scenario::Log] {
                return Err(Failure::with(Exit::Usage, "`log` is measured alone").hint("leave out the others, or `log`"));
            }
            let length = Length { records: self.records, open: self.open };
            return many_threads(long(length, self.folder, asking.output));
        }
        let scenarios = if self.scenarios.is_empty() { Scenario::value_variants().to_vec() } else { self.scenarios };
        let plan = Plan {
            done: if self.until_called { Done::Called } else { Done::Answered },
            pace: self.rate.map_or(Pace::Closed, |rate| Pace::Open { rate }),
            connections: usize::from(self.connections),
            duration: Duration::from_secs(self.seconds),
        };
        if cfg!(debug_assertions) {
            tell("note: this is a debug build; figures that mean something come from `cargo build --release`");
        }
        many_threads(measured(scenarios, plan, asking.output))
    }
}

/// Waits on several threads: making a log blocks one.
fn many_threads(asked: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Failure::new(format!("nothing can be awaited here: {error}")))?.block_on(asked)
}

async fn long(length: Length, folder: Option<PathBuf>, output: Output) -> Outcome {
    let temporary = tempfile::Builder::new().prefix("ensue-bench-").tempdir();
    let temporary = temporary.map_err(|error| Failure::new(format!("no temporary directory can be made: {error}")))?;
    let folder = folder.unwrap_or_else(|| temporary.path().to_owned());
    tell(format!("making a log of {} records in {} …", length.records, folder.display()));
    let folder = std::path::absolute(&folder).map_err(|error| Failure::new(format!("`{}`: {error}", folder.display())))?;
    let made = std::fs::create_dir_all(&folder);
    made.map_err(|error| Failure::new(format!("`{}` cannot be made: {error}", folder.display())))?;
    let figures = bench::long::measure(&folder, length).await;
    let figures = figures.map_err(|error| Failure::new(format!("`log` could not be measured: {error}")))?;
    output.print_one(&json!({ "release": env!("CARGO_PKG_VERSION"), "log": figures }), |_| format!("{figures:#}"));
    Ok(())
}

async fn measured(scenarios: Vec<Scenario>, plan: Plan, output: Output) -> Outcome {
    let temporary = || {
        let folder = tempfile::Builder::new().prefix("ensue-bench-").tempdir();
        folder.map_err(|error| Failure::new(format!("no temporary directory can be made: {error}")))
    };
    let unmeasured = |what: &str, error: std::io::Error| Failure::new(format!("`{what}` could not be measured: {error}"));
    let mut document = json!({ "release": env!("CARGO_PKG_VERSION") });
    if scenarios.contains(&Scenario::Limits) {
        tell("measuring what the machine can do at best …");
        let folder = temporary()?;
        let each = plan.duration.min(LIMIT_MEASURED_MAX);
        let limits = bench::limits::measure(folder.path(), plan.connections, each).await;
        document["limits"] = limits.map_err(|error| unmeasured("limits", error))?;
    }
    let mut figures = Vec::new();
    for run in scenarios.into_iter().flat_map(Scenario::runs) {
        let folder = temporary()?;
        let progress = Progress::through_time(format!("measuring {}", run.name()), plan.duration);
        if !progress.is_drawn() {
            tell(format!("measuring {} for {} s …", run.name(), plan.duration.as_secs()));
        }
        let measured = progress.beside(measure(run, &plan, folder.path())).await;
        let mut measured = measured.map_err(|error| unmeasured(&run.name(), error))?;
        if document["limits"].is_object() {
            measured["share"] = bench::limits::shares(&measured, &document["limits"]);
        }
        figures.push(measured);
    }
    document["runs"] = figures.into();
    output.print_one(&document, shown);
    Ok(())
}

fn shown(document: &Value) -> String {
    let runs = document["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let limits = document["limits"].is_object().then(|| bench::limits::table(&document["limits"]));
    let runs = (!runs.is_empty()).then(|| tables(runs));
    [limits, runs].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

fn compare(first: &Path, second: &Path, output: Output) -> Outcome {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| Failure::with(Exit::Refused, format!("`{}` cannot be read: {error}", path.display())))?;
        serde_json::from_str::<Value>(&text)
            .map_err(|error| Failure::with(Exit::Refused, format!("`{}` is no JSON: {error}", path.display())))
    };
    let compared = bench::compare::compared(&read(first)?, &read(second)?).map_err(|why| Failure::with(Exit::Refused, why))?;
    output.print_one(&compared, bench::compare::table);
    Ok(())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=100_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("write a number from 0.1 to 100000".into()),
    }
}
