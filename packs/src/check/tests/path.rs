//! Resolves the paths of steps: from the action that a case runs, or from the rules of its pack, down through
//! nested workflows.

use ensue_engine::catalog::{Builtin, Schema};
use ensue_engine::names::ActionRef;
use ensue_expression::nearest;

use super::Reading;
use crate::cases::StepPath;
use crate::check::World;
use crate::diagnostics::{Code, Report};
use crate::fields::quote_names;
use crate::syntax::{self, RuleTask, StepTask, Workflow, WrittenRun};
use crate::yaml::WithSpan;

/// The most names that a hint lists.
const HINT_NAMES_MAX: usize = 8;

/// Where the paths of steps begin.
pub(super) enum Root<'a> {
    /// At the action that is run.
    Action { name: String, leads: Leads<'a> },
    /// At the rules of the pack.
    Rules(&'a syntax::WrittenPack),
    /// Nowhere: it has errors that have been reported.
    Unknown,
}

/// What a path leads to.
#[derive(Clone, Copy)]
pub(super) enum Leads<'a> {
    /// An action that has attempts.
    Action(&'a syntax::Action),
    /// A workflow.
    Workflow(&'a Workflow),
    /// An inquiry, with the schema of its answer if that is known.
    Inquiry(Option<&'a Schema>),
    /// A wait for an event.
    Wait,
    /// A sleep.
    Sleep,
    /// A failure.
    Fail,
    /// A condition.
    Assert,
    /// Something with errors that have been reported.
    Unknown,
}

/// A step that was found.
pub(super) struct FoundStep<'a> {
    pub(super) path: StepPath,
    pub(super) leads: Leads<'a>,
    /// Whether an event can cancel it.
    pub(super) is_cancellable: bool,
    /// The number of `for_each` and `repeat` levels along the path.
    pub(super) levels: usize,
}

impl<'a> Root<'a> {
    pub(super) fn action(world: &World<'a>, action: &ActionRef) -> Self {
        Self::Action { name: action.name().to_owned(), leads: of_action(world, action) }
    }

    /// The execution of a rule of the pack.
    pub(super) fn rule(world: &World<'a>, name: &str, rule: Option<&'a syntax::Rule>) -> Self {
        Self::Action { name: name.to_owned(), leads: of_rule(world, rule) }
    }
}

fn of_action<'a>(world: &World<'a>, action: &ActionRef) -> Leads<'a> {
    let defined = world.packs.get(&action.pack()).and_then(|pack| pack.actions.get(action.name()));
    let Some(written) = defined.and_then(|defined| defined.body.as_ref()) else { return Leads::Unknown };
    match &written.run {
        WrittenRun::Workflow(workflow) => Leads::Workflow(workflow),
        WrittenRun::Builtin { which: Builtin::Sleep, .. } => Leads::Sleep,
        WrittenRun::Builtin { which: Builtin::Wait, .. } => Leads::Wait,
        WrittenRun::Builtin { which: Builtin::Inquiry, .. } => Leads::Inquiry(None),
        WrittenRun::Builtin { which: Builtin::Noop | Builtin::Echo | Builtin::Emit | Builtin::SetVar, .. }
        | WrittenRun::Process { .. }
        | WrittenRun::Shell { .. }
        | WrittenRun::Http(_)
        | WrittenRun::Mail(_)
        | WrittenRun::Emit { .. } => Leads::Action(written),
    }
}

fn of_rule<'a>(world: &World<'a>, rule: Option<&'a syntax::Rule>) -> Leads<'a> {
    match rule.map(|rule| &rule.task) {
        Some(RuleTask::Action { action, .. }) => action.value.parse().map_or(Leads::Unknown, |action| of_action(world, &action)),
        Some(RuleTask::Steps(workflow)) => Leads::Workflow(workflow),
        None => Leads::Unknown,
    }
}

fn of_step<'a>(world: &World<'a>, step: &'a syntax::WrittenStep) -> Leads<'a> {
    match &step.task {
        Some(StepTask::Action { action, .. }) => action.value.parse().map_or(Leads::Unknown, |action| of_action(world, &action)),
        Some(StepTask::Inquiry(inquiry)) => Leads::Inquiry(inquiry.answer.as_ref()),
        Some(StepTask::Wait(_)) => Leads::Wait,
        Some(StepTask::Sleep { .. }) => Leads::Sleep,
        Some(StepTask::Fail { .. }) => Leads::Fail,
        Some(StepTask::Assert { .. }) => Leads::Assert,
        None => Leads::Unknown,
    }
}

