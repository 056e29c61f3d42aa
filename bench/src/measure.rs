//! One run of a scenario: starts a node, warms it up, applies the load, and counts the results.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use ensue_node::Scratch;
use serde_json::Value;

use crate::child::{Machine, Node, Start};
use crate::delivery::Delivery;
use crate::figures::{Costs, Figures, Lag, Latencies, StreamFigures};
use crate::load::{Load, LoadResult, Pace, Until};
use crate::log_summary::LogSummary;
use crate::packs::Scenario;
use crate::reads::{ReadResults, Readers};
use crate::streams::{StreamResults, Streams};
use crate::target::CallTarget;
use crate::wire::HttpConnection;
use crate::{child, judging, log_folder, log_summary, packs};

/// The number of events in one request of `batch`.
const EVENTS_OF_A_LIST: usize = 100;
/// The length of the payload of an event over the API.
const PAYLOAD_BYTES: usize = 1_024;
/// The default number of events per second while streams are open.
const RATE_BESIDE_STREAMS: f64 = 10.0;
/// The number of the first counted delivery: those before it are for the warm-up.
const FIRST_COUNTED: u64 = 1 << 32;
/// Deliveries are numbered from the log's position on, shifted by this many bits.
const NUMBERS_OF_A_LOG_BITS: u32 = 33;

/// The longest that a node rests before its first delivery.
const REST_BEFORE_MAX: Duration = Duration::from_secs(5);

/// How a scenario is measured.
#[derive(Clone, Debug)]
pub(crate) struct MeasurementPlan {
    /// How deliveries are sent.
    pub(crate) pace: Pace,
    /// When a connection is done with a delivery.
    pub(crate) done: DoneCondition,
    /// The number of connections.
    pub(crate) connections: usize,
    /// The number of open streams (`streams`).
    pub(crate) streams: usize,
    /// The duration.
    pub(crate) duration: Duration,
    /// How long the node rests after the load, and up to [`REST_BEFORE_MAX`] before its first delivery.
    pub(crate) rest: Duration,
    /// The node's share of the machine.
    pub(crate) machine: Machine,
}

/// When a connection is done with a delivery, and may send the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DoneCondition {
    /// It has its answer.
    Answered,
    /// The HTTP call that it leads to has arrived, if it leads to one.
    Called,
}

impl MeasurementPlan {
    /// Returns how long a run takes, apart from the starts of its node and the end of its work.
    pub(crate) fn whole(&self) -> Duration {
        self.rest.min(REST_BEFORE_MAX) + self.duration + self.rest
    }

    /// Returns the pace of a scenario: when the latency of streams is measured, the node has spare capacity.
    fn pace_in(&self, scenario: Scenario) -> Pace {
        match (scenario, self.pace) {
            (Scenario::Streams, Pace::Closed) => Pace::Open { rate: RATE_BESIDE_STREAMS },
            (_, pace) => pace,
        }
    }

    fn describe_pace(&self, scenario: Scenario) -> String {
        let sent = match (self.pace_in(scenario), self.done) {
            (Pace::Closed, DoneCondition::Called) => format!("{} at a time", self.connections),
            (Pace::Closed, DoneCondition::Answered) => format!("{} connections", self.connections),
            (Pace::Open { rate }, DoneCondition::Answered | DoneCondition::Called) => format!("{rate}/s"),
        };
        let disk = match (self.machine.slow_disk, &self.machine.database) {
            (Some(delay), _) => format!(", disk {} ms slower", delay.as_millis()),
            (None, Some(_)) => ", PostgreSQL".to_owned(),
            (None, None) => String::new(),
        };
        match scenario {
            Scenario::Streams => format!("{sent}, {} streams{disk}", self.streams),
            _ => format!("{sent}{disk}"),
        }
    }
}

