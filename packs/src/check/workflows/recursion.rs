//! Reports workflows that run themselves, directly or through the workflows of their steps, without a
//! condition that ends it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ensue_engine::names::ActionRef;

use crate::check::World;
use crate::diagnostics::{Code, Report};
use crate::source::SourceText;
use crate::syntax::{StepTask, Workflow, WrittenRun, WrittenStep};
use crate::yaml::WithSpan;

/// The most workflows of a circle that are listed.
const CIRCLE_MAX: usize = 12;

/// Reports each step that always leads back to its own workflow.
pub(super) fn report_recursion(world: &World<'_>, file: &SourceText, workflow: &Workflow, report: &mut Report) {
    // A workflow already searched for one step leads back for no other step either.
    let mut seen: BTreeMap<ActionRef, Option<ActionRef>> = BTreeMap::new();
    for action in always_run(workflow) {
        let Ok(first) = action.value.parse::<ActionRef>() else { continue };
        if let Some(circle) = way_back(world, workflow, first, &mut seen) {
            let names: Vec<String> = circle.iter().take(CIRCLE_MAX).map(|name| format!("`{name}`")).collect();
            let more = if circle.len() > CIRCLE_MAX { " → …" } else { "" };
            let message = format!("the workflow runs itself again endlessly: {}{more}", names.join(" → "));
            report
                .error(Code::WorkflowInItself, file, action.span.clone(), message)
                .hint("limit it with `if`, `for_each` or `repeat`, or remove the step");
        }
    }
}

/// Returns the actions that a workflow runs whenever nothing in it fails. A step with a condition, or one
/// that needs such a step, may end the recursion; so may an answer or an event.
fn always_run(workflow: &Workflow) -> impl Iterator<Item = &WithSpan<String>> {
    let may_not_run = |step: &WrittenStep| {
        let may_stop =
            matches!(step.task, Some(StepTask::Inquiry(_) | StepTask::Wait(_) | StepTask::Fail { .. } | StepTask::Assert { .. }) | None);
        step.condition.is_some() || step.enough.is_some() || step.for_each.is_some() || step.repeat.is_some() || may_stop
    };
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for step in &workflow.steps {
        for needed in step.needs.iter().flatten() {
            dependents.entry(&needed.value).or_default().push(&step.name.value);
        }
    }
    let mut conditional: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = workflow.steps.iter().filter(|step| may_not_run(step)).map(|step| step.name.value.as_str()).collect();
    while let Some(name) = open.pop() {
        if conditional.insert(name) {
            open.extend(dependents.get(name).into_iter().flatten());
        }
    }
    workflow.steps.iter().filter(move |step| !conditional.contains(step.name.value.as_str())).filter_map(|step| match &step.task {
        Some(StepTask::Action { action, .. }) => Some(action),
        Some(StepTask::Inquiry(_) | StepTask::Wait(_) | StepTask::Sleep { .. } | StepTask::Fail { .. } | StepTask::Assert { .. })
        | None => None,
    })
}

/// Returns the workflows on the path from `first` back to a workflow, this one last; `None` if there is no
/// such path.
fn way_back(
    world: &World<'_>,
    to: &Workflow,
    first: ActionRef,
    seen: &mut BTreeMap<ActionRef, Option<ActionRef>>,
) -> Option<Vec<ActionRef>> {
    let mut open = VecDeque::new();
    if !seen.contains_key(&first) {
        seen.insert(first.clone(), None);
        open.push_back(first);
    }
    while let Some(name) = open.pop_front() {
        let action = world.packs.get(&name.pack()).and_then(|pack| pack.actions.get(name.name())).and_then(|defined| defined.body.as_ref());
        let Some(WrittenRun::Workflow(workflow)) = action.map(|action| &action.run) else { continue };
        if std::ptr::eq(workflow, to) {
            let mut way = vec![name];
            while let Some(Some(before)) = way.last().and_then(|last| seen.get(last)) {
                way.push(before.clone());
            }
            way.reverse();
            way.insert(0, way[way.len() - 1].clone());
            return Some(way);
        }
        for action in always_run(workflow) {
            if let Ok(next) = action.value.parse::<ActionRef>()
                && !seen.contains_key(&next)
            {
                seen.insert(next.clone(), Some(name.clone()));
                open.push_back(next);
            }
        }
    }
    None
}