impl<'a> Reading<'_, 'a> {
    /// Finds the target of a mock; reports it if there is none.
    pub(super) fn find_mock_target(&self, written: &WithSpan<String>, root: &Root<'a>, report: &mut Report) -> Option<FoundStep<'a>> {
        match root {
            Root::Unknown => None,
            Root::Action { leads: Leads::Unknown, .. } => None,
            Root::Action { leads: Leads::Workflow(workflow), .. } => {
                self.steps(written, (String::new(), workflow), written.value.split('.'), report)
            }
            Root::Action { name, leads } if written.value == *name => {
                Some(FoundStep { path: StepPath::of(name), leads: *leads, is_cancellable: false, levels: 0 })
            }
            Root::Action { name, .. } => {
                report
                    .error(Code::UnknownStep, self.file, written.span.clone(), format!("the action has no step `{}`", written.value))
                    .did_you_mean(Some(name))
                    .hint("use the action's own name: it is not a workflow, so it has only one mock");
                None
            }
            Root::Rules(pack) => {
                let (name, rest) = written.value.split_once('.').map_or((written.value.as_str(), None), |(name, rest)| (name, Some(rest)));
                let Some(rule) = pack.rules.get(name) else {
                    let names: Vec<&str> = pack.rules.keys().map(String::as_str).collect();
                    let message = format!("`{}` does not exist: the pack `{}` has no rule `{name}`", written.value, pack.name);
                    let diagnostic = report.error(Code::UnknownStep, self.file, written.span.clone(), message);
                    diagnostic.did_you_mean(nearest(name, names.iter().copied()));
                    diagnostic.hint("in a case with events, begin the name of a mock with the rule's name: `<rule>` or `<rule>.<step>`");
                    return None;
                };
                let leads = of_rule(self.checking.world, rule.body.as_ref());
                match (rest, leads) {
                    (None, leads) => Some(FoundStep { path: StepPath::of(name), leads, is_cancellable: false, levels: 0 }),
                    (Some(rest), Leads::Workflow(workflow)) => self.steps(written, (format!("{name}."), workflow), rest.split('.'), report),
                    (Some(_), Leads::Unknown) => None,
                    (Some(_), _) => {
                        let message = format!("the action of the rule `{name}` has no steps");
                        report.error(Code::UnknownStep, self.file, written.span.clone(), message).did_you_mean(Some(name));
                        None
                    }
                }
            }
        }
    }

    /// Finds a step of the run; reports it if there is none.
    pub(super) fn step(&self, written: &WithSpan<String>, root: &Root<'a>, report: &mut Report) -> Option<FoundStep<'a>> {
        match root {
            Root::Action { leads: Leads::Workflow(workflow), .. } => {
                self.steps(written, (String::new(), workflow), written.value.split('.'), report)
            }
            Root::Unknown | Root::Rules(_) | Root::Action { leads: Leads::Unknown, .. } => None,
            Root::Action { .. } => {
                let message = format!("there is no step `{}`: the action has no steps", written.value);
                report.error(Code::UnknownStep, self.file, written.span.clone(), message).hint("remove `steps`");
                None
            }
        }
    }

    fn steps<'w>(
        &self,
        written: &'w WithSpan<String>,
        (mut before, mut workflow): (String, &'a Workflow),
        names: impl Iterator<Item = &'w str>,
        report: &mut Report,
    ) -> Option<FoundStep<'a>> {
        let mut levels = 0;
        let mut names = names.peekable();
        while let Some(name) = names.next() {
            let Some(step) = workflow.steps.iter().find(|step| step.name.value == name) else {
                let known: Vec<String> = workflow.steps.iter().map(|step| format!("{before}{}", step.name.value)).collect();
                let near = nearest(&format!("{before}{name}"), known.iter().map(String::as_str));
                let diagnostic =
                    report.error(Code::UnknownStep, self.file, written.span.clone(), format!("there is no step `{before}{name}`"));
                diagnostic.did_you_mean(near);
                if near.is_none() && known.len() <= HINT_NAMES_MAX {
                    diagnostic.hint(format!("the steps are {}", quote_names(&known)));
                }
                return None;
            };
            levels += usize::from(step.for_each.is_some()) + usize::from(step.repeat.is_some());
            let leads = of_step(self.checking.world, step);
            let is_cancellable = step.cancel_when.is_some();
            if names.peek().is_none() {
                return Some(FoundStep { path: StepPath::of(&written.value), leads, is_cancellable, levels });
            }
            before = format!("{before}{name}.");
            match leads {
                Leads::Workflow(within) => workflow = within,
                Leads::Unknown => return None,
                Leads::Action(_) | Leads::Inquiry(_) | Leads::Wait | Leads::Sleep | Leads::Fail | Leads::Assert => {
                    let message = format!("the step `{}` does not run a workflow, so it has no steps", before.trim_end_matches('.'));
                    report.error(Code::UnknownStep, self.file, written.span.clone(), message);
                    return None;
                }
            }
        }
        None
    }
}
