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
use crate::measure::MeasurementPlan;
use crate::measurement_error::{Fault, MeasurementError};
use crate::packs::Scenario;
use crate::timers::{self, TimerLoad};
use crate::watcher::Watcher;

/// The options of `workflow` alone.
#[derive(Debug, PartialEq, Args)]
pub(super) struct OfWorkflow {
    /// The parts to measure [default: all; graphs only with --graphs] (`workflow`).
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    parts: Vec<WorkflowPart>,
    /// Run the graphs of these JSON files as workflows (`workflow`).
    #[arg(long, value_name = "DIR")]
    graphs: Option<PathBuf>,
    /// The number of pending timers (`workflow`).
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000), value_name = "N")]
    timers: u64,
}

/// A part of `workflow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WorkflowPart {
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
pub(super) struct WorkflowSelection {
    asked: OfWorkflow,
    graphs: Vec<Graph>,
}

impl OfWorkflow {
    /// Returns true if anything is requested that only `workflow` measures.
    pub(super) fn says_anything(&self) -> bool {
        !self.parts.is_empty() || self.graphs.is_some()
    }

    /// Parses the request; fails if it cannot be measured.
    pub(super) fn read(self) -> Result<WorkflowSelection, MeasurementError> {
        let graphs = match &self.graphs {
            Some(folder) if self.has(WorkflowPart::Graphs) => {
                makespans::read(folder).map_err(|why| MeasurementError::new(Fault::Given, why))?
            }
            None if self.parts.contains(&WorkflowPart::Graphs) => {
                return Err(MeasurementError::new(Fault::Asked, "there are no graphs to run").hint("name their folder with --graphs DIR"));
            }
            Some(folder) => {
                let why = format!("the graphs of `{}` are not among the parts to measure", folder.display());
                return Err(MeasurementError::new(Fault::Asked, why).hint("add `graphs` to `--parts`, or leave out `--graphs`"));
            }
            None => Vec::new(),
        };
        Ok(WorkflowSelection { asked: self, graphs })
    }

    fn has(&self, part: WorkflowPart) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

impl WorkflowSelection {
    /// Returns the runs that are measured like those of other scenarios.
    pub(super) fn runs(&self, plan: &MeasurementPlan) -> Vec<(Scenario, MeasurementPlan)> {
        let mut runs = Vec::new();
        if self.asked.has(WorkflowPart::Load) {
            runs.push((Flow::Short, plan.clone()));
            if plan.pace == Pace::Closed {
                runs.push((Flow::Short, MeasurementPlan { pace: Pace::Open { rate: STEADY_RATE }, ..plan.clone() }));
            }
        }
        let one_at_a_time = MeasurementPlan { pace: Pace::Closed, connections: 1, ..plan.clone() };
        if self.asked.has(WorkflowPart::Chain) {
            runs.push((Flow::Chain, one_at_a_time.clone()));
        }
        if self.asked.has(WorkflowPart::FanOut) {
            runs.extend([Flow::Items, Flow::Steps].map(|flow| (flow, one_at_a_time.clone())));
        }
        runs.into_iter().map(|(flow, plan)| (Scenario::Flow(flow), plan)).collect()
    }

    /// Measures everything that is not a run: graphs and timers, each on nodes of their own.
    pub(super) async fn measure(&self, connections: usize, machine: &Machine, watcher: &dyn Watcher) -> Result<Value, MeasurementError> {
        let mut figures = json!({ "graphs": null, "timers": null });
        if !self.graphs.is_empty() {
            let folder = temporary()?;
            let measured = makespans::measure(&self.graphs, folder.path(), machine, watcher).await;
            figures["graphs"] = measured.map_err(|error| MeasurementError::of("workflow", &error))?.into();
        }
        if self.asked.has(WorkflowPart::Timers) {
            watcher.report(&format!("requesting {} timers …", self.asked.timers));
            let folder = temporary()?;
            let pending = TimerLoad { timers: self.asked.timers, connections: connections as u64 };
            let measured = timers::measure(folder.path(), pending, machine).await;
            figures["timers"] = measured.map_err(|error| MeasurementError::of("workflow", &error))?;
        }
        Ok(figures)
    }
}

/// Returns the measurements for people.
pub(super) fn render(document: &Value) -> Vec<String> {
    let figures = &document["workflow"];
    if figures.is_null() {
        return Vec::new();
    }
    let graphs = figures["graphs"].as_array().map(|graphs| makespans::table(graphs));
    let timers = figures["timers"].is_object().then(|| timers::describe(&figures["timers"]));
    graphs.into_iter().chain(timers).collect()
}
