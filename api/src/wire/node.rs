//! The node: what it is, does, and needs.

use ensue_engine::ids::LogId;
use ensue_engine::record::{CatalogRevision, Chain, Epoch, Position};
use ensue_engine::time::Timestamp;
use ensue_views::Totals;
use schemars::JsonSchema;
use serde::Serialize;

use crate::attention::{Attention, COUNTED_MAX};
use crate::ports::{DependencyState, Finding, FindingVerdict, Job, JobKind, JobState, Kept, NodeStatus, Readiness, Retained};
use crate::shapes;

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
    retention: WireRetained,
    attention: WireAttention,
    totals: Option<WireTotals>,
}

/// How much of something is kept.
#[derive(Serialize, JsonSchema)]
struct WireKept {
    bytes: u64,
    quota_bytes: u64,
}

/// How long what has ended stays in the views, and what was taken out of them since they were begun.
#[derive(Serialize, JsonSchema)]
struct WireRetained {
    executions: Option<String>,
    executions_removed: u64,
    rows_removed: u64,
}

/// What waits for people. Each count goes up to `counted_max`, which stands for that many or more.
#[derive(Serialize, JsonSchema)]
struct WireAttention {
    /// The executions that failed for good within the last hour; steps of workflows are not counted.
    failed_last_hour: usize,
    /// The dead letters that nobody has dealt with.
    dead_letters_open: usize,
    /// The executions of which nobody knows whether they took effect.
    indeterminate: usize,
    /// The open inquiries of which people were reminded, or that are older than a day.
    inquiries_overdue: usize,
    counted_max: usize,
}

impl From<Attention> for WireAttention {
    fn from(attention: Attention) -> Self {
        Self {
            failed_last_hour: attention.failed_last_hour,
            dead_letters_open: attention.dead_letters_open,
            indeterminate: attention.indeterminate,
            inquiries_overdue: attention.inquiries_overdue,
            counted_max: COUNTED_MAX,
        }
    }
}

impl From<Retained> for WireRetained {
    fn from(retained: Retained) -> Self {
        Self { executions: retained.age(), executions_removed: retained.removed.executions, rows_removed: retained.removed.rows }
    }
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
    pub(crate) fn new(
        status: NodeStatus,
        views_position: Position,
        parked_reactions: usize,
        totals: Option<Totals>,
        attention: Attention,
    ) -> Self {
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
            retention: status.retention.into(),
            attention: attention.into(),
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
    status: WireReadinessStatus,
    dependencies: Vec<WireDependency>,
}

/// Whether it can.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireReadinessStatus {
    /// It can.
    Ready,
    /// It cannot now.
    NotReady,
}

/// A thing that the node depends on.
#[derive(Serialize, JsonSchema)]
struct WireDependency {
    name: &'static str,
    status: WireDependencyStatus,
    why: Option<String>,
}

/// How it stands with it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireDependencyStatus {
    /// It works.
    Up,
    /// It does not.
    Down,
}

impl From<Readiness> for WireReadiness {
    fn from(readiness: Readiness) -> Self {
        let dependencies = readiness.dependencies.into_iter().map(|dependency| {
            let (status, why) = match dependency.state {
                DependencyState::Up => (WireDependencyStatus::Up, None),
                DependencyState::Down { why } => (WireDependencyStatus::Down, Some(why)),
            };
            WireDependency { name: dependency.name, status, why }
        });
        let status = if readiness.is_ready { WireReadinessStatus::Ready } else { WireReadinessStatus::NotReady };
        Self { status, dependencies: dependencies.collect() }
    }
}

/// What `doctor` found.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireDoctor {
    verdict: WireFindingVerdict,
    findings: Vec<WireFinding>,
}

/// One thing that `doctor` looked at.
#[derive(Serialize, JsonSchema)]
struct WireFinding {
    check: String,
    verdict: WireFindingVerdict,
    message: String,
    hint: Option<String>,
}

impl From<Vec<Finding>> for WireDoctor {
    fn from(findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(FindingVerdict::Good);
        let findings = findings.into_iter().map(|finding| WireFinding {
            check: finding.check,
            verdict: finding.verdict.into(),
            message: finding.message,
            hint: finding.hint,
        });
        Self { verdict: worst.into(), findings: findings.collect() }
    }
}

/// How it is with what was looked at.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireFindingVerdict {
    /// Nothing is to be done.
    Good,
    /// It works, and something about it is unsafe or will not go well for ever.
    Warning,
    /// Something does not work.
    Bad,
}

impl From<FindingVerdict> for WireFindingVerdict {
    fn from(verdict: FindingVerdict) -> Self {
        match verdict {
            FindingVerdict::Good => Self::Good,
            FindingVerdict::Warning => Self::Warning,
            FindingVerdict::Bad => Self::Bad,
        }
    }
}

/// Something done in the background.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireJob {
    job: WireJobKind,
    status: WireJobStatus,
    #[schemars(with = "shapes::Timestamp")]
    began_at: Timestamp,
    #[schemars(with = "Option<shapes::Timestamp>")]
    ended_at: Option<Timestamp>,
    #[schemars(with = "shapes::Position")]
    position: Position,
    why: Option<String>,
}

/// What it does.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireJobKind {
    /// It checks the log's chain.
    LogVerify,
    /// It builds the views anew.
    ViewsRebuild,
}

/// How it stands.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireJobStatus {
    /// It goes on.
    Running,
    /// It ended, and all was well.
    Succeeded,
    /// It ended, and `why` says what is wrong.
    Failed,
}

impl From<Job> for WireJob {
    fn from(job: Job) -> Self {
        let (status, ended_at, why) = match job.state {
            JobState::Running => (WireJobStatus::Running, None, None),
            JobState::Succeeded { ended_at } => (WireJobStatus::Succeeded, Some(ended_at), None),
            JobState::Failed { ended_at, why } => (WireJobStatus::Failed, Some(ended_at), Some(why)),
        };
        let name = match job.kind {
            JobKind::LogVerify => WireJobKind::LogVerify,
            JobKind::ViewsRebuild => WireJobKind::ViewsRebuild,
        };
        Self { job: name, status, began_at: job.began_at, ended_at, position: job.position, why }
    }
}
