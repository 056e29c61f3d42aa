//! The arguments of `ensue bench`, and how they are carried out.

mod sensor;
mod workflow;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::workflow::{OfWorkflow, WorkflowSelection};
use crate::aims;
use crate::at_size::{self, Size};
use crate::backtests::{self, PastEvents};
use crate::child::{self, Machine};
use crate::cores::{self, Cores};
use crate::figures::tables;
use crate::load::Pace;
use crate::long_log::{self, Length};
use crate::measure::{DoneCondition, MeasurementPlan, measure};
use crate::measurement_error::{Fault, MeasurementError};
use crate::watcher::{self, Watcher, beside};
use crate::{compare, limits, many_logs, packs};

/// The longest time that each limit is measured.
const LIMIT_MEASURED_MAX: Duration = Duration::from_secs(2);

/// Measure how fast a node is on this machine.
///
/// Each scenario starts a fresh node, as a separate process in a temporary directory, and sends it signed
/// pull requests of 22 KB as GitHub does. Latencies count from the time at which a delivery was due, to its
/// answer and to the end of its work.
#[derive(Debug, Args)]
#[command(after_help = "\
Scenarios:
  limits   the limits of the machine: a bare handler, the disk, SQLite, and
           programs. The other figures are also shown as shares of these
  ingest   events are stored; no rule matches
  rule     one rule matches and runs a no-op
  http     one rule matches and makes one HTTP call to a server of the bench
  process  one rule matches and runs `true` under a supervisor
  api      one rule matches and runs a no-op, while other clients read
  rules    10 rules, then 10,000 rules, on one trigger; 10 of them match
  batch    lists of 100 events of 1 KB over the API; no rule matches
  streams  single events of 1 KB, 10 a second, while many clients follow the log
  workflow short workflows of no-ops, at full speed and at 100 a second; a chain
           of 200 steps; 500 steps at once; graphs compared with their
           schedules; 100,000 timers. Runs only if you name it
  backtest what a rule would have done with a million events of 2 KB. Runs only
           if you name it
  reads    pages of every list, and repeated reads of one execution, among a
           million executions. Runs only if you name it
  log      starts after kills, on a long log; with --database, appends to
           several logs at once. Runs only if you name it
  hook     deliveries without a proof, signed as by GitHub, and by `hmac`; with
           a rule, and with a reply that waits for it. Runs only if you name it

Examples:
  ensue bench                            all scenarios, 64 connections
  ensue bench http --rate 20             20 deliveries a second
  ensue bench http --until-called        64 at a time, each until its call arrives
  ensue bench rule --connections 16 --seconds 30 -o json
  ensue bench limits rule -o json > monday.json
  ensue bench compare monday.json tuesday.json
  ensue bench aims monday.json           the targets that it meets and misses
  ensue bench http --rest 300            also the memory five minutes later
  ensue bench streams --streams 200 --rate 50
  ensue bench rule --slow-disk 5         commits take 5 ms longer
  ensue bench rule --database ADDRESS    with the log in PostgreSQL
  ensue bench workflow --graphs DIR      with the graphs of a folder
  ensue bench workflow --parts chain,fan-out
  ensue bench reads --executions 1000000 --folder /var/tmp/many
  ensue bench log --records 10000000 --folder /var/tmp/long
  ensue bench log --database ADDRESS --logs 16
  ensue bench hook --connections 1       one delivery after the other
  ensue bench sensor process             the lines of a program
  ensue bench sensor poll --idle 1000    polls that find nothing new")]
pub struct Bench {
    #[command(subcommand)]
    then: Option<Then>,
    #[command(flatten)]
    asked: MeasureArgs,
}