/// Measures one scenario on a node in `folder`, a fresh one or one that continues the log there. Returns its
/// figures as JSON.
pub(crate) async fn measure(scenario: Scenario, plan: &MeasurementPlan, folder: &Path) -> io::Result<Value> {
    let mut bed = Bed::prepare(scenario, plan, folder).await?;
    let memory_bytes = bed.node.memory_bytes();
    let beside = BackgroundLoad::begin(scenario, plan, &mut bed).await?;
    // Opening many streams takes time and tokens, which are not part of the load.
    let position = log_summary::head(&bed.node, &mut bed.connection).await?;
    let processor_before = bed.node.processor_time();
    let before = Baseline { position, memory_bytes, begin: Instant::now() };
    let loaded = Load { first: bed.load.first + FIRST_COUNTED, ..bed.load.clone() }.run().await?;
    let lag = match scenario {
        Scenario::Batch => Some(log_summary::lag(&bed.node, &mut bed.connection).await?),
        _ => None,
    };
    let (reads, streams) = beside.end(&mut bed, before.memory_bytes).await?;
    log_summary::settle(&bed.node, &mut bed.connection).await?;
    let processor = bed.node.processor_time_since(processor_before);
    let memory_after_rest_bytes = memory_after_rest(&bed.node, plan.rest).await;
    let ends = LogSummary::read(&bed.node, &mut bed.connection, before.position).await?;
    if let Some(refusal) = loaded.first_refusal.as_ref().filter(|_| loaded.sent.is_empty()) {
        return Err(io::Error::other(format!("the node rejected a delivery: {refusal}")));
    }
    let memory_peak_bytes = bed.node.memory_peak_bytes();
    let ready = bed.node.ready;
    let disk_bytes = bed.node.stop().await? + database_bytes(bed.database.as_ref())?;
    let judged = match scenario {
        Scenario::Rules(_) if bed.database.is_none() => Some(tokio::task::block_in_place(|| judging::time_per_event(folder))?),
        _ => None,
    };
    let events = bed.load.delivery.events;
    let costs = Costs {
        disk_bytes: disk_bytes.saturating_sub(bed.disk_bytes_before),
        events_on_disk: (bed.warmed + loaded.sent.len() as u64) * events,
        processor,
        judged,
        memory_rest_bytes: bed.memory_rest_bytes,
        memory_idle_bytes: before.memory_bytes,
        memory_peak_bytes,
        rest: plan.rest,
        memory_after_rest_bytes,
        first_start: bed.first_start,
        ready,
    };
    let measured =
        RunResults { scenario, pace: plan.describe_pace(scenario), loaded, ends, target: bed.target, reads, streams, lag, events, costs };
    Ok(before.figures(measured).to_json())
}

/// Lets the node rest. Returns its memory after that, in bytes; `None` if it is not to rest,
/// or if the machine does not tell.
async fn memory_after_rest(node: &Node, rest: Duration) -> Option<u64> {
    if rest.is_zero() {
        return None;
    }
    tokio::time::sleep(rest).await;
    Some(node.memory_bytes()).filter(|bytes| *bytes > 0)
}

/// A warm node and its measuring equipment.
struct Bed {
    node: Node,
    connection: HttpConnection,
    target: Option<CallTarget>,
    load: Load,
    /// The time of its start in an empty directory, if there was one.
    first_start: Option<Duration>,
    /// Its memory at rest before its first delivery, in bytes.
    memory_rest_bytes: Option<u64>,
    /// The size of its directory before its first event, in bytes.
    disk_bytes_before: u64,
    /// How many deliveries it received for the warm-up.
    warmed: u64,
    /// The database of its log, if that is not in its directory.
    database: Option<Scratch>,
}

