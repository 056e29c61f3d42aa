//! What the world itself saw and no log says: when nodes could work, which requests came to them, where bugs struck, which batches were
//! not kept.
//!
//! It judges nothing: the oracle holds it against the log.

use std::collections::{BTreeMap, BTreeSet};

use crate::timeline::Timeline;
use crate::traffic::RequestNumber;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// When nodes could work.
    pub(crate) timeline: Timeline,
    /// The requests that came to a node, in their order.
    pub(crate) taken: Vec<Taken>,
    /// How many of them each node has not answered yet.
    unanswered: BTreeMap<u32, u64>,
    /// The nodes that gave their start up by themselves once their worker had begun.
    pub(crate) failed_starts: BTreeSet<u32>,
    /// How often a simulated bug struck, by the moment.
    pub(crate) bugs: BTreeMap<u64, u64>,
    /// How often the core refused a command because of a bug, by the moment.
    pub(crate) refused: BTreeMap<u64, u64>,
    /// The moments at which a batch was not kept, as far as its writer knows.
    pub(crate) unkept: BTreeSet<u64>,
    /// How many records of each kind were kept.
    pub(crate) kinds: BTreeMap<&'static str, u64>,
    /// How often each reaction ended the process: by what it is owed to, and which of its consequences it is.
    pub(crate) ends: BTreeMap<(u64, u64), u32>,
    /// The jumps of the wall clock: when, and by how many microseconds.
    pub(crate) steps: Vec<(u64, i64)>,
}

/// A request that came to a node.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The request.
    pub(crate) request: RequestNumber,
    /// The node.
    pub(crate) node: u32,
    /// When it came.
    pub(crate) at: u64,
    /// How long its client itself has it take, in microseconds.
    pub(crate) own_micros: u64,
    /// When the node answered, or let go of it.
    pub(crate) over_at: Option<u64>,
}

impl Witness {
    /// Notes that a request came to a node; gives its place for [`let_go`](Self::let_go).
    pub(crate) fn take(&mut self, request: RequestNumber, node: u32, now: u64) -> usize {
        *self.unanswered.entry(node).or_default() += 1;
        self.taken.push(Taken { request, node, at: now, own_micros: 0, over_at: None });
        self.taken.len() - 1
    }

    /// Notes how long the client of a request itself has it take.
    pub(crate) fn note_own(&mut self, place: usize, micros: u64) {
        if let Some(taken) = self.taken.get_mut(place) {
            taken.own_micros = micros;
        }
    }

    /// Notes that the node answered, or let go of the request.
    pub(crate) fn let_go(&mut self, place: usize, now: u64) {
        let Some(taken) = self.taken.get_mut(place).filter(|taken| taken.over_at.is_none()) else { return };
        taken.over_at = Some(now);
        if let Some(unanswered) = self.unanswered.get_mut(&taken.node) {
            *unanswered -= 1;
        }
    }

    /// Gives how many requests a node has and has not answered.
    pub(crate) fn unanswered(&self, node: u32) -> u64 {
        self.unanswered.get(&node).copied().unwrap_or(0)
    }

    /// Notes that a node gave its start up by itself.
    pub(crate) fn note_failed_start(&mut self, node: u32) {
        self.failed_starts.insert(node);
    }

    /// Notes that a simulated bug struck.
    pub(crate) fn note_bug(&mut self, now: u64) {
        *self.bugs.entry(now).or_default() += 1;
    }

    /// Notes that a command was refused because of a bug.
    pub(crate) fn note_refused(&mut self, now: u64) {
        *self.refused.entry(now).or_default() += 1;
    }

    /// Says whether a command was refused because of a bug while a node had a request.
    pub(crate) fn has_refused(&self, request: RequestNumber) -> bool {
        let mut of_it = self.taken.iter().filter(|taken| taken.request == request);
        of_it.any(|taken| self.refused.range(taken.at..=taken.over_at.unwrap_or(u64::MAX)).next().is_some())
    }

    /// Notes the kinds of a batch that is kept; gives how many of its rarest were kept before it.
    pub(crate) fn note_kinds(&mut self, kinds: impl Iterator<Item = &'static str>) -> u64 {
        let mut rarest = u64::MAX;
        for kind in kinds {
            let kept = self.kinds.entry(kind).or_default();
            rarest = rarest.min(*kept);
            *kept += 1;
        }
        rarest
    }

    /// Gives how many records of a kind were kept.
    pub(crate) fn kept(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or(0)
    }

    /// Notes that a reaction ended the process.
    pub(crate) fn note_end(&mut self, reaction: (u64, u64)) {
        *self.ends.entry(reaction).or_default() += 1;
    }

    /// Gives how often a reaction ended the process.
    pub(crate) fn ends_of(&self, reaction: &(u64, u64)) -> u32 {
        self.ends.get(reaction).copied().unwrap_or(0)
    }

    /// Notes that a batch was not kept.
    pub(crate) fn note_unkept(&mut self, now: u64) {
        self.unkept.insert(now);
    }
}
