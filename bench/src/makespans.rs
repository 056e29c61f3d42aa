//! How long the workflows of graphs take on a node with a given number of workers, compared with each graph's
//! own schedule.
//!
//! The schedules are computed in `graph`.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::child::{Machine, Node, Start};
use crate::figures::{millis, number, round_to_hundredths};
use crate::flows::{self, Flow, GraphFlow, Pastime};
use crate::graph::Graph;
use crate::log_folder;
use crate::packs::write_file;
use crate::table::laid_out;
use crate::watcher::{Length, Watcher, beside};
use crate::wire::HttpConnection;

/// The numbers of workers with which each graph is run.
const WORKERS: [u32; 2] = [2, 8];
/// How much longer than its schedule a graph may take: this share of it, plus a constant.
const SHARE: f64 = 0.03;
/// The constant, in milliseconds.
const BESIDE_MS: f64 = 50.0;
/// The additional time for each step that sleeps, in milliseconds.
const SLEEPER_MS: f64 = 1.0;
/// How many short workflows a node runs before the first graph.
const WARM_UP: usize = 20;
/// A workflow that takes more than this multiple of its schedule, plus a constant, is abandoned.
const PATIENCE: u32 = 5;
/// That constant.
const AT_LEAST_PATIENT: Duration = Duration::from_secs(60);

/// Reads the graphs of a folder, in the order of their file names. Fails with a message for people if there
/// are none, or one of them cannot be run.
pub(crate) fn read(folder: &Path) -> Result<Vec<Graph>, String> {
    let told = |path: &Path, error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<_> = entries.map_err(|error| told(folder, &error))?.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    if paths.is_empty() {
        return Err(told(folder, &"there is no file `*.json` in it"));
    }
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| told(path, &error))?;
        Graph::parse(&text).map_err(|error| told(path, &error))
    };
    paths.iter().map(read).collect()
}

/// A planned run of a graph.
struct PlannedRun<'g> {
    graph: &'g Graph,
    flow: GraphFlow,
    workers: u32,
}

