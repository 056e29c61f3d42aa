//! Random workflows, compared with a slow interpreter that shares no code with the core: the same steps run,
//! are skipped and fail, whatever the order in which they end, whatever is cancelled, and wherever the node
//! is restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use ensue_engine::command::{Answer, Command, ReportOutcome, Settings, TurnLimits};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::executions::state::{Execution, Phase};
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::StepName;
use ensue_engine::record::{Record, StreamId};
use ensue_engine::workflows::facts::PartOf;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use crate::support::site::{failed_outcome, report};
use crate::support::workflow::{StepPiece, does, fails};
use crate::support::{Pieces, Site, cancel, workers};

/// The definition of a step.
#[derive(Clone, Debug)]
struct Shape {
    needs: BTreeSet<usize>,
    condition: Condition,
    items: Option<Items>,
    task: Task,
    tolerated: bool,
    cancels_others: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Task {
    Runs,
    Fails,
    /// It runs an inner workflow.
    Nests,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    None,
    True,
    False,
    Succeeded,
    Failed,
    Always,
    Either,
    Errs,
}

#[derive(Clone, Copy, Debug)]
struct Items {
    count: u32,
    parallel: u32,
    fail_fast: bool,
}

/// An event from outside.
#[derive(Clone, Debug)]
enum Happening {
    Succeeds(Index),
    Fails(Index),
    TimesOut(Index),
    SomebodyCancels,
    SomebodyCancelsOne(Index),
    Restart,
    /// The first running execution succeeds.
    GoesOn,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    Open,
    Succeeded,
    Failed,
    Cancelled,
    Skipped,
}

/// The execution of a step or of an item.
type Child = (usize, Option<u32>);

/// A nested execution: the step or item of the outermost workflow, the one in its inner workflow, and so on.
type Path = Vec<Child>;

/// The slow interpreter: it follows the documentation step by step.
struct Interpreter<'a> {
    shapes: &'a [Shape],
    /// How many run at once; the others wait, oldest first.
    workers: usize,
    status: BTreeMap<usize, Status>,
    items: BTreeMap<Child, Status>,
    /// The running and waiting ones in the order of their requests, and whether they were cancelled.
    open: Vec<(Child, bool)>,
    /// Those that have a worker.
    started: BTreeSet<Child>,
    /// The inner workflows that have not ended.
    within: BTreeMap<Child, Interpreter<'a>>,
    /// The steps of which no further items start.
    stopped: BTreeSet<usize>,
    /// The steps with several items that another step's end cancelled.
    ended_by_others: BTreeSet<usize>,
    failing: bool,
    cancels: u32,
    asked: u32,
}

/// The steps of the inner workflows.
static INNER: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let shape = |needs: &[usize], condition| Shape {
        needs: needs.iter().copied().collect(),
        condition,
        items: None,
        task: Task::Runs,
        tolerated: false,
        cancels_others: false,
    };
    vec![shape(&[], Condition::None), shape(&[0], Condition::None), shape(&[1], Condition::Always)]
});

impl<'a> Interpreter<'a> {
    fn begin(shapes: &'a [Shape], workers: usize) -> Self {
        let mut all = Self {
            shapes,
            workers,
            status: BTreeMap::new(),
            items: BTreeMap::new(),
            open: Vec::new(),
            started: BTreeSet::new(),
            within: BTreeMap::new(),
            stopped: BTreeSet::new(),
            ended_by_others: BTreeSet::new(),
            failing: false,
            cancels: 0,
            asked: 0,
        };
        for (step, shape) in shapes.iter().enumerate() {
            if shape.needs.is_empty() {
                all.consider(step);
            }
        }
        all.fill();
        all
    }

