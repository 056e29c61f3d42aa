//! Workflows for measurements: as actions of a pack, and as the requests that run them.
//!
//! How they are measured, and their share of a machine, is defined elsewhere.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::child::Node;
use crate::graph::Graph;
use crate::wire::{self, HttpConnection};

/// How many steps the short workflow has.
const SHORT: usize = 3;
/// How many steps the chain has.
const CHAIN: usize = 200;
/// How many steps, or items of a step, run in parallel.
const WIDE: usize = 500;
/// The action of a flow.
const FLOW: &str = "flow";
/// How long to wait for an answer before its execution is polled.
const WAIT: Duration = Duration::from_secs(60);
/// The polling interval.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// A workflow of no-ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// A few steps, one after the other.
    Short,
    /// Many steps, one after the other.
    Chain,
    /// One step with many items, all at once.
    Items,
    /// Many independent steps.
    Steps,
}

impl Flow {
    /// Returns its name, which is also the name of the measurement.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Short => "workflow".to_owned(),
            Self::Chain => format!("chain {CHAIN}"),
            Self::Items => format!("items {WIDE}"),
            Self::Steps => format!("steps {WIDE}"),
        }
    }

    /// Returns how many executions one run of it has: the workflow, and its steps or items.
    pub(crate) fn executions(self) -> usize {
        1 + match self {
            Self::Short => SHORT,
            Self::Chain => CHAIN,
            Self::Items | Self::Steps => WIDE,
        }
    }

    /// Returns the file of its action, and its path in a pack.
    pub(crate) fn file(self) -> (String, String) {
        let mut text = String::from("description: Made for a measurement.\n");
        match self {
            Self::Short => text.push_str(&chain_steps(SHORT)),
            Self::Chain => text.push_str(&chain_steps(CHAIN)),
            Self::Items => {
                let _ = write!(
                    text,
                    "parameters: {{ items: [integer] }}\n{STEPS}      all:\n        for_each: params.items\n        parallel: {WIDE}\n{NOOP}"
                );
            }
            Self::Steps => {
                text.push_str(STEPS);
                (0..WIDE).for_each(|number| text.push_str(&format!("      s{number}:\n{NOOP}")));
            }
        }
        (action_path(FLOW), text)
    }

    /// Returns the request that runs it and is answered at its end.
    pub(crate) fn request(self, host: SocketAddr, token: &str) -> Vec<u8> {
        let params = match self {
            Self::Items => json!({ "items": (0..WIDE).collect::<Vec<_>>() }),
            Self::Short | Self::Chain | Self::Steps => json!({}),
        };
        wire::post_and_wait(host, &path(FLOW), token, &json!({ "params": params }).to_string(), WAIT)
    }
}

const STEPS: &str = "run:\n  workflow:\n    steps:\n";
const NOOP: &str = "        action: core.noop\n";

/// Returns this many steps, each of which needs the one before.
fn chain_steps(steps: usize) -> String {
    let mut text = format!("{STEPS}      s0:\n{NOOP}");
    (1..steps).for_each(|number| text.push_str(&format!("      s{number}:\n        needs: [s{}]\n{NOOP}", number - 1)));
    text
}

fn action_path(name: &str) -> String {
    format!("actions/{name}.yaml")
}

fn path(name: &str) -> String {
    format!("/api/v1/actions/bench.{name}/execute")
}

/// What the steps of a graph do while they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pastime {
    /// They occupy a worker.
    Work,
    /// They sleep, without occupying a worker.
    Sleep,
}

/// The action that is the `number`-th graph of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GraphFlow {
    /// The number of the graph.
    pub(crate) number: usize,
    /// What its steps do.
    pub(crate) pastime: Pastime,
}

impl GraphFlow {
    fn name(self) -> String {
        let pastime = match self.pastime {
            Pastime::Work => "works",
            Pastime::Sleep => "sleeps",
        };
        format!("graph{}_{pastime}", self.number)
    }