impl PlannedRun<'_> {
    fn schedule_millis(&self) -> u64 {
        match self.flow.pastime {
            Pastime::Work => self.graph.makespan(self.workers as usize),
            Pastime::Sleep => self.graph.critical_path(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn allowed_millis(&self) -> f64 {
        let sleepers = match self.flow.pastime {
            Pastime::Work => 0.0,
            Pastime::Sleep => self.graph.steps.len() as f64 * SLEEPER_MS,
        };
        round_to_hundredths(self.schedule_millis() as f64 * SHARE + BESIDE_MS + sleepers)
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn figures(&self, took: Duration) -> Value {
        let (schedule, allowed) = (self.schedule_millis(), self.allowed_millis());
        let difference = round_to_hundredths(millis(took) - schedule as f64);
        let (pace, given) = match self.flow.pastime {
            Pastime::Work => (format!("{} workers", self.workers), self.graph.given.get(&self.workers)),
            Pastime::Sleep => ("sleeping".to_owned(), None),
        };
        json!({
            "scenario": format!("graph {}", self.graph.name),
            "pace": pace,
            "steps": self.graph.steps.len(),
            "makespan_ms": millis(took),
            "schedule_ms": schedule,
            "difference_ms": difference,
            "allowed_ms": allowed,
            "over_aim": difference > allowed,
            "given_ms": given,
        })
    }
}

/// Returns the runs for a node with this many workers: each graph with steps that work, and, for the highest
/// number of workers, also with steps that sleep.
fn plan_runs(graphs: &[Graph], workers: u32) -> Vec<PlannedRun<'_>> {
    let of =
        |pastime| graphs.iter().enumerate().map(move |(number, graph)| PlannedRun { graph, flow: GraphFlow { number, pastime }, workers });
    let pastimes: &[Pastime] = if workers == WORKERS[WORKERS.len() - 1] { &[Pastime::Work, Pastime::Sleep] } else { &[Pastime::Work] };
    pastimes.iter().copied().flat_map(of).collect()
}

/// Runs each graph with each number of workers, one after the other on a node for each number, and with steps
/// that sleep. Returns the figures as JSON.
pub(crate) async fn measure(graphs: &[Graph], folder: &Path, machine: &Machine, watcher: &dyn Watcher) -> io::Result<Vec<Value>> {
    let all: u64 = WORKERS.into_iter().flat_map(|workers| plan_runs(graphs, workers)).map(|planned| planned.schedule_millis()).sum();
    let seconds = all / 1_000;
    let bar = watcher.bar("running graphs", Length::Seconds(seconds));
    if !bar.is_drawn() {
        watcher.report(&format!("running {} graphs, which takes some {} s …", graphs.len(), all.div_ceil(1_000)));
    }
    let running = async {
        let mut figures = Vec::new();
        for workers in WORKERS {
            let node = start_node(graphs, &folder.join(format!("workers{workers}")), workers, machine).await?;
            figures.extend(ran(&plan_runs(graphs, workers), &node).await?);
            node.stop().await?;
        }
        Ok(figures)
    };
    beside(&*bar, seconds, running).await
}

/// Warms a node up, and runs the plan on it.
async fn ran(planned: &[PlannedRun<'_>], node: &Node) -> io::Result<Vec<Value>> {
    let mut connection = HttpConnection::open(node.address).await?;
    let warm = Flow::Short.request(node.address, &node.token);
    for _ in 0..WARM_UP {
        flows::run(node, &mut connection, &warm, AT_LEAST_PATIENT).await?;
    }
    let mut figures = Vec::new();
    for planned in planned {
        let request = planned.flow.request(node.address, &node.token);
        let at_most = Duration::from_millis(planned.schedule_millis()) * PATIENCE + AT_LEAST_PATIENT;
        let took = flows::run(node, &mut connection, &request, at_most).await;
        let took = took.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", planned.graph.name)))?;
        figures.push(planned.figures(took));
    }
    Ok(figures)
}

async fn start_node(graphs: &[Graph], folder: &Path, workers: u32, machine: &Machine) -> io::Result<Node> {
    let pack = folder.join("packs/bench");
    write_file(&pack, "pack.yaml", "name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\n")?;
    let (path, text) = Flow::Short.file();
    write_file(&pack, &path, &text)?;
    for (number, graph) in graphs.iter().enumerate() {
        for pastime in [Pastime::Work, Pastime::Sleep] {
            let (path, text) = GraphFlow { number, pastime }.file(graph);
            write_file(&pack, &path, &text)?;
        }
    }
    let token = log_folder::token(folder)?;
    let variables = vec![("ENSUE_WORKERS", workers.to_string())];
    Node::start(Start { folder, token: &token, variables, machine }).await
}

/// Returns the figures as a table for people.
pub(crate) fn table(graphs: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = graphs.iter().map(|run| {
        let mark = if run["over_aim"] == true { "over" } else { "" };
        vec![
            text(&run["scenario"]),
            text(&run["pace"]),
            number(&run["steps"]),
            number(&run["schedule_ms"]),
            number(&run["makespan_ms"]),
            number(&run["difference_ms"]),
            number(&run["allowed_ms"]),
            mark.to_owned(),
            number(&run["given_ms"]),
        ]
    });
    let titles = ["GRAPH", "PACE", "STEPS", "SCHEDULE ms", "TOOK ms", "MORE ms", "ALLOWED ms", "", "GIVEN ms"];
    format!(
        "{}\n\nThe schedule runs the steps that are ready first, on the same number of workers; for steps that sleep it is the critical path. The\n\
         run may take 3 % and 50 ms longer, plus 1 ms a step for steps that sleep. The given schedule comes with the graph, and knew how long each step runs.",
        laid_out(titles.map(str::to_owned).to_vec(), rows)
    )
}
