//! Graphs of steps, as in benchmarks of workflow engines, and their shortest run times: with a limited number
//! of slots in first-ready order, and with as many slots as there are steps.
//!
//! This module runs nothing, and is independent of the node.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use serde::Deserialize;

/// The most steps of a graph: as many as a workflow may have.
const STEPS_MAX: usize = 10_000;
/// The longest duration of a step, in milliseconds: a day.
const MILLIS_MAX: u64 = 86_400_000;

/// Steps, of which some need others.
#[derive(Debug, PartialEq)]
pub(crate) struct Graph {
    /// Its name.
    pub(crate) name: String,
    /// Its steps.
    pub(crate) steps: Vec<GraphStep>,
    /// The lengths of schedules that come with the graph, in milliseconds, by the number of slots. Their
    /// author knew how long each step runs.
    pub(crate) given: BTreeMap<u32, u64>,
}

/// A step.
#[derive(Debug, PartialEq)]
pub(crate) struct GraphStep {
    /// The indexes of the steps that it needs.
    pub(crate) needs: Vec<usize>,
    /// Its run time, in milliseconds.
    pub(crate) millis: u64,
}

/// A graph as in its file; other fields of the file are ignored.
#[derive(Deserialize)]
struct GraphFile {
    name: String,
    nodes: Vec<WrittenNode>,
    #[serde(default)]
    metrics: WrittenMetrics,
}

#[derive(Deserialize)]
struct WrittenNode {
    id: String,
    #[serde(default)]
    needs: Vec<String>,
    duration_ms: u64,
}

#[derive(Default, Deserialize)]
struct WrittenMetrics {
    #[serde(default)]
    list_schedule_ms: BTreeMap<String, u64>,
}

