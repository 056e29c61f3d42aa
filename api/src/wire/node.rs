//! The node: what it is, does, and needs.

use ensue_engine::ids::LogId;
use ensue_engine::record::{CatalogRevision, Chain, Epoch, Position};
use ensue_engine::time::Timestamp;
use ensue_views::Totals;
use schemars::JsonSchema;
use serde::Serialize;

use crate::openapi::shapes;
use crate::ports::{DependencyState, Finding, FindingVerdict, Job, JobKind, JobState, Kept, NodeStatus, Readiness};

/// What the node is and does.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NodeStatus")]
pub(crate) struct WireStatus {
    release: String,
    #[schemars(with = "shapes::Timestamp")]
    started_at: Timestamp,
    #[schemars(with = "shapes::LogId")]
    log: LogId,
    #[schemars(with = "shapes::Epoch")]
    epoch: Epoch,
    #[schemars(with = "shapes::Position")]
    position: Position,
    #[schemars(with = "shapes::Chain")]
    chain: Chain,
    #[schemars(with = "shapes::Position")]
    views_position: Position,
    #[schemars(with = "shapes::CatalogRevision")]
    catalog: CatalogRevision,
    workers: u32,
    workers_busy: u32,
    parked_reactions: usize,
    disk_free_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    memory_max_bytes: u64,
    outputs: WireKept,
    artifacts: WireKept,
    totals: Option<WireTotals>,
}

/// How much of something is kept.
#[derive(Serialize, JsonSchema)]
struct WireKept {
    bytes: u64,
    quota_bytes: u64,
}

impl From<Kept> for WireKept {
    fn from(kept: Kept) -> Self {
        Self { bytes: kept.bytes, quota_bytes: kept.quota_bytes }
    }
}

/// The log in numbers, since its beginning.
#[derive(Serialize, JsonSchema)]
struct WireTotals {
    events: u64,
    deliveries_refused: u64,
    rules_erred: u64,
    executions_requested: u64,
    executions_succeeded: u64,
    executions_failed: u64,
    executions_timed_out: u64,
    executions_cancelled: u64,
    executions_open: u64,
    attempts_started: u64,
    attempts_lost: u64,
    starts: u64,
}

impl WireStatus {
    pub(crate) fn new(status: NodeStatus, views_position: Position, parked_reactions: usize, totals: Option<Totals>) -> Self {
        Self {
            release: status.release,
            started_at: status.started_at,
            log: status.log,
            epoch: status.epoch,
            position: status.head.position,
            chain: status.head.chain,
            views_position,
            catalog: status.catalog,
            workers: status.workers,
            workers_busy: status.workers_busy,
            parked_reactions,
            disk_free_bytes: status.disk_free_bytes,
            memory_bytes: status.memory_bytes,
            memory_max_bytes: status.memory_max_bytes,
            outputs: status.outputs.into(),
            artifacts: status.artifacts.into(),
            totals: totals.map(|totals| WireTotals {
                events: totals.events,
                deliveries_refused: totals.deliveries_refused,
                rules_erred: totals.rules_erred,
                executions_requested: totals.executions.requested,
                executions_succeeded: totals.executions.succeeded,
                executions_failed: totals.executions.failed,
                executions_timed_out: totals.executions.timed_out,
                executions_cancelled: totals.executions.cancelled,
                executions_open: totals.executions.open(),
                attempts_started: totals.attempts.started,
                attempts_lost: totals.attempts.lost,
                starts: totals.starts,
            }),
        }
    }
}

/// What anybody may know.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WirePublicStatus<'a> {
    pub(crate) name: &'static str,
    pub(crate) release: &'a str,
    pub(crate) api: &'static str,
}

/// That the process lives.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireAlive {
    pub(crate) status: &'static str,
}

/// Whether the node can serve.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireReadiness {
    status: &'static str,
    dependencies: Vec<WireDependency>,
}

/// A thing that the node depends on.
#[derive(Serialize, JsonSchema)]
struct WireDependency {
    name: &'static str,
    status: &'static str,
    why: Option<String>,
}

impl From<Readiness> for WireReadiness {
    fn from(readiness: Readiness) -> Self {
        let dependencies = readiness.dependencies.into_iter().map(|dependency| {
            let (status, why) = match dependency.state {
                DependencyState::Up => ("up", None),
                DependencyState::Down { why } => ("down", Some(why)),
            };
            WireDependency { name: dependency.name, status, why }
        });
        Self { status: if readiness.is_ready { "ready" } else { "not_ready" }, dependencies: dependencies.collect() }
    }
}

/// What `doctor` found.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireDoctor {
    verdict: &'static str,
    findings: Vec<WireFinding>,
}

/// One thing that `doctor` looked at.
#[derive(Serialize, JsonSchema)]
struct WireFinding {
    check: String,
    verdict: &'static str,
    message: String,
    hint: Option<String>,
}

impl From<Vec<Finding>> for WireDoctor {
    fn from(findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(FindingVerdict::Good);
        let findings = findings.into_iter().map(|finding| WireFinding {
            check: finding.check,
            verdict: verdict(finding.verdict),
            message: finding.message,
            hint: finding.hint,
        });
        Self { verdict: verdict(worst), findings: findings.collect() }
    }
}

fn verdict(verdict: FindingVerdict) -> &'static str {
    match verdict {
        FindingVerdict::Good => "good",
        FindingVerdict::Warning => "warning",
        FindingVerdict::Bad => "bad",
    }
}

/// Something done in the background.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireJob {
    job: &'static str,
    status: &'static str,
    #[schemars(with = "shapes::Timestamp")]
    began_at: Timestamp,
    #[schemars(with = "Option<shapes::Timestamp>")]
    ended_at: Option<Timestamp>,
    #[schemars(with = "shapes::Position")]
    position: Position,
    why: Option<String>,
}

impl From<Job> for WireJob {
    fn from(job: Job) -> Self {
        let (status, ended_at, why) = match job.state {
            JobState::Running => ("running", None, None),
            JobState::Succeeded { ended_at } => ("succeeded", Some(ended_at), None),
            JobState::Failed { ended_at, why } => ("failed", Some(ended_at), Some(why)),
        };
        let name = match job.kind {
            JobKind::LogVerify => "log_verify",
            JobKind::ViewsRebuild => "views_rebuild",
        };
        Self { job: name, status, began_at: job.began_at, ended_at, position: job.position, why }
    }
}
