//! The node itself: whether it can serve, what it is and does, and what is wrong with it.

use std::time::Duration;

use ensue_engine::ids::LogId;
use ensue_engine::record::{CatalogRevision, Epoch, Head};
use ensue_engine::time::{Timestamp, duration_text};
use ensue_views::retention::Removed;
use prometheus_client::registry::Registry;

use super::{Declined, Job, JobKind, OnBehalf};
use crate::worker_queues::WorkerQueue;

/// The node itself.
pub trait Node: Send + Sync {
    /// Says whether the log takes anything in from outside now; asked before a body is read. Quick.
    fn admission(&self) -> Result<(), Declined>;
    /// Says whether the node can serve, and how it stands with each thing it depends on. Quick.
    fn readiness(&self) -> Readiness;
    /// Says what the node is and does. Blocking.
    fn status(&self) -> Result<NodeStatus, Declined>;
    /// Registers the metrics of what is behind the API. Blocking, but short.
    fn register(&self, metrics: &mut Registry);
    /// Looks at the machine, the data directory and the packs for what is wrong or unsafe. Blocking.
    fn doctor(&self) -> Result<Vec<Finding>, Declined>;
    /// Begins a job in the background, or gives the one of that kind that is under way. Blocking, but short.
    fn begin_job(&self, kind: JobKind, by: &OnBehalf) -> Result<Job, Declined>;
    /// Tells of the queues in which executions wait for a worker, by name. Blocking, but short.
    fn worker_queues(&self) -> Result<Vec<WorkerQueue>, Declined>;
    /// Gives the newest job of a kind; none where there was none since the start. Quick.
    fn job(&self, kind: JobKind) -> Option<Job>;
}

/// Whether a node can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Says whether all it depends on is up, and it is not stopping.
    pub is_ready: bool,
    /// How it stands with each.
    pub dependencies: Vec<Dependency>,
}

/// A thing that the node depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name: `log`, `views`, `vault`, `disk`, `workers`.
    pub name: &'static str,
    /// How it stands with it.
    pub state: DependencyState,
}

/// How it stands with a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependencyState {
    /// It works.
    Up,
    /// It does not; the reason is for anybody to read, so it names no paths.
    Down {
        /// Why.
        why: String,
    },
}

/// What a node is and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The release it runs.
    pub release: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The log it writes to.
    pub log: LogId,
    /// Under which right.
    pub epoch: Epoch,
    /// The log's newest position and the chain's hash there.
    pub head: Head,
    /// The catalog's revision.
    pub catalog: CatalogRevision,
    /// How many attempts may run at once here, of all queues together.
    pub workers: u32,
    /// How many run.
    pub workers_busy: u32,
    /// How much of the disk under the data directory is free, in bytes; none where the machine does not say.
    pub disk_free_bytes: Option<u64>,
    /// How much is kept of what attempts print.
    pub outputs: Kept,
    /// How much is kept of the files that they give away.
    pub artifacts: Kept,
    /// How long what has ended stays in the views, and what was taken out of them.
    pub retention: Retained,
    /// How much memory the node's process holds, in bytes; none where the machine does not say.
    pub memory_bytes: Option<u64>,
    /// How much it may hold, as the operator set it, in bytes.
    pub memory_max_bytes: u64,
}

/// How much of something is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many bytes of the disk it takes.
    pub bytes: u64,
    /// How many it may take.
    pub quota_bytes: u64,
}

/// How long what has ended stays in the views, and what was taken out of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// How long executions stay; none means for ever.
    pub executions: Option<Duration>,
    /// What was taken out since the views were begun.
    pub removed: Removed,
}

impl Retained {
    /// Gives how long executions stay as people write it, in days where these are whole ones: `90d`.
    pub fn age(&self) -> Option<String> {
        const DAY_SECONDS: u64 = 24 * 60 * 60;
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.executions.map(|age| match age.as_secs() {
            seconds if age.subsec_nanos() == 0 && seconds.is_multiple_of(DAY_SECONDS) => format!("{}d", seconds / DAY_SECONDS),
            _ => duration_text(millis(age)),
        })
    }
}

/// One thing that `doctor` looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// What it is like.
    pub verdict: FindingVerdict,
    /// What was found, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What a thing is like that `doctor` looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingVerdict {
    /// As it should be.
    Good,
    /// It works, and there is something to know.
    Warning,
    /// It does not work, or is not safe.
    Bad,
}
