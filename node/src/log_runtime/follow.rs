//! The followers of a log: the read models and the telemetry that counts records.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ensue_api::QueueName;
use ensue_engine::record::Position;
use ensue_views::ViewReader;
use tokio::sync::watch;

use super::RuntimeContext;
use super::open::OpenedDirectory;
use super::stores::Stores;
use super::telemetry::RunningTelemetry;
use crate::backend::Look;
use crate::config::Config;
use crate::fold_guard::{FoldGuard, Patience};
use crate::followers::{self, FollowerHandle, FollowerHealth, Waiting};
use crate::jobs::{Jobs, LiveViews};
use crate::start_error::{StartError, machine};
use crate::views::ViewFollower;
use crate::whole_fold::Rebuilt;

/// How long after the start the check of the read models begins: the start itself has the processor first.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// The lower scheduling priority of the thread that checks the read models, compared with other threads.
#[cfg(target_os = "linux")]
const LOOKING_NICENESS: i32 = 19;

/// The running followers.
pub(crate) struct Following {
    /// The part that counts records and sends traces.
    pub(crate) telemetry: RunningTelemetry,
    /// The read models.
    pub(crate) views: FollowedViews,
    /// The background jobs.
    pub(crate) jobs: Arc<Jobs>,
}

/// The read models and their follower.
pub(crate) struct FollowedViews {
    /// The handle that notifies their follower of batches, and its thread.
    pub(crate) follower: (FollowerHandle, JoinHandle<ViewFollower>),
    /// The reader of the read models.
    pub(crate) reader: Arc<dyn ViewReader>,
    /// The position that they have reached.
    pub(crate) at: watch::Receiver<Position>,
    /// How many records they skipped.
    pub(crate) passed_over: Arc<AtomicU64>,
    /// How many executions were removed from them.
    pub(crate) removed_executions: Arc<AtomicU64>,
    /// The health of their follower.
    pub(crate) health: Arc<FollowerHealth>,
    /// Allows their check to begin. Without it, a check that has not begun never does.
    _look: SyncSender<()>,
}

impl Following {
    /// Starts the followers, each directly after its own position.
    pub(crate) fn start(
        config: &Config,
        opened: &mut OpenedDirectory,
        stores: &Stores,
        around: &RuntimeContext,
    ) -> Result<Self, StartError> {
        let telemetry = RunningTelemetry::start(config, opened, stores, around)?;
        let (views, jobs) = views(config, opened, stores, around)?;
        Ok(Self { telemetry, views, jobs })
    }
}

fn views(
    config: &Config,
    opened: &mut OpenedDirectory,
    stores: &Stores,
    around: &RuntimeContext,
) -> Result<(FollowedViews, Arc<Jobs>), StartError> {
    let rebuilt = Rebuilt::default();
    let store = opened.views.take().map_or_else(|| opened.backend.views(stores.log), Ok)?;
    let reader = store.reader();
    let (reached, at) = watch::channel(Position(0));
    let guard = FoldGuard::open(&opened.data.views_crash(), store.position())
        .with_watch(Patience::MINUTE)
        .map_err(|why| machine("watching the follower of the views", &why))?;
    let (backend, log) = (opened.backend.clone(), stores.log);
    let live = LiveViews {
        beside: Box::new(move || backend.views_beside(log)),
        rebuilt: rebuilt.clone(),
        left_out: guard.left_out(),
        retention: config.retention,
    };
    let jobs = Jobs::new(stores.readers.clone(), around.clock.clone(), live);
    let look = look_through(store.look(), LOOK_AFTER).map_err(|why| machine("checking the views", &why))?;
    let follower = ViewFollower::new(store, reached, rebuilt, stores.readers.clone())
        .mended_by(jobs.clone())
        .under(Box::new(guard))
        .keeping(config.retention)
        .with_changes(stores.changes.clone());
    let (passed_over, removed_executions) = (follower.passed_over(), follower.removed_executions());
    let health = Arc::new(FollowerHealth::default());
    let (batches, bytes) = (QueueName::ViewBatches, QueueName::ViewBatchBytes);
    let waiting = Waiting { batches: around.queues.of(batches).clone(), bytes: around.queues.of(bytes).clone() };
    let follower = followers::start("views", follower, opened.backend.reader(log)?, (waiting, health.clone()))
        .map_err(|why| machine("starting the follower of the views", &why))?;
    Ok((FollowedViews { follower, reader, at, passed_over, removed_executions, health, _look: look }, jobs))
}

/// Checks the read models in the background after this time, if what it returns is still there; their follower rebuilds
/// the ones that are damaged.
fn look_through(look: Look, after: Duration) -> std::io::Result<SyncSender<()>> {
    let (wanted, is_wanted) = sync_channel(1);
    let looks = move || {
        if is_wanted.recv_timeout(after) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        // With a million rows the check takes a while, and concurrent callers take precedence. On other systems the
        // priority would apply to the whole process.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, LOOKING_NICENESS);
        if let Err(error) = look() {
            tracing::warn!(%error, "the read models are not what was written");
        }
    };
    std::thread::Builder::new().name("views-look".into()).spawn(looks)?;
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn read_models_are_checked_some_time_after_the_start() {
        let (tell, told) = sync_channel(1);
        let begin = Instant::now();
        let look = move || {
            tell.send(begin.elapsed()).unwrap();
            Ok(())
        };
        let wanted = look_through(Box::new(look), Duration::from_millis(50)).unwrap();
        assert!(told.recv().unwrap() >= Duration::from_millis(50));
        drop(wanted);
    }

    #[test]
    fn stopped_node_does_not_check_its_read_models() {
        let (tell, told) = sync_channel::<()>(1);
        let look = move || {
            tell.send(()).unwrap();
            Ok(())
        };
        let wanted = look_through(Box::new(look), Duration::from_secs(3_600)).unwrap();
        drop(wanted);
        assert!(told.recv().is_err(), "it has ended without a check");
    }
}