/// What is measured, and how.
#[derive(Debug, PartialEq, Args)]
struct MeasureArgs {
    /// The scenarios to measure [default: all that need not be named].
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// The number of connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    connections: u16,
    /// Send this many deliveries a second, however fast the node answers. Without it, each connection sends its
    /// next delivery when the previous one is answered.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// On each connection, wait for the HTTP call of a delivery before the next is sent (`http`).
    #[arg(long, conflicts_with = "rate")]
    until_called: bool,
    /// The number of seconds to measure each scenario.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "S")]
    seconds: u64,
    /// The number of seconds that a node rests after the load before its memory is read. Before its first delivery it
    /// rests as long, but at most 5 s.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=3600), value_name = "S")]
    rest: u64,
    /// The number of streams that follow the log (`streams`).
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    streams: u16,
    /// Make each commit take this many milliseconds longer, as on a slow disk.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    slow_disk: Option<u64>,
    /// Keep the log of each node in a new database on the server with this address, which is dropped afterwards. Its role
    /// must be allowed to create databases.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "slow_disk")]
    database: Option<String>,
    /// When to reserve cores for the threads of the bench. `auto` does so on four cores or more.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pin: Pin,
    /// The number of events to run the backtest over (`backtest`).
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=5_000_000), value_name = "N")]
    events: u64,
    /// One event in this many matches the rule of the backtest (`backtest`).
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    matching_one_in: u64,
    /// The number of executions to create (`reads`).
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    executions: u64,
    /// The number of logs that are written at once (`log` with `--database`). Each has a database of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N", requires = "database")]
    logs: u16,
    /// The number of records to create (`log`); with `--database`, in each log.
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    records: u64,
    /// The number of executions that stay open, because they have no worker (`log`).
    #[arg(long, default_value_t = 0, value_name = "N")]
    open: u64,
    /// The folder of the log. `log` and `reads` create it and keep it; other scenarios continue an existing
    /// one [default: a temporary directory].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    workflow: OfWorkflow,
}

/// When the bench's threads run on other cores than the node's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Pin {
    /// If the machine has enough cores.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// The commands that use figures measured before.
#[derive(Debug, Subcommand)]
enum Then {
    /// Compare the figures of two measurements.
    ///
    /// Runs are matched by their scenario and pace. The ratio is the second figure divided by the first.
    #[command(after_help = "\
Examples:
  ensue bench limits rule -o json > monday.json
  ensue bench compare monday.json tuesday.json")]
    Compare {
        /// The output of the first `ensue bench --output json`.
        first: PathBuf,
        /// The output of the second one.
        second: PathBuf,
    },
    /// Show which targets the measurements meet, and which they miss.
    #[command(after_help = "\
Examples:
  ensue bench limits rule http -o json > monday.json
  ensue bench aims monday.json")]
    Aims {
        /// The output of `ensue bench --output json`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Measure sensors that read a source.
    #[command(
        subcommand,
        after_help = "\
Examples:
  ensue bench sensor process --rule
  ensue bench sensor poll --idle 1000"
    )]
    Sensor(sensor::Kind),
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// The limits of the machine.
    Limits,
    /// Events are stored; no rule matches.
    Ingest,
    /// One rule matches and runs a no-op.
    Rule,
    /// One rule matches and makes one HTTP call.
    Http,
    /// One rule matches and runs a program under a supervisor.
    Process,
    /// One rule matches and runs a no-op, while other clients read.
    Api,
    /// 10 rules, then 10,000 rules, on one trigger; 10 of them match.
    Rules,
    /// Lists of events over the API.
    Batch,
    /// Single events, while many clients follow the log.
    Streams,
    /// Workflows: short, long and wide ones, graphs, and timers.
    Workflow,
    /// A backtest over many events.
    Backtest,
    /// Pages and single executions among many.
    Reads,
    /// Starts after kills, on a long log.
    Log,
    /// Deliveries by their proof, and replies that wait.
    Hook,
}

impl Scenario {
    fn runs(self) -> Vec<packs::Scenario> {
        match self {
            Self::Ingest => vec![packs::Scenario::Ingest],
            Self::Rule => vec![packs::Scenario::Rule],
            Self::Http => vec![packs::Scenario::Http],
            Self::Rules => vec![packs::Scenario::Rules(10), packs::Scenario::Rules(10_000)],
            Self::Process => vec![packs::Scenario::Process],
            Self::Api => vec![packs::Scenario::Api],
            Self::Batch => vec![packs::Scenario::Batch],
            Self::Streams => vec![packs::Scenario::Streams],
            Self::Hook => packs::Hook::ALL.map(packs::Scenario::Hook).to_vec(),
            Self::Limits | Self::Workflow | Self::Backtest | Self::Reads | Self::Log => Vec::new(),
        }
    }
}

/// The measurements, as a document for programs and as text for people.
pub struct Measurements {
    /// The figures.
    pub document: Value,
    /// Why the rest was not measured: the figures are those taken before the failure.
    pub failure: Option<MeasurementError>,
    show: fn(&Value) -> String,
}

impl Measurements {
    /// Returns the figures for people.
    pub fn render(&self) -> String {
        (self.show)(&self.document)
    }
}