    fn consider(&mut self, step: usize) {
        let shape = &self.shapes[step];
        let needed: Vec<Status> = shape.needs.iter().filter_map(|needed| self.status.get(needed).copied()).collect();
        if self.status.contains_key(&step) || needed.len() < shape.needs.len() || needed.contains(&Status::Open) {
            return;
        }
        let stands_in_no_way = |needed: &usize| match self.status[needed] {
            Status::Succeeded => true,
            Status::Failed | Status::Cancelled => self.shapes[*needed].tolerated,
            Status::Skipped | Status::Open => false,
        };
        let succeeded = shape.needs.iter().all(stands_in_no_way);
        let failed = needed.contains(&Status::Failed);
        let asks_for_always = matches!(shape.condition, Condition::Always | Condition::Either);
        let asks_for_failures = asks_for_always || shape.condition == Condition::Failed;
        let holds = match shape.condition {
            Condition::None | Condition::True | Condition::Succeeded => Some(succeeded),
            Condition::False => Some(false),
            Condition::Failed => Some(failed),
            Condition::Always => Some(true),
            Condition::Either => Some(succeeded || failed),
            Condition::Errs => {
                if succeeded {
                    None
                } else {
                    Some(false)
                }
            }
        };
        let is_cancelled = self.cancels > 1 || self.cancels == 1 && !asks_for_always;
        if is_cancelled || self.failing && !asks_for_failures || holds == Some(false) {
            return self.end(step, Status::Skipped);
        }
        match (holds, shape.items) {
            (None, _) => self.end(step, Status::Failed),
            (Some(_), Some(_)) => {
                self.status.insert(step, Status::Open);
                self.go_on_with_items(step);
            }
            (Some(_), None) if shape.task == Task::Fails => self.end(step, Status::Failed),
            (Some(_), None) => {
                self.status.insert(step, Status::Open);
                self.run((step, None));
            }
        }
    }

    fn run(&mut self, child: Child) {
        self.asked += 1;
        if self.shapes[child.0].task == Task::Nests {
            self.within.insert(child, Interpreter::begin(&INNER, self.workers));
        } else {
            self.open.push((child, false));
            self.fill();
        }
    }

    /// Assigns workers to waiting executions.
    fn fill(&mut self) {
        for (child, _) in &self.open {
            if self.started.len() < self.workers {
                self.started.insert(*child);
            }
        }
    }

    fn go_on_with_items(&mut self, step: usize) {
        let shape = &self.shapes[step];
        let Some(items) = shape.items else { return };
        loop {
            if self.status[&step] != Status::Open {
                return;
            }
            let begun = self.items.keys().filter(|(of, _)| *of == step).count() as u32;
            let of_step: Vec<Status> = self.items.iter().filter(|((of, _), _)| *of == step).map(|(_, status)| *status).collect();
            let running = of_step.iter().filter(|status| **status == Status::Open).count() as u32;
            let any_failed = of_step.iter().any(|status| matches!(status, Status::Failed | Status::Cancelled));
            if any_failed && items.fail_fast && self.stopped.insert(step) {
                self.ask_to_end(|(of, _)| *of == step, 1);
                continue;
            }
            if begun < items.count && !self.stopped.contains(&step) {
                if running >= items.parallel {
                    return;
                }
                if shape.task == Task::Fails {
                    self.items.insert((step, Some(begun)), Status::Failed);
                } else {
                    self.items.insert((step, Some(begun)), Status::Open);
                    self.run((step, Some(begun)));
                }
                continue;
            }
            if running == 0 {
                let is_whole = begun == items.count && !any_failed;
                self.end(step, if is_whole { Status::Succeeded } else { Status::Failed });
            }
            return;
        }
    }

    /// Cancels so many times; an execution that waits for a worker ends at once.
    fn ask_to_end(&mut self, which: impl Fn(&Child) -> bool, times: u32) {
        let asked = self.open.iter_mut().filter(|(child, _)| which(child));
        asked.for_each(|(_, asked)| *asked = true);
        for (_, within) in self.within.iter_mut().filter(|(child, _)| which(child)) {
            while within.cancels < times {
                within.cancel();
            }
        }
        let over: Vec<Child> =
            self.open.iter().filter(|(child, asked)| *asked && !self.started.contains(child)).map(|(child, _)| *child).collect();
        self.open.retain(|(child, _)| !over.contains(child));
        over.into_iter().for_each(|child| self.child_is_over(child, Status::Cancelled));
    }

    fn end(&mut self, step: usize, status: Status) {
        self.status.insert(step, status);
        let shape = &self.shapes[step];
        let is_bad = matches!(status, Status::Failed | Status::Cancelled) && !shape.tolerated;
        if is_bad && self.cancels == 0 {
            let is_first = !std::mem::replace(&mut self.failing, true);
            let is_of_another_end = status == Status::Cancelled || shape.items.is_some() && self.ended_by_others.contains(&step);
            if shape.cancels_others && (is_first || !is_of_another_end) {
                self.stop_all();
                self.ask_to_end(|(of, _)| *of != step, 1);
            }
        }
        for dependent in 0..self.shapes.len() {
            if self.shapes[dependent].needs.contains(&step) {
                self.consider(dependent);
            }
        }
    }

