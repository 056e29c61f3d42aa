//! How a node stops: in an orderly way, or because its log has failed.
//!
//! How each part stops is up to that part.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Node, NodeFailure};
use crate::sequencer::SequencerError;

/// How long running attempts may continue while the node stops.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long pending requests may take to be answered after the log has failed.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    /// Ends a node whose log has failed: waiting callers get an answer with the known outcome, nothing more is
    /// written to the log, and programs that outlive the node continue. Afterwards this process can start a node again.
    pub async fn leave(self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        drop(self.edges.watched_packs);
        // A server that ended by itself does not need the signal.
        let _ = self.serving.stop.send(());
        let mut ended = self.serving.ended;
        if tokio::time::timeout(LEAVE_PATIENCE, &mut ended).await.is_err() {
            tracing::warn!("requests were aborted because they did not end in time");
            ended.abort();
            let _ = ended.await;
        }
        self.working.sensors.stop().await;
        self.working.executor.stop(Duration::ZERO).await;
        for task in [&self.ticker, &self.refresher, &self.renewer] {
            task.abort();
        }
        let exporter = tokio::task::block_in_place(move || {
            drop(self.housekeeper);
            self.sequencer.stop();
            // Why it failed is known already.
            let _ = self.leading.thread.join();
            let _ = self.leading.snapshots.join();
            self.following.views.follower.0.stop();
            if self.following.views.follower.1.join().is_err() {
                tracing::error!("the read models' follower panicked; they are rebuilt if they are incomplete");
            }
            self.leading.outside.flush();
            self.deliveries.write();
            self.following.telemetry.take_in_the_rest()
        });
        if let Some(exporter) = exporter {
            exporter.stop().await;
        }
    }

    /// Stops: reports not ready at once, lets pending requests end, gives attempts some time to end, and writes the
    /// commands that wait.
    pub async fn stop(self) -> Result<(), NodeFailure> {
        self.is_stopping.store(true, Ordering::Relaxed);
        drop(self.edges.watched_packs);
        // A server that ended by itself does not need the signal.
        let _ = self.serving.stop.send(());
        match self.serving.ended.await {
            Ok(ended) if ended.connections_cut > 0 => {
                tracing::warn!(connections = ended.connections_cut, "connections were closed because their requests did not end in time");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the server panicked"),
        }
        self.working.sensors.stop().await;
        let left = self.working.executor.stop(STOP_PATIENCE).await;
        if !left.left_running.is_empty() {
            tracing::info!(attempts = left.left_running.len(), "attempts continue under their supervisors; the next start adopts them");
        }
        if !left.ended.is_empty() {
            tracing::warn!(attempts = left.ended.len(), "attempts were ended with the node; the next start reports their outcome");
        }
        self.ticker.abort();
        self.edges.refusals.finish();
        self.edges.keys.ring.record_last_uses(&self.sequencer);
        self.refresher.abort();
        self.renewer.abort();
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
            self.deliveries.write();
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
