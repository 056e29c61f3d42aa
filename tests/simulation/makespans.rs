//! The duration of workflows in simulated time: no longer than their graph takes by itself on as many
//! workers.
//!
//! There is no world here and nothing fails: the node takes each step at once, and time passes only while the
//! workflow waits.

#[allow(dead_code, reason = "what the bench has for people is not looked at here")]
#[path = "../../bench/src/graph.rs"]
mod graph;

use std::fmt::Write as _;
use std::sync::Arc;

use ensue_engine::command::{Ask, Command, TurnLimits};
use ensue_engine::record::Actor;
use ensue_node::parts::Turn;

use crate::disk::Disk;
use crate::ground::WorldGround;
use crate::node::{Node, Room, Start};
use crate::operator::OperatorSettings;
use crate::peers::Peers;
use crate::plan::Plan;
use crate::programs::Machine;
use crate::random::Random;
use crate::rates::Rates;
use crate::story::Verbosity;
use crate::web::Server;
use graph::{Graph, GraphStep};

const SEED: u64 = 1;
const WORKS: fn(&GraphStep) -> String =
    |step| format!("        action: core.noop\n        with: {{ seconds: {} }}\n", step.millis as f64 / 1e3);
const SLEEPS: fn(&GraphStep) -> String = |step| format!("        sleep: {}ms\n", step.millis);

fn rooms() -> Graph {
    Graph::parse(include_str!("../support/rooms.json")).unwrap()
}

/// A graph of many steps, each of which may need some of the twelve before it; no two have the same duration.
fn draw_graph(seed: u64) -> Graph {
    const STEPS: u64 = 60;
    let mut random = Random::new(seed);
    let step = |place: u64| {
        let before = place.saturating_sub(12)..place;
        // Steps that end at the same moment may end in any order; sums of primes of many sizes are rarely
        // equal.
        let millis = [101, 211, 307, 401, 503, 601][place as usize % 6] + place * 7 + place * place;
        GraphStep { needs: before.filter(|_| random.chance(0.2)).map(|need| need as usize).collect(), millis }
    };
    Graph { name: "drawn".to_owned(), steps: (0..STEPS).map(step).collect(), given: std::collections::BTreeMap::new() }
}

/// Runs a graph as a workflow on a node with so many workers. Returns the simulated duration in microseconds.
fn simulate(graph: &Graph, workers: u32, does: fn(&GraphStep) -> String) -> u64 {
    let mut random = Random::new(SEED);
    let plan = Plan { has_crash_disk: false, ..Plan::draw(&mut random) };
    let operated = OperatorSettings { workers, lease_millis: 30_000, open_work_max: 100_000, turn: TurnLimits::default(), ..plan.operated };
    let ground = WorldGround::new(plan, Rates::new(), random, Verbosity::Quiet);
    ground.heal();
    let disk = Disk::new(SEED, &ground.plan).unwrap();
    write_pack(&disk, graph, does);
    let (room, machine, server) = (Room::default(), Machine::new(ground.clone()).unwrap(), Server::new(ground.clone()));
    let peers = Peers::new(SEED, ground.clone());
    let start = Start {
        ground: &ground,
        disk: &disk,
        number: 1,
        boots: 1,
        room: &room,
        machine: &machine,
        operated: &operated,
        server: &server,
        peers: &peers,
        servers: None,
    };
    let Ok(node) = Node::start(&start) else { panic!("nothing keeps the node from starting") };
    let took = until_all_has_ended(&node, &ground);
    node.life.end();
    took
}

fn write_pack(disk: &Disk, graph: &Graph, does: fn(&GraphStep) -> String) {
    let mut text = "run:\n  workflow:\n    steps:\n".to_owned();
    for (place, step) in graph.steps.iter().enumerate() {
        let needs: Vec<String> = step.needs.iter().map(|need| format!("s{need}")).collect();
        let needs = if needs.is_empty() { String::new() } else { format!("        needs: [{}]\n", needs.join(", ")) };
        let _ = write!(text, "      s{place}:\n{needs}{}", does(step));
    }
    let pack = disk.packs().join("sim");
    std::fs::create_dir_all(pack.join("actions")).unwrap();
    std::fs::write(pack.join("pack.yaml"), "name: sim\nversion: 0.1.0\nconfig:\n  least: integer = 2\n").unwrap();
    std::fs::write(pack.join("actions/graph.yaml"), text).unwrap();
}

fn until_all_has_ended(node: &Node, ground: &Arc<WorldGround>) -> u64 {
    let begin = ground.now();
    let ask = Ask::RequestExecution(node.execution_request("sim.graph", "{}").unwrap());
    node.submit(Command { actor: Actor::Operator, trace: None, ask });
    loop {
        // Requests to the sequencer in the meantime are handled at the same moment.
        while node.turn() == Turn::Taken || node.life.take_asked() {
            node.work();
        }
        if node.look(|engine| engine.executions().iter().count()) == Some(0) {
            return ground.now() - begin;
        }
        let due = node.until_due().map(|until| ground.now() + until);
        let next = node.worker_clock.first().into_iter().chain(due).min();
        ground.advance_to(next.expect("what has not ended waits for something"));
        node.work();
    }
}

#[test]
fn makespan_equals_a_schedule_of_steps_in_the_order_they_become_ready() {
    for graph in [rooms(), draw_graph(1), draw_graph(2)] {
        for workers in [1, 2, 8] {
            let took = simulate(&graph, workers, WORKS);
            assert_eq!(took, graph.makespan(workers as usize) * 1_000, "{} with {workers} workers", graph.name);
        }
    }
}

#[test]
fn makespan_of_sleeping_steps_is_the_critical_path_with_any_worker_count() {
    for graph in [rooms(), draw_graph(1), draw_graph(2)] {
        assert_eq!(simulate(&graph, 1, SLEEPS), graph.critical_path() * 1_000, "{}", graph.name);
    }
}
