//! Whether a node is alive. A node that dies in the middle of a step writes and answers nothing afterwards,
//! although the step's code keeps running.

use std::sync::atomic::{AtomicBool, Ordering};

/// The life of one process of a node.
#[derive(Debug, Default)]
pub(crate) struct Life {
    is_over: AtomicBool,
    is_in_order: AtomicBool,
    is_asked: AtomicBool,
}

impl Life {
    /// Ends it.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Ends it in the way of a node that was asked to stop and has stopped.
    pub(crate) fn end_in_order(&self) {
        self.is_in_order.store(true, Ordering::Relaxed);
        self.end();
    }

    /// Returns true if it is over and its node did not end by itself.
    pub(crate) fn was_killed(&self) -> bool {
        self.is_over() && !self.is_in_order.load(Ordering::Relaxed)
    }

    /// Returns true if it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Notes that its sequencer was asked for something.
    pub(crate) fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// Returns true if its sequencer was asked for something since the last call.
    pub(crate) fn take_asked(&self) -> bool {
        self.is_asked.swap(false, Ordering::Relaxed)
    }
}
