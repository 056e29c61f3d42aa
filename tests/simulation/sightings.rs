//! What the simulated machine observed of each program: when it ran, which node told it to stop, which node
//! found it and which continued with it.
//!
//! The oracle decides whether that was right.

use std::collections::BTreeMap;

/// The observations of the program of one attempt. Moments are microseconds since the world began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sighting {
    /// When it was started.
    pub(crate) started_at: u64,
    /// When it times out.
    pub(crate) deadline: u64,
    /// The node that first told it to stop, and when.
    pub(crate) told: Option<NodeIntervention>,
    /// The node that killed it while it ran, and when.
    pub(crate) killed: Option<NodeIntervention>,
    /// When it had ended completely, for whatever reason; `None` while its supervisor holds it and its own
    /// end decides.
    pub(crate) over_at: Option<u64>,
    /// The nodes that found it at their start.
    pub(crate) found: Vec<FoundProgram>,
    /// The nodes that listened to it, and since when.
    pub(crate) heard: BTreeMap<u32, u64>,
    /// The nodes that left it to the next, and when.
    pub(crate) left: BTreeMap<u32, u64>,
}

/// What a node did to a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeIntervention {
    /// The node.
    pub(crate) by: Finder,
    /// When.
    pub(crate) at: u64,
}

/// A program that a node found at its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundProgram {
    /// The node.
    pub(crate) finder: Finder,
    /// When.
    pub(crate) at: u64,
    /// The token with which it was started.
    pub(crate) token: u64,
    /// Whether it still ran.
    pub(crate) is_alive: bool,
}

/// A node that listens to programs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finder {
    /// Its number.
    pub(crate) node: u32,
    /// The epoch with which it writes.
    pub(crate) epoch: u64,
}
