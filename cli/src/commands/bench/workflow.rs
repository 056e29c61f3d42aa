//! What of workflows `ensue bench` measures: requests for short ones, long chains, wide ones, the graphs of a folder, timers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Failure, temporary, unmeasured};
use crate::bench::graph::Graph;
use crate::bench::timers::Pending;
use crate::bench::workflow::STEADY_RATE;
use crate::bench::{self, Flow, Machine, Pace, Plan, makespans, timers};
use crate::report::{Exit, tell};

/// What is asked of `workflow` alone.
#[derive(Debug, PartialEq, Args)]
pub(super) struct OfWorkflow {
    /// Which parts of `workflow`; otherwise all, graphs where `--graphs` names some.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    parts: Vec<Part>,
    /// Run the graphs of these JSON files as workflows (`workflow`).
    #[arg(long, value_name = "DIR")]
    graphs: Option<PathBuf>,
    /// How many timers are pending (`workflow`).
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000), value_name = "N")]
    timers: u64,
}

/// A part of `workflow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Short workflows: as many as the node can, and 100 a second.
    Load,
    /// Long chains, one at a time.
    Chain,
    /// Wide workflows, one at a time.
    FanOut,
    /// The workflows of graphs, beside their schedules.
    Graphs,
    /// Timers that are pending.
    Timers,
}

/// What of `workflow` is measured, and with what.
pub(super) struct Parts {
    asked: OfWorkflow,
    graphs: Vec<Graph>,
}

impl OfWorkflow {
    /// Says whether something was asked for that only `workflow` measures.
    pub(super) fn says_anything(&self) -> bool {
        !self.parts.is_empty() || self.graphs.is_some()
    }

    /// Reads what is asked for; a failure where that cannot be measured.
    pub(super) fn read(self) -> Result<Parts, Failure> {
        let graphs = match &self.graphs {
            Some(folder) if self.has(Part::Graphs) => makespans::read(folder).map_err(|why| Failure::with(Exit::Refused, why))?,
            None if self.parts.contains(&Part::Graphs) => {
                return Err(Failure::with(Exit::Usage, "there are no graphs to run").hint("name their folder with --graphs DIR"));
            }
            Some(folder) => {
                let why = format!("the graphs of `{}` are not among the parts to measure", folder.display());
                return Err(Failure::with(Exit::Usage, why).hint("add `graphs` to `--parts`, or leave out `--graphs`"));
            }
            None => Vec::new(),
        };
        Ok(Parts { asked: self, graphs })
    }

    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

impl Parts {
    /// Gives the runs that are measured as those of other scenarios are.
    pub(super) fn runs(&self, plan: &Plan) -> Vec<(bench::Scenario, Plan)> {
        let mut runs = Vec::new();
        if self.asked.has(Part::Load) {
            runs.push((Flow::Short, plan.clone()));
            if plan.pace == Pace::Closed {
                runs.push((Flow::Short, Plan { pace: Pace::Open { rate: STEADY_RATE }, ..plan.clone() }));
            }
        }
        let one_at_a_time = Plan { pace: Pace::Closed, connections: 1, ..plan.clone() };
        if self.asked.has(Part::Chain) {
            runs.push((Flow::Chain, one_at_a_time.clone()));
        }
        if self.asked.has(Part::FanOut) {
            runs.extend([Flow::Items, Flow::Steps].map(|flow| (flow, one_at_a_time.clone())));
        }
        runs.into_iter().map(|(flow, plan)| (bench::Scenario::Flow(flow), plan)).collect()
    }

    /// Measures what is no run: graphs and timers, each on nodes of their own.
    pub(super) async fn measured(&self, connections: usize, machine: &Machine) -> Result<Value, Failure> {
        let mut figures = json!({ "graphs": null, "timers": null });
        if !self.graphs.is_empty() {
            let folder = temporary()?;
            let measured = makespans::measure(&self.graphs, folder.path(), machine).await;
            figures["graphs"] = measured.map_err(|error| unmeasured("workflow", &error))?.into();
        }
        if self.asked.has(Part::Timers) {
            tell(format!("requesting {} timers …", self.asked.timers));
            let folder = temporary()?;
            let pending = Pending { timers: self.asked.timers, connections: connections as u64 };
            let measured = timers::measure(folder.path(), pending, machine).await;
            figures["timers"] = measured.map_err(|error| unmeasured("workflow", &error))?;
        }
        Ok(figures)
    }
}

/// What was measured, for people.
pub(super) fn shown(document: &Value) -> Vec<String> {
    let figures = &document["workflow"];
    if figures.is_null() {
        return Vec::new();
    }
    let graphs = figures["graphs"].as_array().map(|graphs| makespans::table(graphs));
    let timers = figures["timers"].is_object().then(|| timers::told(&figures["timers"]));
    graphs.into_iter().chain(timers).chain([bench::workflow::table(document)]).collect()
}