    /// No further items of the steps with several items start.
    fn stop_all(&mut self) {
        let open: Vec<usize> = self.status.iter().filter(|(_, status)| **status == Status::Open).map(|(step, _)| *step).collect();
        self.stopped.extend(&open);
        self.ended_by_others.extend(open);
    }

    fn child_is_over(&mut self, child: Child, status: Status) {
        self.started.remove(&child);
        match child {
            (step, None) => self.end(step, status),
            (step, Some(_)) => {
                self.items.insert(child, status);
                self.go_on_with_items(step);
            }
        }
    }

    /// An execution with a worker has ended.
    fn apply_end(&mut self, path: &[Child], status: Status) {
        let [child, deeper @ ..] = path else { return };
        let status = match self.within.get_mut(child) {
            None => Some(status),
            Some(within) => {
                within.apply_end(deeper, status);
                within.outcome()
            }
        };
        if let Some(status) = status {
            self.within.remove(child);
            self.open.retain(|(open, _)| open != child);
            self.child_is_over(*child, status);
        }
        self.fill();
    }

    fn cancel(&mut self) {
        self.cancels += 1;
        self.stop_all();
        let times = self.cancels;
        self.ask_to_end(|_| true, times);
        for step in 0..self.shapes.len() {
            if self.status.get(&step) == Some(&Status::Open) {
                self.go_on_with_items(step);
            }
        }
        self.fill();
    }

    fn cancel_one(&mut self, path: &[Child]) {
        match path {
            [] => {}
            [child] => self.ask_to_end(|other| other == child, 1),
            [child, deeper @ ..] => {
                if let Some(within) = self.within.get_mut(child) {
                    within.cancel_one(deeper);
                }
            }
        }
        self.fill();
    }

    /// The running executions at any depth, and whether they were cancelled.
    fn running(&self) -> BTreeMap<Path, bool> {
        let here = self.open.iter().filter(|(child, _)| self.started.contains(child)).map(|(child, asked)| (vec![*child], *asked));
        let within = self
            .within
            .iter()
            .flat_map(|(child, within)| within.running().into_iter().map(|(path, asked)| ([vec![*child], path].concat(), asked)));
        here.chain(within).collect()
    }

    /// The workflow's outcome.
    fn outcome(&self) -> Option<Status> {
        let is_over = self.status.len() == self.shapes.len() && !self.status.values().any(|status| *status == Status::Open);
        is_over.then_some(match (self.cancels, self.failing) {
            (1.., _) => Status::Cancelled,
            (0, true) => Status::Failed,
            (0, false) => Status::Succeeded,
        })
    }
}

/// The core with a workflow of these shapes.
struct Subject {
    site: Site,
    flow: ExecutionId,
    restarts: bool,
}

fn name(step: usize) -> String {
    format!("s{step}")
}

fn piece(number: usize, shape: &Shape) -> StepPiece {
    let mut piece = match shape.task {
        Task::Runs => does(&name(number), "demo.say"),
        Task::Fails => fails(&name(number), "no"),
        Task::Nests => does(&name(number), "demo.inner").with(&json!({ "text": "hello" })),
    };
    piece = piece.needing(shape.needs.iter().map(|needed| name(*needed)));
    piece = match shape.condition {
        Condition::None => piece,
        Condition::True => piece.starts_if("params.text == 'hello'"),
        Condition::False => piece.starts_if("params.text == 'other'"),
        Condition::Succeeded => piece.starts_if("succeeded()"),
        Condition::Failed => piece.starts_if("failed()"),
        Condition::Always => piece.starts_if("always()"),
        Condition::Either => piece.starts_if("always() && (succeeded() || failed())"),
        Condition::Errs => piece.starts_if("params.nothing == 1"),
    };
    if let Some(items) = shape.items {
        let list: Vec<String> = (0..items.count).map(|item| item.to_string()).collect();
        piece = piece.over(&format!("[{}]", list.join(", "))).parallel(items.parallel);
        piece = if items.fail_fast { piece.fail_fast() } else { piece };
    }
    match (shape.tolerated, shape.cancels_others) {
        (true, _) => piece.tolerate_failure(),
        (false, true) => piece.cancels_others(),
        (false, false) => piece,
    }
}

