//! What is to go wrong with a disk: the n-th operation, once or for ever.
//!
//! A full disk is not planned here: it follows from how much space a disk has.

use crate::trace::Kind;

/// An operation that is to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which one: the n-th of its kinds from now on, counted from 1.
    pub nth: u64,
    /// The kinds that are counted; none means any.
    pub of: Option<Kind>,
    /// How it fails.
    pub failure: Failure,
    /// What becomes of those after it.
    pub lasting: Lasting,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// With an I/O error. A sync may have written some of it, and from then on all of it counts as clean.
    Io,
    /// A read or write does a part and then fails with an I/O error; all other operations fail whole.
    Part,
}

/// Whether a fault passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// The operations after it are done.
    Once,
    /// Every one of its kinds after it fails too.
    ForEver,
}

/// The faults that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Plan(Vec<Fault>);

impl Plan {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Says how the next operation of a kind fails, where it does.
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