impl Bench {
    /// Measures what was requested, or compares earlier measurements.
    ///
    /// # Errors
    ///
    /// Fails on requests that make no sense, on files that cannot be read, and if a machine or node does not
    /// do its part.
    pub fn run(self, watcher: &dyn Watcher) -> Result<Measurements, MeasurementError> {
        let Self { then, asked } = self;
        if let Some(then) = then {
            return then.run(&asked, watcher);
        }
        let machine = asked.machine();
        if machine.database.is_some() {
            asked.demand_databases()?;
        }
        for (scenario, name) in [(Scenario::Log, "log"), (Scenario::Reads, "reads")] {
            if !asked.scenarios.contains(&scenario) {
                continue;
            }
            if asked.scenarios != [scenario] {
                return Err(MeasurementError::new(Fault::Asked, format!("`{name}` must be measured alone"))
                    .hint(format!("leave out the others, or `{name}`")));
            }
            warn_of_debug_build(watcher);
            return many_threads(&machine.cores.clone(), alone(scenario, asked, machine, watcher));
        }
        let workflow = asked.scenarios.contains(&Scenario::Workflow);
        if asked.workflow.says_anything() && !workflow {
            let why = "`--parts` and `--graphs` apply only to `workflow`, which is not measured here";
            return Err(MeasurementError::new(Fault::Asked, why).hint("run `ensue bench workflow --graphs DIR`"));
        }
        let workflow = workflow.then(|| asked.workflow.read()).transpose()?;
        let backtest = asked.scenarios.contains(&Scenario::Backtest);
        let past = PastEvents { count: asked.events, matching_one_in: asked.matching_one_in };
        let backtest = backtest.then_some(past);
        let scenarios = if asked.scenarios.is_empty() { by_default() } else { asked.scenarios };
        let plan = MeasurementPlan {
            done: if asked.until_called { DoneCondition::Called } else { DoneCondition::Answered },
            pace: asked.rate.map_or(Pace::Closed, |rate| Pace::Open { rate }),
            connections: usize::from(asked.connections),
            streams: usize::from(asked.streams),
            duration: Duration::from_secs(asked.seconds),
            rest: Duration::from_secs(asked.rest),
            machine,
        };
        warn_of_debug_build(watcher);
        let log = asked.folder.as_deref().map(standing).transpose()?;
        many_threads(&plan.machine.cores.clone(), measure_scenarios(&scenarios, workflow, backtest, plan, log, watcher))
    }
}

impl MeasureArgs {
    /// Returns true if any option differs from its default.
    fn says_anything(&self) -> bool {
        let nothing = <Self as clap::Args>::augment_args(clap::Command::new("bench")).try_get_matches_from(["bench"]);
        let nothing = nothing.and_then(|matches| <Self as clap::FromArgMatches>::from_arg_matches(&matches));
        nothing.is_ok_and(|nothing| nothing != *self)
    }

    /// Fails unless each scenario can make its log in a new database.
    fn demand_databases(&self) -> Result<(), MeasurementError> {
        let in_databases = |scenario: &Scenario| !scenario.runs().is_empty() || matches!(scenario, Scenario::Limits | Scenario::Log);
        let other = self.scenarios.iter().find(|scenario| !in_databases(scenario));
        let name = other.and_then(ValueEnum::to_possible_value).map(|value| value.get_name().to_owned());
        let (why, hint) = match (name, &self.folder) {
            (Some(name), _) => (format!("`--database` does not apply to `{name}`"), "run `ensue bench rule --database ADDRESS`"),
            (None, Some(_)) => (
                "`--database` creates a new log, and `--folder` continues an existing one".to_owned(),
                "run `ensue bench rule --database ADDRESS`",
            ),
            (None, None) if self.open > 0 => (
                "`--open` does not apply with `--database`: no node is started on these logs".to_owned(),
                "run `ensue bench log --open N` without it",
            ),
            (None, None) if self.logs > 1 && !self.scenarios.contains(&Scenario::Log) => {
                ("`--logs` applies only to `log`".to_owned(), "run `ensue bench log --database ADDRESS --logs 16`")
            }
            (None, None) => return Ok(()),
        };
        Err(MeasurementError::new(Fault::Asked, why).hint(hint))
    }

    fn machine(&self) -> Machine {
        let cores = match self.pin {
            Pin::Auto => Cores::apart_where_there_are_enough(),
            Pin::Never => Cores::share_all(),
        };
        Machine { cores, slow_disk: self.slow_disk.map(Duration::from_millis), database: self.database.clone() }
    }
}

/// Returns the scenarios that are measured if none is named.
fn by_default() -> Vec<Scenario> {
    Scenario::value_variants().iter().copied().filter(|scenario| *scenario != Scenario::Hook).collect()
}

fn warn_of_debug_build(watcher: &dyn Watcher) {
    if cfg!(debug_assertions) {
        watcher.report("note: this is a debug build; for meaningful figures, use `cargo build --release`");
    }
}

