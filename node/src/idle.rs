//! The caches of an idle node: they are released, so that a node at rest holds little memory again after a burst.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::bodies::BodyCache;
use crate::catalogs::NodeCatalogs;
use crate::followers::FollowerHandle;
use crate::log_access::LogReaders;
use crate::sequencer::SequencerHandle;

/// How long a node has been without a commit when it counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(30);
/// How long after that the caches are released again, because requests that only read fill some of them.
const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// The caches of a node. What was released comes back as it is used, so answers are the same.
pub(crate) struct Caches {
    /// The sequencer, which owns the log's writer.
    pub(crate) sequencer: SequencerHandle,
    /// The followers of the log.
    pub(crate) followers: Vec<FollowerHandle>,
    /// The bodies of recent commits.
    pub(crate) bodies: Arc<BodyCache>,
    /// The readers of the log that requests use.
    pub(crate) readers: Arc<LogReaders>,
    /// The catalogs, for their reader of manifests.
    pub(crate) catalogs: Arc<NodeCatalogs>,
}

impl Caches {
    /// Releases the caches, or asks their owners to do so.
    fn release(&self) {
        self.bodies.clear();
        self.readers.close_unused();
        self.catalogs.release_caches();
        self.sequencer.release_caches();
        self.followers.iter().for_each(FollowerHandle::release_caches);
    }
}

/// Releases the caches of a node whenever it is idle.
pub(crate) struct IdleWatch {
    caches: Caches,
    idle: Idle,
}

impl IdleWatch {
    /// Watches a node from now on.
    pub(crate) fn over(caches: Caches) -> Self {
        Self { caches, idle: Idle::since(Instant::now()) }
    }

    /// Releases the caches if it is time; called about once a second.
    pub(crate) fn look(&mut self) {
        let commits = self.caches.sequencer.gauges().commits.load(Ordering::Relaxed);
        if self.idle.is_due(Instant::now(), commits) {
            tracing::debug!("the node is idle and releases its caches");
            self.caches.release();
        }
    }
}

/// Finds out when caches are to be released.
struct Idle {
    /// The number of commits at the last look.
    commits: u64,
    due: Instant,
}

impl Idle {
    fn since(now: Instant) -> Self {
        Self { commits: 0, due: now + IDLE_AFTER }
    }

    /// Returns true if there was no commit for a while, and then from time to time.
    fn is_due(&mut self, now: Instant, commits: u64) -> bool {
        if commits != self.commits {
            *self = Self { commits, due: now + IDLE_AFTER };
        }
        let is_due = now >= self.due;
        if is_due {
            self.due = now + AGAIN_AFTER;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second for so many seconds, with the number of commits at each, and returns the seconds at which caches are released.
    fn release_times(seconds: u64, commits_at: impl Fn(u64) -> u64) -> Vec<u64> {
        let begin = Instant::now();
        let mut idle = Idle::since(begin);
        (0..seconds).filter(|second| idle.is_due(begin + Duration::from_secs(*second), commits_at(*second))).collect()
    }

    #[test]
    fn idle_node_releases_caches_after_30_seconds_and_every_five_minutes() {
        assert_eq!(release_times(700, |_| 0), [30, 330, 630]);
        assert_eq!(release_times(100, |second| u64::from(second >= 50)), [30, 80]);
    }

    #[test]
    fn caches_of_a_node_that_commits_are_not_released() {
        assert_eq!(release_times(500, |second| second / 30), [] as [u64; 0]);
    }
}
