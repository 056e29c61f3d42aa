//! Planned faults of a disk: the n-th operation fails, once or permanently.
//!
//! A full disk is not planned here: it follows from the disk's space limit.

use crate::trace::Kind;

/// An operation that must fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which operation: the n-th of these kinds from now on, counted from 1.
    pub nth: u64,
    /// The kinds that are counted; `None` means any.
    pub of: Option<Kind>,
    /// How it fails.
    pub failure: Failure,
    /// Whether later operations fail too.
    pub lasting: Lasting,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// With an I/O error. A failed sync may have written some of the data, and from then on all of it counts
    /// as clean.
    Io,
    /// A read or write does a part and then fails with an I/O error; all other operations fail completely.
    Part,
}

/// Whether a fault is temporary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Later operations succeed.
    Once,
    /// Every later operation of these kinds fails too.
    ForEver,
}

/// The pending faults.
#[derive(Debug, Default)]
pub(crate) struct Plan(Vec<Fault>);

impl Plan {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns how the next operation of a kind fails, if it does.
    pub(crate) fn next(&mut self, kind: Kind) -> Option<Failure> {
        let mut failure = None;
        self.0.retain_mut(|fault| {
            if fault.of.is_some_and(|of| of != kind) {
                return true;
            }
            fault.nth = fault.nth.saturating_sub(1);
            if fault.nth > 0 {
                return true;
            }
            failure = failure.or(Some(fault.failure));
            fault.lasting == Lasting::ForEver
        });
        failure
    }
}
