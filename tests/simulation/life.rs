//! Whether a node is alive: a node that dies in the middle of a step writes and answers nothing more, though the step's code runs on.

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

    /// Ends it as a node ends that was asked to stop, and has done so.
    pub(crate) fn end_in_order(&self) {
        self.is_in_order.store(true, Ordering::Relaxed);
        self.end();
    }

    /// Says whether it is over, and its node had not come to its end by itself.
    pub(crate) fn was_killed(&self) -> bool {
        self.is_over() && !self.is_in_order.load(Ordering::Relaxed)
    }

    /// Says whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Notes that something was asked of its sequencer.
    pub(crate) fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// Says whether something was asked of its sequencer since the last time.
    pub(crate) fn take_asked(&self) -> bool {
        self.is_asked.swap(false, Ordering::Relaxed)
    }
}
