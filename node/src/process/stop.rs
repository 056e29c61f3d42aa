//! How a node goes down: in order, or because its log has failed.
//!
//! What each part does when it is asked to stop is its own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Node, NodeFailure};
use crate::sequencer::SequencerError;

/// How long attempts that run may go on while the node stops.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long requests under way may take to be answered when the log has failed.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    /// Leaves a node whose log has failed: whoever waits is told what is known, nothing is written to the log any more, and programs
    /// that outlive the node go on.
    pub async fn leave(self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        // A server that ended by itself needs no asking.
        let _ = self.serving.stop.send(());
        if tokio::time::timeout(LEAVE_PATIENCE, self.serving.ended).await.is_err() {
            tracing::warn!("requests were aborted because they did not end in time");
        }
        self.working.executor.stop(Duration::ZERO).await;
    }

    /// Stops: not ready at once, requests under way end, attempts get a while to end, what waits is written.
    pub async fn stop(self) -> Result<(), NodeFailure> {
        self.is_stopping.store(true, Ordering::Relaxed);
        drop(self.edges.watched_packs);
        // A server that ended by itself needs no asking.
        let _ = self.serving.stop.send(());
        match self.serving.ended.await {
            Ok(ended) if ended.connections_cut > 0 => {
                tracing::warn!(connections = ended.connections_cut, "connections were closed because their requests did not end in time");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the server panicked"),
        }
        let left = self.working.executor.stop(STOP_PATIENCE).await;
        if !left.left_running.is_empty() {
            tracing::info!(attempts = left.left_running.len(), "attempts continue under their supervisors; the next start adopts them");
        }
        if !left.ended.is_empty() {
            tracing::warn!(attempts = left.ended.len(), "attempts were ended with the node; the next start reports their outcome");
        }
        self.ticker.abort();
        let (ended, exporter) = tokio::task::block_in_place(move || {
            drop(self.housekeeper);
            self.sequencer.stop();
            let ended = self.leading.thread.join();
            self.following.views.follower.0.stop();
            if self.following.views.follower.1.join().is_err() {
                tracing::error!("the read models' follower panicked; they are rebuilt if they are incomplete");
            }
            if let (Ok(Ok(last)), Ok(mut writer)) = (&ended, self.leading.snapshots.join()) {
                writer.save(last);
            }
            self.leading.outside.flush();
            (ended, self.following.telemetry.take_in_the_rest())
        });
        if let Some(exporter) = exporter {
            exporter.stop().await;
        }
        match ended {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SequencerError::Log("the sequencer's thread panicked".to_owned()).into()),
        }
    }
}