    /// Returns the file of its action, and its path in a pack: the steps in the order of the graph's.
    pub(crate) fn file(self, graph: &Graph) -> (String, String) {
        let mut text = format!("description: Made for a measurement.\n{STEPS}");
        for (place, step) in graph.steps.iter().enumerate() {
            let _ = writeln!(text, "      s{place}:");
            if !step.needs.is_empty() {
                let needs: Vec<String> = step.needs.iter().map(|need| format!("s{need}")).collect();
                let _ = writeln!(text, "        needs: [{}]", needs.join(", "));
            }
            match self.pastime {
                Pastime::Work => {
                    let (seconds, millis) = (step.millis / 1_000, step.millis % 1_000);
                    let _ = writeln!(text, "{NOOP}        with: {{ seconds: {seconds}.{millis:03} }}");
                }
                Pastime::Sleep => {
                    let _ = writeln!(text, "        sleep: {}ms", step.millis);
                }
            }
        }
        (action_path(&self.name()), text)
    }

    /// Returns the request that runs it and is answered at its end.
    pub(crate) fn request(self, host: SocketAddr, token: &str) -> Vec<u8> {
        wire::post_and_wait(host, &path(&self.name()), token, "{}", WAIT)
    }
}

/// Runs the workflow of a request on a node. Returns how long that took from the caller's view, from the
/// request to the answer that it has ended. Fails if it does not succeed, or not in time.
pub(crate) async fn run(node: &Node, connection: &mut HttpConnection, request: &[u8], at_most: Duration) -> io::Result<Duration> {
    let begin = Instant::now();
    let reply = connection.exchange(request).await?;
    let mut shown = ExecutionReply::of(reply.status, reply.body)?;
    while !shown.is_over() {
        if begin.elapsed() > at_most {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("a workflow is still running after {} s", at_most.as_secs())));
        }
        tokio::time::sleep(ASK_EVERY).await;
        let path = format!("/api/v1/executions/{}", shown.id);
        let reply = connection.ask(&wire::get(node.address, &path, &node.token)).await?;
        shown = ExecutionReply::of(reply.status, reply.body)?;
    }
    let took = begin.elapsed();
    if shown.status != "succeeded" {
        return Err(io::Error::other(format!("a workflow ended as {}: {}", shown.status, shown.error)));
    }
    Ok(took)
}

/// The fields of an execution in an answer.
#[derive(Deserialize)]
struct ExecutionReply {
    id: String,
    status: String,
    error: Value,
    ended_at: Option<String>,
}

impl ExecutionReply {
    fn of(status: u16, body: &[u8]) -> io::Result<Self> {
        match status {
            200 | 202 => serde_json::from_slice(body).map_err(io::Error::other),
            _ => Err(io::Error::other(format!("the node answered {status}: {}", String::from_utf8_lossy(body)))),
        }
    }

    fn is_over(&self) -> bool {
        self.ended_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::{diagnostics, write_file};

    #[test]
    fn generated_workflows_of_graphs_are_valid() {
        let text = r#"{ "name": "g", "nodes": [
            { "id": "Odd name!", "duration_ms": 0 }, { "id": "b", "needs": ["Odd name!"], "duration_ms": 1005 }
        ] }"#;
        let graph = Graph::parse(text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pack = folder.path().join("bench");
        write_file(&pack, "pack.yaml", "name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\n").unwrap();
        for pastime in [Pastime::Work, Pastime::Sleep] {
            let (path, text) = GraphFlow { number: 0, pastime }.file(&graph);
            write_file(&pack, &path, &text).unwrap();
        }
        assert_eq!(diagnostics(&pack), "");
        let works = std::fs::read_to_string(pack.join("actions/graph0_works.yaml")).unwrap();
        assert!(
            works.ends_with("      s1:\n        needs: [s0]\n        action: core.noop\n        with: { seconds: 1.005 }\n"),
            "{works}"
        );
    }
}
