//! The workflow measurements of `ensue bench`: requests for short workflows, long chains, wide ones, the
//! graphs of a folder, timers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::temporary;
use crate::aims::STEADY_RATE;
use crate::child::Machine;
use crate::flows::Flow;
use crate::graph::Graph;
use crate::load::Pace;
use crate::makespans;
use crate::measure::Plan;
use crate::packs::Scenario;
use crate::timers::{self, Pending};
use crate::unmeasured::{Fault, Unmeasured};
use crate::watcher::Watcher;

/// The options of `workflow` alone.
#[derive(Debug, PartialEq, Args)]
pub(super) struct OfWorkflow {
    /// The parts to measure [default: all; graphs only with --graphs] (`workflow`).
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    parts: Vec<Part>,
    /// Run the graphs of these JSON files as workflows (`workflow`).
    #[arg(long, value_name = "DIR")]
    graphs: Option<PathBuf>,
    /// The number of pending timers (`workflow`).
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000), value_name = "N")]
    timers: u64,
}

/// A part of `workflow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Short workflows, at full speed and at 100 a second.
    Load,
    /// Long chains, one at a time.
    Chain,
    /// Wide workflows, one at a time.
    FanOut,
    /// The workflows of graphs, compared with their schedules.
    Graphs,
    /// Pending timers.
    Timers,
}

/// The selected workflow measurements and their parameters.
pub(super) struct Parts {
    asked: OfWorkflow,
    graphs: Vec<Graph>,
}

impl OfWorkflow {
    /// Returns true if anything is requested that only `workflow` measures.
    pub(super) fn says_anything(&self) -> bool {
        !self.parts.is_empty() || self.graphs.is_some()
    }

    /// Parses the request; fails if it cannot be measured.
    pub(super) fn read(self) -> Result<Parts, Unmeasured> {
        let graphs = match &self.graphs {
            Some(folder) if self.has(Part::Graphs) => makespans::read(folder).map_err(|why| Unmeasured::new(Fault::Given, why))?,
            None if self.parts.contains(&Part::Graphs) => {
                return Err(Unmeasured::new(Fault::Asked, "there are no graphs to run").hint("name their folder with --graphs DIR"));
            }
            Some(folder) => {
                let why = format!("the graphs of `{}` are not among the parts to measure", folder.display());
                return Err(Unmeasured::new(Fault::Asked, why).hint("add `graphs` to `--parts`, or leave out `--graphs`"));
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
    /// Returns the runs that are measured like those of other scenarios.
    pub(super) fn runs(&self, plan: &Plan) -> Vec<(Scenario, Plan)> {
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
        runs.into_iter().map(|(flow, plan)| (Scenario::Flow(flow), plan)).collect()
    }

    /// Measures everything that is not a run: graphs and timers, each on nodes of their own.
    pub(super) async fn measured(&self, connections: usize, machine: &Machine, watcher: &dyn Watcher) -> Result<Value, Unmeasured> {
        let mut figures = json!({ "graphs": null, "timers": null });
        if !self.graphs.is_empty() {
            let folder = temporary()?;
            let measured = makespans::measure(&self.graphs, folder.path(), machine, watcher).await;
            figures["graphs"] = measured.map_err(|error| Unmeasured::of("workflow", &error))?.into();
        }
        if self.asked.has(Part::Timers) {
            watcher.tell(&format!("requesting {} timers …", self.asked.timers));
            let folder = temporary()?;
            let pending = Pending { timers: self.asked.timers, connections: connections as u64 };
            let measured = timers::measure(folder.path(), pending, machine).await;
            figures["timers"] = measured.map_err(|error| Unmeasured::of("workflow", &error))?;
        }
        Ok(figures)
    }
}

/// Returns the measurements for people.
pub(super) fn shown(document: &Value) -> Vec<String> {
    let figures = &document["workflow"];
    if figures.is_null() {
        return Vec::new();
    }
    let graphs = figures["graphs"].as_array().map(|graphs| makespans::table(graphs));
    let timers = figures["timers"].is_object().then(|| timers::told(&figures["timers"]));
    graphs.into_iter().chain(timers).collect()
}
