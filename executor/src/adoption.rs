//! Adoption: at the start of a node, matches the attempts that the log still owes with the programs that an
//! earlier node left.
//!
//! This module finds out which attempts are lost and which continue. What a loss means is decided by the
//! core.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::Evidence;
use ensue_engine::ids::AttemptId;

use crate::begun_file::Previous;
use crate::lease::Lease;
use crate::programs::{AttemptRemains, LeftProgram};
use crate::report::Loss;
use crate::running_attempts::{RunningAttempt, Signal};
use crate::worker::{Begin, Executor, Worker};

impl Executor {
    /// Takes over what the log owes at the start of a node, before anything else is carried out. A program that an earlier node
    /// left is adopted where the log still waits for it under the same token, and killed otherwise. Every other attempt that was
    /// running is reported as lost, and the log decides what becomes of it. For an attempt of this worker, its supervisor may prove that
    /// the program was never started; otherwise the `begun` file is the evidence. An attempt of another worker may have begun.
    pub async fn take_over(&self, owed: impl IntoIterator<Item = Effect>, previous: &Previous) {
        let worker = &self.worker;
        let left = worker.means.ports.programs.find_left().await;
        let mut left: BTreeMap<AttemptId, AttemptRemains> = left.into_iter().map(|left| (left.attempt(), left)).collect();
        let owed: Vec<Effect> = owed.into_iter().collect();
        let stopped: BTreeSet<AttemptId> = owed.iter().filter_map(stops).collect();
        let own = worker.means.ports.begun.worker();
        for effect in owed {
            match effect {
                Effect::Dispatch(dispatch) => match left.remove(&dispatch.attempt) {
                    // The proof is about this worker's start of the attempt, and no other.
                    Some(AttemptRemains::NotBegun { token, .. }) if token == dispatch.token && *dispatch.worker == *own => {
                        worker.lose_of_earlier_node(*dispatch, Evidence::NotBegun);
                    }
                    Some(AttemptRemains::Program(left)) if left.token == dispatch.token => {
                        let signal = if stopped.contains(&dispatch.attempt) { Signal::Stop } else { Signal::GoOn };
                        worker.adopt(*dispatch, left, signal);
                    }
                    stale => {
                        if let Some(left) = stale {
                            worker.discard(left);
                        }
                        let evidence = previous.evidence(dispatch.attempt, &dispatch.worker);
                        worker.lose_of_earlier_node(*dispatch, evidence);
                    }
                },
                // An adopted program was notified above. If none was adopted, the reported loss says that the
                // attempt ended.
                Effect::Stop { .. } | Effect::Release { .. } | Effect::RunSensor(_) | Effect::StopSensor { .. } => {}
            }
        }
        for left in left.into_values() {
            worker.discard(left);
        }
    }
}

impl Worker {
    /// Continues a program that an earlier node left, under a lease that lasts a whole period from now. The
    /// signal is delivered before the program's end can be heard.
    fn adopt(self: &Arc<Self>, dispatch: Dispatch, left: LeftProgram, signal: Signal) {
        let lease = Lease::begin(self.means.ports.clock.now(), self.means.settings.lease);
        let running = RunningAttempt::new_begun(dispatch.execution, dispatch.attempt, dispatch.trace.clone(), lease);
        running.send_signal(signal);
        if let Some(running) = self.running.take_in(running) {
            tracing::info!(attempt = %dispatch.attempt, "an attempt that an earlier node began is adopted");
            self.runtime.spawn(Arc::clone(self).carry(dispatch, running, Begin::Adopted(left)));
        }
    }

    /// Reports that an attempt which an earlier node was given is lost.
    fn lose_of_earlier_node(self: &Arc<Self>, dispatch: Dispatch, evidence: Evidence) {
        let Dispatch { execution, attempt, trace, .. } = dispatch;
        let worker = Arc::clone(self);
        let loss = Loss { execution, attempt, evidence, error: None, trace };
        self.runtime.spawn(async move { worker.lose(loss).await });
    }

    /// Ends a program that the log no longer waits for, and forgets a proof that it has no use for.
    fn discard(&self, left: AttemptRemains) {
        let attempt = left.attempt();
        match left {
            AttemptRemains::Program(left) => {
                tracing::info!(%attempt, "a program that nobody waits for is ended");
                drop(left.program);
            }
            AttemptRemains::NotBegun { .. } => {}
        }
        self.means.ports.programs.forget(attempt);
    }
}

/// Returns the attempt that an effect stops.
fn stops(effect: &Effect) -> Option<AttemptId> {
    match effect {
        Effect::Stop { attempt, .. } => Some(*attempt),
        Effect::Dispatch(_) | Effect::Release { .. } | Effect::RunSensor(_) | Effect::StopSensor { .. } => None,
    }
}
