//! A node's stop, in the order of the one at work: requests under way end, then the worker's attempts while the patience lasts, and then
//! what waits for the sequencer is written.
//!
//! It takes its time: the world lets each part take its steps, and may kill the node between any two of them.

use std::task::Poll;

use ensue_executor::Stopped;
use ensue_node::parts::Sequencer;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::{Node, lock};
use crate::sometimes;

/// How far a stop has come.
pub(super) enum Stopping {
    /// Nobody asked for it.
    Unasked,
    /// No connection is accepted any more; requests that came before are answered.
    Requests,
    /// The worker takes no attempt any more; those that it has may end.
    Attempts(oneshot::Receiver<Stopped>),
    /// The sequencer answers what waits, and ends.
    Sequencer,
}

impl Node {
    /// Begins a stop: no connection is accepted any more.
    pub(crate) fn begin_stop(&mut self) {
        self.api.stop();
        self.stopping = Stopping::Requests;
    }

    /// Says whether connections are accepted.
    pub(crate) fn accepts(&self) -> bool {
        match self.stopping {
            Stopping::Unasked => true,
            Stopping::Requests | Stopping::Attempts(_) | Stopping::Sequencer => false,
        }
    }

    /// Begins the next part of a stop, ready where the one before is over. Fails where the worker panicked.
    pub(crate) fn go_on_with_stop(&mut self) -> Result<Poll<()>, String> {
        match &mut self.stopping {
            Stopping::Unasked | Stopping::Sequencer => return Ok(Poll::Pending),
            Stopping::Requests if self.ground.witness().unanswered(self.number) > 0 => return Ok(Poll::Pending),
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
        let (executor, patience) = (self.executor.clone(), self.stop_patience);
        sometimes!(executor.running() > 0, "a node stopped while attempts ran");
        self.ground.tell("worker", format!("stops, and {} attempts run", executor.running()));
        self.runtime.spawn(async move {
            // Where nobody hears it, the node was killed meanwhile.
            let _ = tell.send(executor.stop(patience).await);
        });
        self.stopping = Stopping::Attempts(told);
    }

    fn stop_the_sequencer(&mut self, stopped: &Stopped) {
        let Stopped { left_running, ended } = stopped;
        sometimes!(!left_running.is_empty(), "a stop left programs to the next node");
        sometimes!(!ended.is_empty(), "a stop ended what outlasted its patience");
        self.ground.tell("worker", format!("has stopped: {} attempts go on, {} were ended", left_running.len(), ended.len()));
        self.handle.handle.stop();
        self.life.ask();
        self.stopping = Stopping::Sequencer;
    }

    /// Says whether all that is left to do is the sequencer's.
    pub(super) fn has_only_its_sequencer(&self) -> bool {
        match self.stopping {
            Stopping::Sequencer => true,
            Stopping::Unasked | Stopping::Requests | Stopping::Attempts(_) => false,
        }
    }

    /// Ends a stop, once the sequencer has ended: what is left is written.
    pub(crate) fn end_stop(mut self) {
        self.snapshots.save_next();
        if let Some(last) = lock(&self.pump.sequencer).as_ref().map(Sequencer::snapshot) {
            self.snapshots.save(&last);
        }
        self.outside.flush();
    }
}
