//! A node's stop, in the order of production: open requests end, then the worker's attempts while the grace
//! period lasts, then the commands that wait for the sequencer are written.
//!
//! A stop takes time: the world lets each part take its steps and may kill the node between any two of them.

use std::task::Poll;

use ensue_executor::UnfinishedAttempts;
use ensue_node::parts::Sequencer;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::{Node, lock};
use crate::sometimes;

/// The progress of a stop.
pub(super) enum Stopping {
    /// No stop was requested.
    Unasked,
    /// New connections are no longer accepted; earlier requests are answered.
    Requests,
    /// The worker no longer takes attempts; those that it has may end.
    Attempts(oneshot::Receiver<UnfinishedAttempts>),
    /// The sequencer answers waiting commands and ends.
    Sequencer,
}

impl Node {
    /// Begins a stop: new connections are no longer accepted.
    pub(crate) fn begin_stop(&mut self) {
        self.api.stop();
        self.stopping = Stopping::Requests;
    }

    /// Returns true if connections are accepted.
    pub(crate) fn accepts(&self) -> bool {
        match self.stopping {
            Stopping::Unasked => true,
            Stopping::Requests | Stopping::Attempts(_) | Stopping::Sequencer => false,
        }
    }

    /// Begins the next part of a stop once the previous one is over. Fails if the worker panicked.
    pub(crate) fn go_on_with_stop(&mut self) -> Result<Poll<()>, String> {
        match &mut self.stopping {
            Stopping::Unasked | Stopping::Sequencer => return Ok(Poll::Pending),
            Stopping::Requests if self.ground.witness().count_unanswered(self.number) > 0 => return Ok(Poll::Pending),
            Stopping::Requests => self.stop_the_worker(),
            Stopping::Attempts(told) => match told.try_recv() {
                Ok(stopped) => self.stop_the_sequencer(&stopped),
                Err(TryRecvError::Empty) => return Ok(Poll::Pending),
                Err(TryRecvError::Closed) => return Err("the worker panicked while it stopped".to_owned()),
            },
        }
        Ok(Poll::Ready(()))
    }

    fn stop_the_worker(&mut self) {
        let (tell, told) = oneshot::channel();
        let (executor, sensors, patience) = (self.executor.clone(), self.sensors.clone(), self.stop_patience);
        sometimes!(executor.running() > 0, "a node stopped while attempts ran");
        self.ground.trace("worker", format!("stops, and {} attempts run", executor.running()));
        self.runtime.spawn(async move {
            if let Some(sensors) = sensors {
                sensors.stop().await;
            }
            // If nobody receives it, the node was killed in the meantime.
            let _ = tell.send(executor.stop(patience).await);
        });
        self.stopping = Stopping::Attempts(told);
    }

    fn stop_the_sequencer(&mut self, stopped: &UnfinishedAttempts) {
        let UnfinishedAttempts { left_running, ended } = stopped;
        sometimes!(!left_running.is_empty(), "a stop left programs to the next node");
        sometimes!(!ended.is_empty(), "a stop ended what outlasted its patience");
        self.ground.trace("worker", format!("has stopped: {} attempts go on, {} were ended", left_running.len(), ended.len()));
        self.handle.handle.stop();
        self.life.ask();
        self.stopping = Stopping::Sequencer;
    }

    /// Returns true if only the sequencer is left.
    pub(super) fn has_only_its_sequencer(&self) -> bool {
        match self.stopping {
            Stopping::Sequencer => true,
            Stopping::Unasked | Stopping::Requests | Stopping::Attempts(_) => false,
        }
    }

    /// Finishes a stop once the sequencer has ended: the rest is written.
    pub(crate) fn end_stop(mut self) {
        self.snapshots.save_next();
        if let Some(last) = lock(&self.pump.sequencer).as_ref().map(Sequencer::snapshot) {
            self.snapshots.save(&last);
        }
        self.outside.flush();
    }
}