/// Runs on several threads, on the bench's cores: building a log blocks one.
fn many_threads(
    cores: &Cores,
    asked: impl Future<Output = Result<Measurements, MeasurementError>>,
) -> Result<Measurements, MeasurementError> {
    // What this thread starts begins where it is.
    cores
        .take_those_of_the_bench()
        .map_err(|error| MeasurementError::world(format!("the bench cannot be pinned to its own cores: {error}")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| MeasurementError::world(format!("the runtime cannot be started: {error}")))?.block_on(asked)
}

fn temporary() -> Result<tempfile::TempDir, MeasurementError> {
    let folder = tempfile::Builder::new().prefix("ensue-bench-").tempdir();
    folder.map_err(|error| MeasurementError::world(format!("the temporary directory cannot be created: {error}")))
}

fn absolute(folder: &Path) -> Result<PathBuf, MeasurementError> {
    std::path::absolute(folder).map_err(|error| MeasurementError::world(format!("`{}`: {error}", folder.display())))
}

/// Returns the folder that already contains a log.
fn standing(folder: &Path) -> Result<PathBuf, MeasurementError> {
    let folder = absolute(folder)?;
    if !folder.join("data").is_dir() {
        let why = format!("{} has no log to continue", folder.display());
        return Err(
            MeasurementError::new(Fault::Asked, why).hint(format!("create one with `ensue bench log --folder {}`", folder.display()))
        );
    }
    Ok(folder)
}

/// Measures a scenario with a log of its own, which may stay.
async fn alone(scenario: Scenario, asked: MeasureArgs, machine: Machine, watcher: &dyn Watcher) -> Result<Measurements, MeasurementError> {
    let temporary = temporary()?;
    let folder = asked.folder.map_or_else(|| Ok(temporary.path().to_owned()), |folder| absolute(&folder))?;
    let mut document = new_document(&machine);
    if scenario == Scenario::Reads {
        watcher.report(&format!("creating {} executions in {} …", asked.executions, folder.display()));
        let size = Size {
            executions: asked.executions,
            connections: usize::from(asked.connections),
            duration: Duration::from_secs(asked.seconds),
        };
        let figures = at_size::measure(&folder, size, &machine, watcher).await.map_err(|error| MeasurementError::of("reads", &error))?;
        document["reads"] = figures;
        let show = |document: &Value| format!("{}\n{}", at_size::table(&document["reads"]), cores::describe(&document["cores"]));
        return Ok(Measurements { document, failure: None, show });
    }
    if machine.database.is_some() {
        watcher.report(&format!("appending {} records to each of {} logs in PostgreSQL, and in files …", asked.records, asked.logs));
        let figures = many_logs::measure(&folder, (asked.logs, asked.records), &machine).await;
        document["logs"] = figures.map_err(|error| MeasurementError::of("log", &error))?.into();
        let show = |document: &Value| many_logs::table(document["logs"].as_array().map(Vec::as_slice).unwrap_or_default());
        return Ok(Measurements { document, failure: None, show });
    }
    watcher.report(&format!("creating a log of {} records in {} …", asked.records, folder.display()));
    let length = Length { records: asked.records, open: asked.open };
    let figures = long_log::measure(&folder, length, &machine, watcher).await.map_err(|error| MeasurementError::of("log", &error))?;
    document["log"] = figures;
    Ok(Measurements { document, failure: None, show: |document| format!("{:#}", document["log"]) })
}

/// Returns a new document with how the measurement was made.
fn new_document(machine: &Machine) -> Value {
    let slow_disk_ms = machine.slow_disk.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
    json!({
        "release": env!("CARGO_PKG_VERSION"),
        "binary": child::binary(),
        "cores": machine.cores.to_json(),
        "slow_disk_ms": slow_disk_ms,
        "database": machine.database.is_some(),
    })
}

/// Measures scenarios, each on a fresh log, or one after the other on the log of a folder.
async fn measure_scenarios(
    scenarios: &[Scenario],
    workflow: Option<WorkflowSelection>,
    backtest: Option<PastEvents>,
    plan: MeasurementPlan,
    log: Option<PathBuf>,
    watcher: &dyn Watcher,
) -> Result<Measurements, MeasurementError> {
    let mut document = new_document(&plan.machine);
    if scenarios.contains(&Scenario::Limits) {
        watcher.report("measuring the limits of this machine …");
        let folder = temporary()?;
        let each = plan.duration.min(LIMIT_MEASURED_MAX);
        let limits = limits::measure(folder.path(), plan.connections, each, &plan.machine.cores).await;
        document["limits"] = limits.map_err(|error| MeasurementError::of("limits", &error))?;
    }
    let mut figures = Vec::new();
    let mut failure = None;
    let flows = workflow.iter().flat_map(|workflow| workflow.runs(&plan));
    for (run, plan) in scenarios.iter().flat_map(|scenario| scenario.runs()).map(|run| (run, plan.clone())).chain(flows) {
        let temporary = temporary()?;
        let folder = log.as_deref().unwrap_or(temporary.path());
        let (name, seconds) = (run.name(), plan.whole().as_secs());
        let bar = watcher.bar(&format!("measuring {name}"), watcher::Length::Seconds(seconds));
        if !bar.is_drawn() {
            watcher.report(&format!("measuring {name} for {seconds} s …"));
        }
        match beside(&*bar, seconds, measure(run, &plan, folder)).await {
            Ok(mut measured) => {
                // The limits describe the machine's own disk.
                if document["limits"].is_object() && plan.machine.slow_disk.is_none() && plan.machine.database.is_none() {
                    measured["share"] = limits::shares(&measured, &document["limits"]);
                }
                figures.push(measured);
            }
            // Earlier measurements are still valid.
            Err(error) => {
                failure = Some(MeasurementError::of(&name, &error));
                break;
            }
        }
    }
    document["runs"] = figures.into();
    if let (Some(workflow), None) = (workflow, &failure) {
        match workflow.measure(plan.connections, &plan.machine, watcher).await {
            Ok(measured) => document["workflow"] = measured,
            Err(error) => failure = Some(error),
        }
    }
    if let (Some(past), None) = (backtest, &failure) {
        watcher.report(&format!("posting {} events, and running a backtest over them …", past.count));
        let folder = temporary()?;
        match backtests::measure(folder.path(), past, &plan.machine).await {
            Ok(measured) => document["backtest"] = measured,
            Err(error) => failure = Some(MeasurementError::of("backtest", &error)),
        }
    }
    Ok(Measurements { document, failure, show: render })
}

fn render(document: &Value) -> String {
    let runs = document["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let limits = document["limits"].is_object().then(|| limits::table(&document["limits"]));
    let runs = (!runs.is_empty()).then(|| tables(runs));
    let cores = Some(cores::describe(&document["cores"])).filter(|told| !told.is_empty());
    let backtest = document["backtest"].is_object().then(|| backtests::describe(&document["backtest"]));
    let aims = aims::aims(document, "measured").unwrap_or_default();
    let aims = (!aims.is_empty()).then(|| aims::table(&aims));
    let parts = limits.into_iter().chain(runs).chain(workflow::render(document)).chain(backtest).chain(aims).chain(cores);
    parts.collect::<Vec<_>>().join("\n\n")
}

impl Then {
    fn run(self, asked: &MeasureArgs, watcher: &dyn Watcher) -> Result<Measurements, MeasurementError> {
        let (name, usage, because) = match self {
            Self::Compare { .. } => ("compare", "ensue bench compare FIRST SECOND", "it reads earlier results and measures nothing"),
            Self::Aims { .. } => ("aims", "ensue bench aims FILE…", "it reads earlier results and measures nothing"),
            Self::Sensor(_) => ("sensor", "ensue bench sensor process --seconds 20", "its own options are behind its name"),
        };
        if asked.says_anything() {
            // Clap's own check would count what every command takes, as `--output`.
            let why = format!("`{name}` cannot be combined with scenarios and their options: {because}");
            return Err(MeasurementError::new(Fault::Asked, why).hint(format!("run `{usage}`")));
        }
        match self {
            Self::Compare { first, second } => {
                let document =
                    compare::compare_runs(&read(&first)?, &read(&second)?).map_err(|why| MeasurementError::new(Fault::Given, why))?;
                Ok(Measurements { document, failure: None, show: compare::table })
            }
            Self::Aims { files } => {
                let mut items = Vec::new();
                for file in files {
                    let aims = aims::aims(&read(&file)?, &format!("`{}`", file.display()));
                    items.extend(aims.map_err(|why| MeasurementError::new(Fault::Given, why))?);
                }
                let show = |document: &Value| aims::table(document["items"].as_array().map(Vec::as_slice).unwrap_or_default());
                Ok(Measurements { document: json!({ "items": items }), failure: None, show })
            }
            Self::Sensor(kind) => kind.run(&asked.machine(), watcher),
        }
    }
}

/// Reads the document of an earlier measurement.
fn read(path: &Path) -> Result<Value, MeasurementError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| MeasurementError::new(Fault::Given, format!("`{}` cannot be read: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| MeasurementError::new(Fault::Given, format!("`{}` is not JSON: {error}", path.display())))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=100_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("write a number from 0.1 to 100000".into()),
    }
}