fn pieces(shapes: &[Shape]) -> Vec<StepPiece> {
    shapes.iter().enumerate().map(|(number, shape)| piece(number, shape)).collect()
}

impl Subject {
    fn begin(shapes: &[Shape], settings: Settings, restarts: bool) -> Self {
        let defined = Pieces::default().action("demo.say").workflow_giving("demo.inner", pieces(&INNER), None);
        let mut site = Site::with(&defined.workflow_giving("demo.flow", pieces(shapes), None));
        site.set(settings);
        let request = site.request("demo.flow");
        let Ok(Answer::Execution(flow)) = site.turn(request).result().clone() else { panic!("an execution was asked for") };
        let mut subject = Self { site, flow, restarts };
        subject.work_off();
        subject
    }

    /// Handles the owed reactions, with a restart before each piece.
    fn work_off(&mut self) {
        loop {
            if self.restarts {
                self.site.restart();
            }
            if self.site.serve().is_none() {
                return;
            }
        }
    }

    fn take(&mut self, command: Command) {
        self.site.turn(command);
        self.work_off();
    }

    fn report(&mut self, execution: ExecutionId, outcome: ReportOutcome) {
        let report = report(execution, self.site.attempt(execution), outcome);
        self.take(report);
    }

    /// Its running steps and items at any depth, and whether they were cancelled.
    fn running(&self) -> BTreeMap<Path, (ExecutionId, bool)> {
        let executions = self.site.engine().executions();
        let open = executions.iter().filter_map(|(id, open)| match open.phase {
            Phase::Running(_) => Some((self.path(open), (*id, false))),
            Phase::Cancelling { .. } => Some((self.path(open), (*id, true))),
            Phase::Delayed
            | Phase::Blocked
            | Phase::Queued
            | Phase::Asleep
            | Phase::Asking
            | Phase::Awaiting
            | Phase::Woken
            | Phase::InSteps { .. }
            | Phase::Withdrawn(_)
            | Phase::Indeterminate { .. }
            | Phase::Settled { .. }
            | Phase::Ending { .. } => None,
        });
        open.collect()
    }

    fn path(&self, execution: &Execution) -> Path {
        let Some(PartOf { workflow, step, item, .. }) = &execution.part_of else { return Path::new() };
        let above = self.site.engine().executions().get(workflow).map(|workflow| self.path(workflow)).unwrap_or_default();
        [above, vec![(step.as_str()[1..].parse().unwrap(), *item)]].concat()
    }

    fn outcome(&self) -> Option<Status> {
        let stream = StreamId::Execution(self.flow);
        self.site.records().iter().filter(|record| record.stream == stream).find_map(|record| match &record.fact {
            Fact::ExecutionSucceeded(_) => Some(Status::Succeeded),
            Fact::ExecutionFailed(_) => Some(Status::Failed),
            Fact::ExecutionCancelled(_) => Some(Status::Cancelled),
            _ => None,
        })
    }

    /// The steps that are recorded as skipped.
    fn skipped_steps(&self) -> BTreeSet<usize> {
        let stream = StreamId::Execution(self.flow);
        let skipped = self.site.records().iter().filter(|record| record.stream == stream).filter_map(|record| match &record.fact {
            Fact::StepSkipped(fact) => fact.step.as_str()[1..].parse().ok(),
            _ => None,
        });
        skipped.collect()
    }

    /// Whether one of its steps ended in a way that makes the workflow fail.
    fn failed_and_not_tolerated(&self, shapes: &[Shape]) -> bool {
        let counts = |step: &StepName| !shapes[step.as_str()[1..].parse::<usize>().unwrap()].tolerated;
        let of_flow = |part: &Option<PartOf>| {
            part.as_ref().is_some_and(|part| part.workflow == self.flow && part.item.is_none() && counts(&part.step))
        };
        let of_step = |record: &Record| record.stream == StreamId::Execution(self.flow);
        self.site.records().iter().any(|record| match &record.fact {
            Fact::ExecutionFailed(fact) => of_flow(&fact.part_of),
            Fact::ExecutionTimedOut(fact) => of_flow(&fact.part_of),
            Fact::ExecutionCancelled(fact) => of_flow(&fact.part_of),
            Fact::StepFailed(fact) => of_step(record) && fact.item.is_none() && counts(&fact.step),
            Fact::StepEnded(fact) => of_step(record) && fact.error.is_some() && counts(&fact.step),
            _ => false,
        })
    }

