//! The node: its status, its health and its jobs.

use std::collections::BTreeSet;

use ensue_derive::wire;
use ensue_engine::ids::LogId;
use ensue_engine::record::{CatalogRevision, Chain, Epoch, Position};
use ensue_engine::time::Timestamp;
use ensue_views::Totals;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::attention::{Attention, COUNTED_MAX};
use crate::ports::{
    DependencyState, EffectiveSetting, Finding, FindingVerdict, Job, JobKind, JobState, NodeStatus, Readiness, RetentionStatus,
    SettingSource, StorageUsage,
};
use crate::settings::Feature;

/// The status of the node.
#[wire(Serialize)]
#[schemars(rename = "NodeStatus")]
pub(crate) struct WireStatus {
    release: String,
    started_at: Timestamp,
    log: LogId,
    epoch: Epoch,
    position: Position,
    chain: Chain,
    views_position: Position,
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
    jobs: WireJobs,
}

/// How much of something is stored.
#[derive(Serialize, JsonSchema)]
struct WireKept {
    bytes: u64,
    quota_bytes: u64,
}

/// How long ended executions stay in the views, and what has been removed since the views were created.
#[derive(Serialize, JsonSchema)]
struct WireRetained {
    executions: Option<String>,
    executions_removed: u64,
    rows_removed: u64,
}

/// What needs a person's attention. Each count goes up to `counted_max`, which means that many or more.
#[derive(Serialize, JsonSchema)]
struct WireAttention {
    /// The number of executions that failed permanently within the last hour; steps of workflows are not
    /// counted.
    failed_last_hour: usize,
    /// The number of open dead letters.
    dead_letters_open: usize,
    /// The number of executions that may or may not have taken effect.
    indeterminate: usize,
    /// The number of open inquiries that people were reminded of, or that are older than a day.
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

impl From<RetentionStatus> for WireRetained {
    fn from(retained: RetentionStatus) -> Self {
        Self { executions: retained.age(), executions_removed: retained.removed.executions, rows_removed: retained.removed.rows }
    }
}

impl From<StorageUsage> for WireKept {
    fn from(kept: StorageUsage) -> Self {
        Self { bytes: kept.bytes, quota_bytes: kept.quota_bytes }
    }
}

/// The last background jobs since the node started; null if there was none, or the caller may not see it.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct WireJobs {
    pub(crate) log_verify: Option<WireJob>,
    pub(crate) views_rebuild: Option<WireJob>,
}

/// Counts over the whole log.
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
        (attention, jobs): (Attention, WireJobs),
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
            jobs,
        }
    }
}

/// The part of the status that anybody may see.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WirePublicStatus<'a> {
    pub(crate) name: &'static str,
    pub(crate) release: &'a str,
    pub(crate) api: &'static str,
    /// The ways to log in: `token`, `password`, `device` or `oidc/<issuer>`.
    pub(crate) logins: Vec<String>,
    /// Whether the request has a session that the node accepts, or a proxy or a certificate that vouches for its sender.
    pub(crate) logged_in: bool,
    /// What the operator switched on.
    pub(crate) features: BTreeSet<Feature>,
}

/// Confirms that the process is alive.
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

/// The readiness of the node.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireReadinessStatus {
    /// It can serve.
    Ready,
    /// It cannot serve now.
    NotReady,
}

/// A dependency of the node.
#[derive(Serialize, JsonSchema)]
struct WireDependency {
    name: &'static str,
    status: WireDependencyStatus,
    why: Option<String>,
}

/// The state of a dependency.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireDependencyStatus {
    /// It works.
    Up,
    /// It does not work.
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

/// The findings of `doctor`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireDoctor {
    verdict: WireFindingVerdict,
    findings: Vec<WireFinding>,
}

/// One check made by `doctor`.
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

/// The settings of the operator.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireSettings {
    items: Vec<WireSetting>,
}

/// A setting of the operator.
#[derive(Serialize, JsonSchema)]
struct WireSetting {
    /// Its path in `ensue.yaml`, such as `limits.silent_per_address`.
    name: String,
    /// Its value as it was written, with secrets masked. That of a default is a text, as the reference states it, or null.
    value: Value,
    source: WireSettingSource,
    /// The file with the line, the variable or the flag; null for a default.
    place: Option<String>,
}

/// What a setting was written in. A later one overrides an earlier one.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireSettingSource {
    /// Nothing: its value is the default.
    Default,
    /// `ensue.yaml`, or the file that `--config` names.
    File,
    /// An environment variable.
    Variable,
    /// A flag of `ensue serve`.
    Flag,
}

impl From<Vec<EffectiveSetting>> for WireSettings {
    fn from(settings: Vec<EffectiveSetting>) -> Self {
        let items = settings.into_iter().map(|EffectiveSetting { name, value, source, place }| {
            let source = match source {
                SettingSource::Default => WireSettingSource::Default,
                SettingSource::File => WireSettingSource::File,
                SettingSource::Variable => WireSettingSource::Variable,
                SettingSource::Flag => WireSettingSource::Flag,
            };
            WireSetting { name, value, source, place }
        });
        Self { items: items.collect() }
    }
}

/// The verdict of a check.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireFindingVerdict {
    /// There is nothing to do.
    Good,
    /// It works, but something is unsafe or will cause trouble later.
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

/// A background job.
#[wire(Serialize)]
pub(crate) struct WireJob {
    job: WireJobKind,
    status: WireJobStatus,
    began_at: Timestamp,
    ended_at: Option<Timestamp>,
    position: Position,
    why: Option<String>,
}

/// The kind of a job.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireJobKind {
    /// It verifies the log's hash chain.
    LogVerify,
    /// It rebuilds the views.
    ViewsRebuild,
    /// It replaces the master key.
    MasterKeyRotate,
}

/// The state of a job.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireJobStatus {
    /// It is running.
    Running,
    /// It ended successfully.
    Succeeded,
    /// It ended, and `why` contains the problem.
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
            JobKind::MasterKeyRotate => WireJobKind::MasterKeyRotate,
        };
        Self { job: name, status, began_at: job.began_at, ended_at, position: job.position, why }
    }
}