impl Bed {
    async fn prepare(scenario: Scenario, plan: &MeasurementPlan, folder: &Path) -> io::Result<Self> {
        let target = match scenario {
            Scenario::Http => Some(CallTarget::start().await?),
            _ => None,
        };
        let secret = hex::encode(child::entropy()?);
        let secret_file = folder.join("secret");
        std::fs::write(&secret_file, &secret)?;
        log_folder::clear_pack(folder)?;
        packs::write(&folder.join("packs"), scenario, target.as_ref().map(|target| target.address))?;
        let mut variables = vec![(packs::KEY_VARIABLE, secret_file.display().to_string())];
        variables.extend(target.as_ref().map(|target| ("ENSUE_EGRESS_ALLOW", target.address.to_string())));
        let database = plan.machine.database.as_deref().map(child::database_on).transpose()?;
        variables.extend(database.as_ref().map(|database| ("ENSUE_DATABASE", database.address().to_owned())));
        let token = log_folder::token(folder)?;
        let start = || Start { folder, token: &token, variables: variables.clone(), machine: &plan.machine };
        let is_new = !folder.join("data").exists();
        // The space that a node needs before its first event does not count for events.
        let first = Node::start(start()).await?;
        let first_start = is_new.then_some(first.ready);
        let disk_bytes_before = first.stop().await? + database_bytes(database.as_ref())?;
        let node = Node::start(start()).await?;
        let memory_rest_bytes = memory_after_rest(&node, plan.rest.min(REST_BEFORE_MAX)).await;
        let delivery = match scenario {
            Scenario::Batch => Delivery::list(node.address, &token, packs::TICK_REF, EVENTS_OF_A_LIST, PAYLOAD_BYTES),
            Scenario::Streams => Delivery::list(node.address, &token, packs::TICK_REF, 1, PAYLOAD_BYTES),
            Scenario::Flow(flow) => Delivery::flow(node.address, &token, flow),
            _ => Delivery::new(node.address, packs::HOOK, secret.as_bytes()),
        };
        let load = Load {
            node: node.address,
            delivery,
            pace: plan.pace_in(scenario),
            until: match (plan.done, &target) {
                (DoneCondition::Called, Some(target)) => Until::Called(target.calls.clone()),
                (DoneCondition::Called, None) | (DoneCondition::Answered, _) => Until::Answered,
            },
            connections: plan.connections,
            duration: plan.duration,
            first: 0,
        };
        let mut connection = HttpConnection::open(node.address).await?;
        // Deliveries of an earlier measurement on the same log would be duplicates.
        let load = Load { first: log_summary::head(&node, &mut connection).await? << NUMBERS_OF_A_LOG_BITS, ..load };
        let warmed = warm_up(scenario, &load, &node, &mut connection).await?;
        if let Some(target) = &target {
            target.calls.clear();
        }
        Ok(Self { node, connection, target, load, first_start, memory_rest_bytes, disk_bytes_before, warmed, database })
    }
}

/// Returns the size of the node's database in bytes, or 0 if its log is in files.
fn database_bytes(database: Option<&Scratch>) -> io::Result<u64> {
    database.map_or(Ok(0), |database| tokio::task::block_in_place(|| database.bytes()).map_err(io::Error::other))
}

/// What runs alongside a load.
enum BackgroundLoad {
    Nothing,
    Readers(Readers),
    Streams(Streams),
}

impl BackgroundLoad {
    async fn begin(scenario: Scenario, plan: &MeasurementPlan, bed: &mut Bed) -> io::Result<Self> {
        match scenario {
            Scenario::Api => Ok(Self::Readers(Readers::start(&bed.node).await?)),
            Scenario::Streams => {
                // Each stream needs a descriptor. The node, which raises its own limit, is already running.
                raise_open_files();
                Ok(Self::Streams(Streams::open(&bed.node, &mut bed.connection, plan.streams).await?))
            }
            _ => Ok(Self::Nothing),
        }
    }

    /// Ends it. Returns what was read, and what arrived over streams.
    async fn end(self, bed: &mut Bed, memory_bytes_before: u64) -> io::Result<(ReadResults, Option<StreamFigures>)> {
        match self {
            Self::Nothing => Ok((ReadResults::default(), None)),
            Self::Readers(readers) => Ok((readers.stop().await?, None)),
            Self::Streams(streams) => {
                let head = log_summary::head(&bed.node, &mut bed.connection).await?;
                let memory_bytes = bed.node.memory_bytes().saturating_sub(memory_bytes_before);
                let StreamResults { count, arrived, lost } = streams.until(head).await?;
                Ok((ReadResults::default(), Some(StreamFigures { count, arrived, lost, memory_bytes })))
            }
        }
    }
}

/// Raises this process's limit of open files to its maximum.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    // Some systems report no limit but have one.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

