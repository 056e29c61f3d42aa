//! The world's observations that are not in the log: when nodes could work, which requests they received,
//! when bugs happened, which batches were not stored.
//!
//! It judges nothing: the oracle compares it with the log.

use std::collections::{BTreeMap, BTreeSet};

use crate::timeline::Timeline;
use crate::traffic::RequestNumber;

/// The observations.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// When nodes could work.
    pub(crate) timeline: Timeline,
    /// The requests that nodes received, in order.
    pub(crate) taken: Vec<RequestArrival>,
    /// How many of them each node has not answered yet.
    unanswered: BTreeMap<u32, u64>,
    /// The nodes that aborted their start by themselves after their worker had begun.
    pub(crate) failed_starts: BTreeSet<u32>,
    /// How many simulated bugs happened at each moment.
    pub(crate) bugs: BTreeMap<u64, u64>,
    /// How many commands the core refused because of a bug at each moment.
    pub(crate) refused: BTreeMap<u64, u64>,
    /// The moments at which a batch was not stored, as far as its writer knows.
    pub(crate) unkept: BTreeSet<u64>,
    /// How many records of each kind were stored.
    pub(crate) kinds: BTreeMap<&'static str, u64>,
    /// How many times each reaction ended the process, by the position it is owed to and the number of the
    /// consequence.
    pub(crate) ends: BTreeMap<(u64, u64), u32>,
    /// The jumps of the wall clock: when, and by how many microseconds.
    pub(crate) steps: Vec<(u64, i64)>,
}

/// A request that a node received.
#[derive(Debug)]
pub(crate) struct RequestArrival {
    /// The request.
    pub(crate) request: RequestNumber,
    /// The node.
    pub(crate) node: u32,
    /// When it arrived.
    pub(crate) at: u64,
    /// How long the client itself makes it take, in microseconds.
    pub(crate) own_micros: u64,
    /// When the node answered or released it.
    pub(crate) over_at: Option<u64>,
}

impl Witness {
    /// Notes that a node received a request. Returns its index for [`let_go`](Self::let_go).
    pub(crate) fn take(&mut self, request: RequestNumber, node: u32, now: u64) -> usize {
        *self.unanswered.entry(node).or_default() += 1;
        self.taken.push(RequestArrival { request, node, at: now, own_micros: 0, over_at: None });
        self.taken.len() - 1
    }

    /// Notes how long the client of a request itself makes it take.
    pub(crate) fn note_own(&mut self, place: usize, micros: u64) {
        if let Some(taken) = self.taken.get_mut(place) {
            taken.own_micros = micros;
        }
    }

    /// Notes that the node answered or released the request.
    pub(crate) fn let_go(&mut self, place: usize, now: u64) {
        let Some(taken) = self.taken.get_mut(place).filter(|taken| taken.over_at.is_none()) else { return };
        taken.over_at = Some(now);
        if let Some(unanswered) = self.unanswered.get_mut(&taken.node) {
            *unanswered -= 1;
        }
    }

    /// Returns how many requests a node has not answered.
    pub(crate) fn count_unanswered(&self, node: u32) -> u64 {
        self.unanswered.get(&node).copied().unwrap_or(0)
    }

    /// Notes that a node aborted its start by itself.
    pub(crate) fn note_failed_start(&mut self, node: u32) {
        self.failed_starts.insert(node);
    }

    /// Notes that a simulated bug happened.
    pub(crate) fn note_bug(&mut self, now: u64) {
        *self.bugs.entry(now).or_default() += 1;
    }

    /// Notes that a command was refused because of a bug.
    pub(crate) fn note_refused(&mut self, now: u64) {
        *self.refused.entry(now).or_default() += 1;
    }

    /// Returns true if a command was refused because of a bug while a node had a request.
    pub(crate) fn has_refused(&self, request: RequestNumber) -> bool {
        let mut of_it = self.taken.iter().filter(|taken| taken.request == request);
        of_it.any(|taken| self.refused.range(taken.at..=taken.over_at.unwrap_or(u64::MAX)).next().is_some())
    }

    /// Notes the kinds of a batch that is stored. Returns how many records of its rarest kind were stored
    /// before.
    pub(crate) fn note_kinds(&mut self, kinds: impl Iterator<Item = &'static str>) -> u64 {
        let mut rarest = u64::MAX;
        for kind in kinds {
            let kept = self.kinds.entry(kind).or_default();
            rarest = rarest.min(*kept);
            *kept += 1;
        }
        rarest
    }

    /// Returns how many records of a kind were stored.
    pub(crate) fn count_stored(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or(0)
    }

    /// Notes that a reaction ended the process.
    pub(crate) fn note_end(&mut self, reaction: (u64, u64)) {
        *self.ends.entry(reaction).or_default() += 1;
    }

    /// Returns how many times a reaction ended the process.
    pub(crate) fn ends_of(&self, reaction: &(u64, u64)) -> u32 {
        self.ends.get(reaction).copied().unwrap_or(0)
    }

    /// Notes that a batch was not stored.
    pub(crate) fn note_unkept(&mut self, now: u64) {
        self.unkept.insert(now);
    }
}
