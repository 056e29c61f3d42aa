//! The node itself: whether it can serve, its status, its jobs, and its problems.

use std::time::Duration;

use ensue_engine::ids::LogId;
use ensue_engine::record::{CatalogRevision, Epoch, Head};
use ensue_engine::time::{Timestamp, duration_text};
use ensue_views::view_retention::RemovalCounts;
use prometheus_client::registry::Registry;
use serde_json::Value;

use super::{Job, JobKind, OnBehalf, PortError};
use crate::worker_queues::WorkerQueue;

/// The node itself.
pub trait Node: Send + Sync {
    /// Reports whether the log accepts input from outside now; called before a body is read. Quick.
    fn admission(&self) -> Result<(), PortError>;
    /// Returns whether the node can serve, and the state of each of its dependencies. Quick.
    fn readiness(&self) -> Readiness;
    /// Returns the status of the node. Blocking.
    fn status(&self) -> Result<NodeStatus, PortError>;
    /// Registers the metrics of the components behind the API. Blocking, but short.
    fn register(&self, metrics: &mut Registry);
    /// Checks the machine, the data directory and the packs for anything wrong or unsafe. Blocking.
    fn doctor(&self) -> Result<Vec<Finding>, PortError>;
    /// Returns the operator's settings, in the order of the reference. Quick.
    fn settings(&self) -> Vec<EffectiveSetting>;
    /// Starts a background job, or returns the job of that kind that is already running. Blocking, but short.
    fn begin_job(&self, kind: JobKind, by: &OnBehalf) -> Result<Job, PortError>;
    /// Returns the queues in which executions wait for a worker, by name. Blocking, but short.
    fn worker_queues(&self) -> Result<Vec<WorkerQueue>, PortError>;
    /// Returns the newest job of a kind; none if there has been none since the start. Quick.
    fn job(&self, kind: JobKind) -> Option<Job>;
}

/// Whether a node can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// True if all of its dependencies are up and it is not stopping.
    pub is_ready: bool,
    /// The state of each dependency.
    pub dependencies: Vec<Dependency>,
}

/// A dependency of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name: `log`, `views`, `vault`, `disk`, `workers`.
    pub name: &'static str,
    /// Its state.
    pub state: DependencyState,
}

/// The state of a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependencyState {
    /// It works.
    Up,
    /// It does not work. Anybody may read the reason, so the reason names no paths.
    Down {
        /// The reason.
        why: String,
    },
}

/// The status of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The release that it runs.
    pub release: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The log that it writes to.
    pub log: LogId,
    /// The epoch in which it writes.
    pub epoch: Epoch,
    /// The log's newest position and the chain's hash there.
    pub head: Head,
    /// The catalog's revision.
    pub catalog: CatalogRevision,
    /// How many attempts may run at once on this node, over all queues.
    pub workers: u32,
    /// How many attempts are running.
    pub workers_busy: u32,
    /// The free disk space under the data directory, in bytes; none if the machine does not report it.
    pub disk_free_bytes: Option<u64>,
    /// How much of the attempts' printed output is stored.
    pub outputs: StorageUsage,
    /// How much of the attempts' files is stored.
    pub artifacts: StorageUsage,
    /// How long ended executions stay in the views, and what has been removed from them.
    pub retention: RetentionStatus,
    /// The memory held by the node's process, in bytes; none if the machine does not report it.
    pub memory_bytes: Option<u64>,
    /// The memory that it may hold, as configured by the operator, in bytes.
    pub memory_max_bytes: u64,
}

/// How much of something is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageUsage {
    /// The disk space that it takes, in bytes.
    pub bytes: u64,
    /// The disk space that it may take, in bytes.
    pub quota_bytes: u64,
}

/// How long ended executions stay in the views, and what has been removed from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionStatus {
    /// How long executions stay; none means permanently.
    pub executions: Option<Duration>,
    /// What has been removed since the views were created.
    pub removed: RemovalCounts,
}

impl RetentionStatus {
    /// Returns how long executions stay as people write it, in days if they are whole days: `90d`.
    pub fn age(&self) -> Option<String> {
        const DAY_SECONDS: u64 = 24 * 60 * 60;
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.executions.map(|age| match age.as_secs() {
            seconds if age.subsec_nanos() == 0 && seconds.is_multiple_of(DAY_SECONDS) => format!("{}d", seconds / DAY_SECONDS),
            _ => duration_text(millis(age)),
        })
    }
}

/// A setting of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// Its path in `ensue.yaml`, such as `limits.silent_per_address`.
    pub name: String,
    /// Its value as it was written, with secrets masked. That of a default is as the reference states it, or null.
    pub value: Value,
    /// What it was written in.
    pub source: SettingSource,
    /// The file with the line, the variable or the flag; `None` for a default.
    pub place: Option<String>,
}

/// What a setting was written in. A later one overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// Nothing: its value is the default.
    Default,
    /// The settings file.
    File,
    /// An environment variable.
    Variable,
    /// A flag of the command line.
    Flag,
}

/// One check made by `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check.
    pub check: String,
    /// Its verdict.
    pub verdict: FindingVerdict,
    /// The finding, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The verdict of a check made by `doctor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingVerdict {
    /// As it should be.
    Good,
    /// It works, but there is something that you should know.
    Warning,
    /// It does not work, or is not safe.
    Bad,
}