/// Lets the node grow its caches and the allocator its arenas before anything counts. Returns the number of
/// deliveries for this.
async fn warm_up(scenario: Scenario, load: &Load, node: &Node, connection: &mut HttpConnection) -> io::Result<u64> {
    const DURATION: Duration = Duration::from_millis(500);
    const EVENTS_PER_SECOND: u32 = 200;
    let events = match scenario {
        // A step is as much work as an event.
        Scenario::Flow(flow) => flow.executions() as u64,
        _ => load.delivery.events,
    };
    let rate = f64::from(EVENTS_PER_SECOND) / f64::from(u32::try_from(events).unwrap_or(1));
    let warm = Load { pace: Pace::Open { rate }, connections: 4, duration: DURATION, first: load.first + 1, ..load.clone() };
    let loaded = warm.run().await?;
    if loaded.sent.is_empty() {
        let why = loaded.first_refusal.unwrap_or_default();
        return Err(io::Error::other(format!("the node rejected a delivery: {why}")));
    }
    log_summary::settle(node, connection).await?;
    Ok(loaded.sent.len() as u64)
}

/// The state before the load.
struct Baseline {
    position: u64,
    memory_bytes: u64,
    begin: Instant,
}

/// The measurements.
struct RunResults {
    scenario: Scenario,
    pace: String,
    loaded: LoadResult,
    ends: LogSummary,
    target: Option<CallTarget>,
    reads: ReadResults,
    streams: Option<StreamFigures>,
    lag: Option<Lag>,
    /// The number of events in each delivery.
    events: u64,
    costs: Costs,
}

impl Baseline {
    fn figures(&self, measured: RunResults) -> Figures {
        let RunResults { scenario, pace, loaded, ends, target, reads, streams, lag, events, costs } = measured;
        let finished: Vec<(Instant, Instant)> = loaded
            .sent
            .iter()
            .filter_map(|sent| {
                let (end, executions) = ends.by_event.get(&sent.event?)?;
                (*executions == scenario.executions_per_event()).then_some((sent.intended, *end))
            })
            .collect();
        let called: Vec<Duration> = target.map_or_else(Vec::new, |target| {
            let came = |event| target.calls.came(&event);
            loaded.sent.iter().filter_map(|sent| Some(came(sent.event?)?.saturating_duration_since(sent.intended))).collect()
        });
        let last = |moments: &mut dyn Iterator<Item = Instant>| moments.max().map_or(Duration::ZERO, |last| last - self.begin);
        Figures {
            scenario: scenario.name(),
            pace,
            answered: Latencies::of(loaded.sent.iter().map(|sent| sent.answered - sent.intended)),
            finished: Latencies::of(finished.iter().map(|(intended, end)| end.saturating_duration_since(*intended))),
            called: Latencies::of(called.into_iter()),
            read: Latencies::of(reads.took.into_iter()),
            refused: loaded.refused,
            unfinished: match scenario.executions_per_event() {
                0 => 0,
                _ => (loaded.sent.len() - finished.len()) as u64,
            },
            answering: last(&mut loaded.sent.iter().map(|sent| sent.answered)),
            finishing: last(&mut finished.iter().map(|(_, end)| *end)),
            reading: reads.over,
            reads_refused: reads.refused,
            events_per_delivery: events,
            lag,
            streams,
            records_before: self.position,
            records: ends.records,
            commits: ends.commits,
            costs,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Returns how many of two accepted deliveries count as unfinished if the log contains only the end of
    /// the first.
    fn unfinished_count(scenario: Scenario) -> Value {
        let begin = Instant::now();
        let sent = [*b"019c0000-0000-7000-8000-000000000001", *b"019c0000-0000-7000-8000-000000000002"]
            .map(|event| crate::load::SentDelivery { intended: begin, answered: begin, event: Some(event) });
        let by_event = HashMap::from([(sent[0].event.unwrap(), (begin, 1))]);
        let measured = RunResults {
            scenario,
            pace: "2 connections".into(),
            loaded: LoadResult { sent: sent.to_vec(), ..LoadResult::default() },
            ends: LogSummary { by_event, ..LogSummary::default() },
            target: None,
            reads: ReadResults::default(),
            streams: None,
            lag: None,
            events: 1,
            costs: Costs::default(),
        };
        Baseline { position: 0, memory_bytes: 0, begin }.figures(measured).to_json()["unfinished"].clone()
    }

    #[test]
    fn unfinished_deliveries_are_reported_only_if_they_start_executions() {
        assert_eq!(unfinished_count(Scenario::Rule), 1);
        assert_eq!(unfinished_count(Scenario::Ingest), 0);
    }
}