    /// The number of executions that the workflow itself requested.
    fn request_count(&self) -> usize {
        let asked = self.site.records().iter().filter(|record| {
            matches!(&record.fact, Fact::ExecutionRequested(asked) if asked.part_of.as_ref().is_some_and(|part| part.workflow == self.flow))
        });
        asked.count()
    }
}

fn shapes(tasks: Vec<Task>, conditions: Vec<Condition>) -> impl Strategy<Value = Vec<Shape>> {
    let items = (0..4_u32, 1..3_u32, any::<bool>()).prop_map(|(count, parallel, fail_fast)| Items { count, parallel, fail_fast });
    let shape = (
        proptest::collection::vec(any::<Index>(), 0..3),
        proptest::sample::select(conditions),
        proptest::option::weighted(0.3, items),
        proptest::sample::select(tasks),
        proptest::bool::weighted(0.25),
        proptest::bool::weighted(0.2),
    );
    (proptest::collection::vec(shape, 1..9), any::<u64>()).prop_map(|(drawn, order)| {
        let count = drawn.len();
        // Each needs some of those before it; then they are written in any order.
        let mut places: Vec<usize> = (0..count).collect();
        places.sort_by_key(|place| (*place as u64 + 1).wrapping_mul(order | 1).rotate_left(17));
        let mut written = vec![None; count];
        for (number, (needs, condition, items, task, tolerated, cancels_others)) in drawn.into_iter().enumerate() {
            let needs = if number == 0 { BTreeSet::new() } else { needs.iter().map(|index| places[index.index(number)]).collect() };
            written[places[number]] = Some(Shape { needs, condition, items, task, tolerated, cancels_others });
        }
        written.into_iter().flatten().collect()
    })
}

const CONDITIONS: [Condition; 9] = [
    Condition::None,
    Condition::None,
    Condition::None,
    Condition::True,
    Condition::False,
    Condition::Succeeded,
    Condition::Failed,
    Condition::Always,
    Condition::Either,
];

/// Shapes of every kind.
fn all_shapes() -> impl Strategy<Value = Vec<Shape>> {
    let tasks = [[Task::Runs; 7].as_slice(), &[Task::Fails, Task::Nests, Task::Nests]].concat();
    shapes(tasks, [CONDITIONS.as_slice(), &[Condition::Errs]].concat())
}

/// Shapes that fail only because of outside events: the consequences do not depend on the order in which they
/// are computed.
fn calm_shapes() -> impl Strategy<Value = Vec<Shape>> {
    shapes(vec![Task::Runs], CONDITIONS.to_vec())
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        10 => any::<Index>().prop_map(Happening::Succeeds),
        4 => any::<Index>().prop_map(Happening::Fails),
        1 => any::<Index>().prop_map(Happening::TimesOut),
        1 => Just(Happening::SomebodyCancels),
        1 => any::<Index>().prop_map(Happening::SomebodyCancelsOne),
        2 => Just(Happening::Restart),
    ];
    proptest::collection::vec(happening, 0..40)
}

/// Applies an event to the subject, and returns it in the interpreter's form.
fn take(happening: &Happening, subject: &mut Subject) -> Option<SubjectEvent> {
    let running = subject.running();
    let pick = |index: &Index| (!running.is_empty()).then(|| index.get(&running.iter().collect::<Vec<_>>()).to_owned());
    match happening {
        Happening::GoesOn => {
            let (path, (execution, _)) = running.first_key_value()?;
            subject.report(*execution, ReportOutcome::Succeeded);
            Some(SubjectEvent::Ended(path.clone(), Status::Succeeded))
        }
        Happening::Succeeds(index) => {
            let (path, (execution, _)) = pick(index)?;
            subject.report(*execution, ReportOutcome::Succeeded);
            Some(SubjectEvent::Ended(path.clone(), Status::Succeeded))
        }
        Happening::Fails(index) | Happening::TimesOut(index) => {
            let (path, (execution, is_asked)) = pick(index)?;
            let kind = if matches!(happening, Happening::TimesOut(_)) { FailureKind::Timeout } else { FailureKind::ExitCode };
            subject.report(*execution, failed_outcome(kind));
            Some(SubjectEvent::Ended(path.clone(), if *is_asked { Status::Cancelled } else { Status::Failed }))
        }
        Happening::SomebodyCancels => {
            let records = subject.site.records().len();
            subject.take(cancel(subject.flow));
            (subject.site.records().len() > records).then_some(SubjectEvent::Cancelled)
        }
        Happening::SomebodyCancelsOne(index) => {
            let (path, (execution, _)) = pick(index)?;
            subject.take(cancel(*execution));
            Some(SubjectEvent::CancelledOne(path.clone()))
        }
        Happening::Restart => {
            subject.site.restart();
            None
        }
    }
}

