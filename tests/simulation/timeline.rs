//! When the nodes of a world could work: which node existed from when to when, when it was paused, when its
//! disk had no space, and when timers were late.
//!
//! It only says which time counts; the oracle decides what should have happened in it.

/// The conditions under which a node works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The existing node.
    pub(crate) node: Option<u32>,
    /// Whether it is paused.
    pub(crate) is_paused: bool,
    /// Whether its disk has space.
    pub(crate) has_room: bool,
    /// Whether it was asked to stop.
    pub(crate) is_stopping: bool,
}

/// Which time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Time in which a node existed and was not paused.
    Awake,
    /// Also requires that the node was not asked to stop, its disk had space, and its timers were on time.
    Working,
}

/// The conditions of a world in order.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// Each condition with its start.
    stretches: Vec<(u64, Condition)>,
    /// The periods with late timers: from, until; without overlaps.
    late: Vec<(u64, u64)>,
    /// The end of the timeline.
    until: u64,
}

impl Timeline {
    /// Notes the conditions from now on.
    pub(crate) fn note(&mut self, now: u64, condition: Condition) {
        self.until = now;
        if self.stretches.last().is_none_or(|(_, last)| *last != condition) {
            self.stretches.push((now, condition));
        }
    }

    /// Notes that timers are late.
    pub(crate) fn note_late(&mut self, now: u64, until: u64) {
        match self.late.last_mut() {
            Some((_, last)) if *last >= now => *last = (*last).max(until),
            Some(_) | None => self.late.push((now, until)),
        }
    }

    /// Notes that timers are no longer late.
    pub(crate) fn end_late(&mut self, now: u64) {
        if let Some((_, last)) = self.late.last_mut() {
            *last = now.min(*last);
        }
    }

    /// Returns when a node had had so much time since `from`, counting the first one that had it in one life,
    /// or `None` if none had.
    pub(crate) fn due(&self, from: u64, micros: u64, counts: Counts) -> Option<u64> {
        self.time_passed(from, micros, counts, None)
    }

    /// The same for one node alone.
    pub(crate) fn due_for(&self, node: u32, from: u64, micros: u64, counts: Counts) -> Option<u64> {
        self.time_passed(from, micros, counts, Some(node))
    }

    /// Returns when a node was asked to stop.
    pub(crate) fn asked_to_stop(&self, node: u32) -> Option<u64> {
        let asked = self.stretches.iter().find(|(_, condition)| condition.node == Some(node) && condition.is_stopping);
        asked.map(|(at, _)| *at)
    }

    fn time_passed(&self, from: u64, micros: u64, counts: Counts, only: Option<u32>) -> Option<u64> {
        let first = self.stretches.partition_point(|(begin, _)| *begin <= from).saturating_sub(1);
        let (mut life, mut had) = (None, 0);
        for (place, (begin, condition)) in self.stretches.iter().enumerate().skip(first) {
            if condition.node != life {
                (life, had) = (condition.node, 0);
            }
            let is_wanted = life.is_some() && only.is_none_or(|only| life == Some(only));
            let is_good = !condition.is_paused && (counts == Counts::Awake || (condition.has_room && !condition.is_stopping));
            if !is_wanted || !is_good {
                continue;
            }
            let end = self.stretches.get(place + 1).map_or(self.until, |(next, _)| *next);
            for (begin, end) in self.in_time((*begin).max(from), end, counts) {
                if had + (end - begin) >= micros {
                    return Some(begin + (micros - had));
                }
                had += end - begin;
            }
        }
        None
    }

    /// Returns the parts of a period that count.
    fn in_time(&self, mut begin: u64, end: u64, counts: Counts) -> Vec<(u64, u64)> {
        let mut parts = Vec::new();
        if counts == Counts::Working {
            let first = self.late.partition_point(|(_, until)| *until <= begin);
            for (from, until) in self.late.iter().skip(first).take_while(|(from, _)| *from < end) {
                if begin < *from {
                    parts.push((begin, *from));
                }
                begin = *until;
            }
        }
        if begin < end {
            parts.push((begin, end));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Condition = Condition { node: Some(1), is_paused: false, has_room: true, is_stopping: false };
    const SECOND: Condition = Condition { node: Some(2), ..FIRST };
    const NOBODY: Condition = Condition { node: None, ..FIRST };

    fn timeline(stretches: &[(u64, Condition)], until: u64) -> Timeline {
        let mut timeline = Timeline::default();
        for (from, condition) in stretches {
            timeline.note(*from, *condition);
        }
        timeline.until = until;
        timeline
    }

    #[test]
    fn time_without_a_node_does_not_count() {
        let timeline = timeline(&[(0, FIRST), (10, NOBODY), (50, SECOND)], 100);
        assert_eq!(timeline.due(0, 10, Counts::Awake), Some(10));
        assert_eq!(timeline.due(5, 10, Counts::Awake), Some(60));
        assert_eq!(timeline.due_for(1, 5, 10, Counts::Awake), None);
    }

    #[test]
    fn each_node_needs_its_time_in_one_life() {
        let timeline = timeline(&[(0, FIRST), (9, SECOND), (18, FIRST)], 40);
        assert_eq!(timeline.due(0, 10, Counts::Awake), Some(28));
    }

    #[test]
    fn paused_node_continues_with_the_time_it_had() {
        let timeline = timeline(&[(0, FIRST), (5, Condition { is_paused: true, ..FIRST }), (20, FIRST)], 40);
        assert_eq!(timeline.due(0, 10, Counts::Awake), Some(25));
    }

    #[test]
    fn time_after_the_end_is_not_due() {
        assert_eq!(timeline(&[(0, FIRST)], 9).due(0, 10, Counts::Awake), None);
    }

    #[test]
    fn stopping_node_is_awake_and_does_not_work() {
        let timeline = timeline(&[(0, FIRST), (5, Condition { is_stopping: true, ..FIRST }), (20, SECOND)], 40);
        assert_eq!(timeline.due(0, 10, Counts::Awake), Some(10));
        assert_eq!(timeline.due(0, 10, Counts::Working), Some(30));
        assert_eq!((timeline.asked_to_stop(1), timeline.asked_to_stop(2)), (Some(5), None));
    }

    #[test]
    fn time_with_a_full_disk_or_late_timers_counts_only_as_awake() {
        let mut timeline = timeline(&[(0, FIRST), (5, Condition { has_room: false, ..FIRST }), (20, FIRST)], 60);
        timeline.note_late(22, 30);
        timeline.note_late(28, 40);
        assert_eq!(timeline.due(0, 10, Counts::Awake), Some(10));
        assert_eq!(timeline.due(0, 10, Counts::Working), Some(43));
    }
}