impl Graph {
    /// Parses a graph; fails with a message for people if it cannot be run.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let written: GraphFile = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !(1..=STEPS_MAX).contains(&written.nodes.len()) {
            return Err(format!("it has {} nodes; a workflow must have 1 to {STEPS_MAX} steps", written.nodes.len()));
        }
        let mut places = BTreeMap::new();
        for (place, node) in written.nodes.iter().enumerate() {
            if places.insert(node.id.as_str(), place).is_some() {
                return Err(format!("two nodes have the name `{}`", node.id));
            }
            if node.duration_ms > MILLIS_MAX {
                return Err(format!("`{}` runs for {} ms; the limit is {MILLIS_MAX}", node.id, node.duration_ms));
            }
        }
        let step = |node: &WrittenNode| {
            let place = |need: &String| {
                places.get(need.as_str()).copied().ok_or_else(|| format!("`{}` needs `{need}`, which is not a node", node.id))
            };
            Ok(GraphStep { needs: node.needs.iter().map(place).collect::<Result<_, String>>()?, millis: node.duration_ms })
        };
        let steps = written.nodes.iter().map(step).collect::<Result<Vec<_>, String>>()?;
        // Without a bound it is `inf`.
        let given = written.metrics.list_schedule_ms.iter().filter_map(|(slots, millis)| Some((slots.parse().ok()?, *millis))).collect();
        let graph = Self { name: written.name, steps, given };
        let (_, ended) = graph.run(usize::MAX);
        if ended < graph.steps.len() {
            return Err(format!("{} of its nodes need each other in a cycle", graph.steps.len() - ended));
        }
        Ok(graph)
    }

    /// Returns how long the graph takes with this many slots, in milliseconds. A ready step waits for those
    /// that were ready before it. Among steps that become ready at once, the first in the order of the steps
    /// goes first.
    pub(crate) fn makespan(&self, slots: usize) -> u64 {
        self.run(slots).0
    }

    /// Returns the length of the longest chain of dependent steps, in milliseconds.
    pub(crate) fn critical_path(&self) -> u64 {
        self.makespan(usize::MAX)
    }

    /// Returns how long it takes, and how many of its steps end.
    fn run(&self, slots: usize) -> (u64, usize) {
        let mut missing: Vec<usize> = self.steps.iter().map(|step| step.needs.len()).collect();
        let mut needed_by = vec![Vec::new(); self.steps.len()];
        for (place, step) in self.steps.iter().enumerate() {
            step.needs.iter().for_each(|need| needed_by[*need].push(place));
        }
        let mut ready: VecDeque<usize> = (0..self.steps.len()).filter(|place| missing[*place] == 0).collect();
        let mut running = BinaryHeap::new();
        let (mut now, mut ended) = (0, 0);
        loop {
            while running.len() < slots
                && let Some(place) = ready.pop_front()
            {
                running.push(Reverse((now + self.steps[place].millis, place)));
            }
            let Some(Reverse((next, _))) = running.peek() else { return (now, ended) };
            now = *next;
            let mut freed = Vec::new();
            while let Some(&Reverse((_, place))) = running.peek().filter(|Reverse((end, _))| *end == now) {
                running.pop();
                ended += 1;
                for next in &needed_by[place] {
                    missing[*next] -= 1;
                    if missing[*next] == 0 {
                        freed.push(*next);
                    }
                }
            }
            freed.sort_unstable();
            ready.extend(freed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph whose schedules are worked out by hand below.
    const ROOMS: &str = include_str!("../../tests/support/rooms.json");

    fn graph() -> Graph {
        Graph::parse(ROOMS).unwrap()
    }

    #[test]
    fn graph_file_has_the_needs_of_each_step_and_the_given_schedules() {
        let graph = graph();
        assert_eq!((graph.name.as_str(), graph.steps.len()), ("rooms", 8));
        assert_eq!(graph.steps[5], GraphStep { needs: vec![1, 2], millis: 310 });
        assert_eq!(graph.given, BTreeMap::from([(1, 1_765), (2, 965), (8, 950)]));
    }

    #[test]
    fn step_that_was_ready_first_runs_first() {
        // One slot: one step after the other, whatever their order.
        assert_eq!(graph().makespan(1), 1_765);
        // Two slots, each a line, each step with its end. A scheduler that knew how long the steps run would begin
        // with the pipes and the walls and leave the wires for later: the floor and the tiles are the longest path
        // to the end.
        //   plan 100, walls 300, floor 540, paint 850
        //             pipes 250, wires 555, tiles 965, clean 1015
        assert_eq!(graph().makespan(2), 1_015);
        // With eight slots no step waits for a slot: plan 100, pipes 250, floor 490, tiles 900, clean 950.
        assert_eq!(graph().makespan(8), 950);
        assert_eq!(graph().critical_path(), 950);
    }

    #[test]
    fn slots_over_the_maximum_parallelism_change_nothing() {
        assert_eq!(graph().makespan(8), graph().makespan(1_000));
    }

    #[test]
    fn steps_ready_at_once_run_in_their_listed_order() {
        let text = r#"{ "name": "two", "nodes": [
            { "id": "a", "duration_ms": 10 }, { "id": "b", "duration_ms": 10 },
            { "id": "late", "needs": ["a"], "duration_ms": 5 }, { "id": "early", "needs": ["b"], "duration_ms": 5 },
            { "id": "end", "needs": ["late"], "duration_ms": 100 }
        ] }"#;
        // With one slot `late` comes before `early`, though both became ready one after the other: a, b,
        // late, early, end.
        assert_eq!(Graph::parse(text).unwrap().makespan(1), 130);
        // With two slots both run at once, and the end begins at 15.
        assert_eq!(Graph::parse(text).unwrap().makespan(2), 115);
    }

    #[test]
    fn invalid_graph_is_rejected_with_the_reason() {
        for (text, why) in [
            (r#"{ "name": "none", "nodes": [] }"#, "it has 0 nodes"),
            (r#"{ "name": "x", "nodes": [{ "id": "a", "needs": ["b"], "duration_ms": 1 }] }"#, "`a` needs `b`, which is not a node"),
            (
                r#"{ "name": "x", "nodes": [{ "id": "a", "duration_ms": 1 }, { "id": "a", "duration_ms": 1 }] }"#,
                "two nodes have the name `a`",
            ),
            (r#"{ "name": "x", "nodes": [{ "id": "a", "needs": ["a"], "duration_ms": 1 }] }"#, "1 of its nodes need each other in a cycle"),
            (r#"{ "name": "x", "nodes": [{ "id": "a", "duration_ms": 99999999999 }] }"#, "the limit is 86400000"),
            (r#"{ "name": "x", "nodes": [{ "id": "a" }] }"#, "missing field `duration_ms`"),
            (r#"{ "nodes": [] }"#, "missing field `name`"),
            ("[", "EOF"),
        ] {
            let told = Graph::parse(text).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