/// The event as the subject took it.
enum SubjectEvent {
    Ended(Path, Status),
    Cancelled,
    CancelledOne(Path),
}

fn goes_as_the_interpreter_says(
    mut subject: Subject,
    mut expected: Interpreter<'_>,
    happenings: Vec<Happening>,
) -> Result<(), TestCaseError> {
    // Everything that is left in the end succeeds.
    let rest = std::iter::repeat_n(Happening::GoesOn, 300);
    for happening in happenings.into_iter().chain(rest) {
        let running: BTreeMap<Path, bool> = subject.running().into_iter().map(|(path, (_, asked))| (path, asked)).collect();
        prop_assert_eq!(&running, &expected.running());
        prop_assert_eq!(subject.outcome(), expected.outcome());
        match take(&happening, &mut subject) {
            Some(SubjectEvent::Ended(path, status)) => expected.apply_end(&path, status),
            Some(SubjectEvent::Cancelled) => expected.cancel(),
            Some(SubjectEvent::CancelledOne(path)) => expected.cancel_one(&path),
            None => {}
        }
    }
    prop_assert!(subject.outcome().is_some(), "it never ends");
    let skipped = expected.status.iter().filter(|(_, status)| **status == Status::Skipped).map(|(step, _)| *step);
    prop_assert_eq!(subject.skipped_steps(), skipped.collect::<BTreeSet<_>>());
    prop_assert_eq!(subject.site.engine().executions().iter().count(), 0);
    prop_assert_eq!(subject.request_count() as u32, expected.asked);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn workflow_agrees_with_the_slow_interpreter(shapes in all_shapes(), happenings in happenings()) {
        let subject = Subject::begin(&shapes, workers(1_000), false);
        goes_as_the_interpreter_says(subject, Interpreter::begin(&shapes, 1_000), happenings)?;
    }

    #[test]
    fn workflow_agrees_with_the_interpreter_with_few_workers(shapes in calm_shapes(), happenings in happenings(), number in 1..4_u32) {
        let subject = Subject::begin(&shapes, workers(number), false);
        goes_as_the_interpreter_says(subject, Interpreter::begin(&shapes, number as usize), happenings)?;
    }

    #[test]
    fn workflow_agrees_with_the_interpreter_with_small_turns_and_restarts(
        shapes in calm_shapes(), happenings in happenings(), drafts in 2..10_usize, restarts in any::<bool>(),
    ) {
        let turn = TurnLimits { drafts, ..TurnLimits::default() };
        let subject = Subject::begin(&shapes, Settings { turn, ..workers(1_000) }, restarts);
        goes_as_the_interpreter_says(subject, Interpreter::begin(&shapes, 1_000), happenings)?;
    }

    #[test]
    fn workflow_always_ends_and_fails_if_and_only_if_a_step_failed(
        shapes in all_shapes(), happenings in happenings(), drafts in 2..10_usize, number in 1..4_u32,
    ) {
        let turn = TurnLimits { drafts, ..TurnLimits::default() };
        let mut subject = Subject::begin(&shapes, Settings { turn, ..workers(number) }, true);
        for happening in happenings.iter().chain(&vec![Happening::GoesOn; 300]) {
            take(happening, &mut subject);
        }
        prop_assert_eq!(subject.site.engine().executions().iter().count(), 0);
        let failed = subject.failed_and_not_tolerated(&shapes);
        prop_assert!(subject.outcome() != Some(Status::Succeeded) || !failed);
        prop_assert!(subject.outcome() != Some(Status::Failed) || failed);
    }
}
