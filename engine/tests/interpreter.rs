//! Workflows of random shape against a slow interpreter that shares no code with the core: the same steps run, are skipped and fail,
//! whatever the order in which they end, whoever cancels, and wherever the node is restarted.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::executions::facts::FailureKind;
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::workflows::facts::PartOf;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::workflow::{StepPiece, does, fails};
use crate::support::{Pieces, Site, cancel, workers};

/// What an author writes of a step.
#[derive(Clone, Debug)]
struct Shape {
    needs: BTreeSet<usize>,
    condition: Condition,
    items: Option<Items>,
    fails: bool,
    tolerated: bool,
    cancels_others: bool,
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

/// What happens from outside.
#[derive(Clone, Debug)]
enum Happening {
    Succeeds(Index),
    Fails(Index),
    TimesOut(Index),
    SomebodyCancels,
    SomebodyCancelsOne(Index),
    Restart,
    /// The first of those that run succeeds.
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

/// A step's execution, or that of an item.
type Child = (usize, Option<u32>);

/// The slow interpreter: as the documentation says it, step by step.
struct Interpreter<'a> {
    shapes: &'a [Shape],
    status: BTreeMap<usize, Status>,
    items: BTreeMap<Child, Status>,
    /// Those that run, and whether they were asked to end.
    running: BTreeMap<Child, bool>,
    failing: bool,
    cancels: u32,
    asked: u32,
}

impl<'a> Interpreter<'a> {
    fn begin(shapes: &'a [Shape]) -> Self {
        let (status, items, running) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut all = Self { shapes, status, items, running, failing: false, cancels: 0, asked: 0 };
        for (step, shape) in shapes.iter().enumerate() {
            if shape.needs.is_empty() {
                all.consider(step);
            }
        }
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
            (Some(_), None) if shape.fails => self.end(step, Status::Failed),
            (Some(_), None) => {
                self.status.insert(step, Status::Open);
                self.run((step, None));
            }
        }
    }

    fn run(&mut self, child: Child) {
        self.running.insert(child, false);
        self.asked += 1;
    }

    fn go_on_with_items(&mut self, step: usize) {
        let shape = &self.shapes[step];
        let Some(items) = shape.items else { return };
        loop {
            let begun = self.items.keys().filter(|(of, _)| *of == step).count() as u32;
            let running = self.running.keys().filter(|(of, _)| *of == step).count() as u32;
            let of_step: Vec<Status> = self.items.iter().filter(|((of, _), _)| *of == step).map(|(_, status)| *status).collect();
            let any_failed = of_step.iter().any(|status| matches!(status, Status::Failed | Status::Cancelled));
            let stops = any_failed && items.fail_fast;
            if stops {
                self.ask_to_end(|(of, _)| *of == step);
            }
            let asks_for_always = matches!(shape.condition, Condition::Always | Condition::Either);
            let is_cancelled = self.cancels > 1 || self.cancels == 1 && !asks_for_always;
            if begun < items.count && !stops && !is_cancelled {
                if running >= items.parallel {
                    return;
                }
                if shape.fails {
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

    fn ask_to_end(&mut self, which: impl Fn(&Child) -> bool) {
        self.running.iter_mut().filter(|(child, _)| which(child)).for_each(|(_, asked)| *asked = true);
    }

    fn end(&mut self, step: usize, status: Status) {
        self.status.insert(step, status);
        let shape = &self.shapes[step];
        let is_bad = matches!(status, Status::Failed | Status::Cancelled) && !shape.tolerated;
        if is_bad && self.cancels == 0 {
            self.failing = true;
            if shape.cancels_others {
                self.ask_to_end(|(of, _)| *of != step);
            }
        }
        for dependent in 0..self.shapes.len() {
            if self.shapes[dependent].needs.contains(&step) {
                self.consider(dependent);
            }
        }
    }

    fn child_ended(&mut self, child: Child, status: Status) {
        self.running.remove(&child);
        match child {
            (step, None) => self.end(step, status),
            (step, Some(_)) => {
                self.items.insert(child, status);
                self.go_on_with_items(step);
            }
        }
    }

    fn cancel(&mut self) {
        self.cancels += 1;
        self.ask_to_end(|_| true);
    }

    /// How the whole ended.
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
}

fn name(step: usize) -> String {
    format!("s{step}")
}

fn piece(number: usize, shape: &Shape) -> StepPiece {
    let mut piece = if shape.fails { fails(&name(number), "no") } else { does(&name(number), "demo.say") };
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
    piece = if shape.tolerated { piece.tolerated() } else { piece };
    if shape.cancels_others { piece.cancels_others() } else { piece }
}

impl Subject {
    fn begin(shapes: &[Shape]) -> Self {
        let steps = shapes.iter().enumerate().map(|(number, shape)| piece(number, shape)).collect();
        let mut site = Site::with(&Pieces::default().action("demo.say").workflow_giving("demo.flow", steps, None));
        site.set(workers(1_000));
        let flow = site.run("demo.flow");
        Self { site, flow }
    }

    /// Those of its steps and items that run, and whether they were asked to end.
    fn running(&self) -> BTreeMap<Child, (ExecutionId, bool)> {
        let open = self.site.engine().executions().iter().filter_map(|(id, open)| {
            let PartOf { step, item, .. } = open.part_of.as_ref()?;
            let step = step.as_str()[1..].parse().unwrap();
            Some(((step, *item), (*id, matches!(open.phase, Phase::Cancelling(_)))))
        });
        open.collect()
    }

    fn outcome(&self) -> Option<Status> {
        let stream = format!("execution/{}", self.flow);
        self.site.records().iter().filter(|record| record.stream.to_string() == stream).find_map(|record| match &record.fact {
            Fact::ExecutionSucceeded(_) => Some(Status::Succeeded),
            Fact::ExecutionFailed(_) => Some(Status::Failed),
            Fact::ExecutionCancelled(_) => Some(Status::Cancelled),
            _ => None,
        })
    }

    /// The steps that are told to be skipped.
    fn skipped(&self) -> BTreeSet<usize> {
        let skipped = self.site.records().iter().filter_map(|record| match &record.fact {
            Fact::StepSkipped(fact) => fact.step.as_str()[1..].parse().ok(),
            _ => None,
        });
        skipped.collect()
    }
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let conditions = [
        Condition::None,
        Condition::None,
        Condition::None,
        Condition::True,
        Condition::False,
        Condition::Succeeded,
        Condition::Failed,
        Condition::Always,
        Condition::Either,
        Condition::Errs,
    ];
    let items = (0..4_u32, 1..3_u32, any::<bool>()).prop_map(|(count, parallel, fail_fast)| Items { count, parallel, fail_fast });
    let shape = (
        proptest::collection::vec(any::<Index>(), 0..3),
        proptest::sample::select(conditions.to_vec()),
        proptest::option::weighted(0.3, items),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.25),
        proptest::bool::weighted(0.2),
    );
    (proptest::collection::vec(shape, 1..9), any::<u64>()).prop_map(|(drawn, order)| {
        let count = drawn.len();
        // Each needs some of those before it; then they are written in any order.
        let mut places: Vec<usize> = (0..count).collect();
        places.sort_by_key(|place| (*place as u64 + 1).wrapping_mul(order | 1).rotate_left(17));
        let mut written = vec![None; count];
        for (number, (needs, condition, items, fails, tolerated, cancels_others)) in drawn.into_iter().enumerate() {
            let needs = if number == 0 { BTreeSet::new() } else { needs.iter().map(|index| places[index.index(number)]).collect() };
            written[places[number]] = Some(Shape { needs, condition, items, fails, tolerated, cancels_others });
        }
        written.into_iter().flatten().collect()
    })
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

fn take(happening: &Happening, subject: &mut Subject, expected: &mut Interpreter<'_>) {
    let running = subject.running();
    let pick = |index: &Index| (!running.is_empty()).then(|| *index.get(&running.iter().collect::<Vec<_>>()));
    match happening {
        Happening::GoesOn => {
            let Some((child, (execution, _))) = running.first_key_value() else { return };
            subject.site.succeed(*execution);
            expected.child_ended(*child, Status::Succeeded);
        }
        Happening::Succeeds(index) => {
            let Some((child, (execution, _))) = pick(index) else { return };
            subject.site.succeed(*execution);
            expected.child_ended(*child, Status::Succeeded);
        }
        Happening::Fails(index) | Happening::TimesOut(index) => {
            let Some((child, (execution, is_asked))) = pick(index) else { return };
            let kind = if matches!(happening, Happening::TimesOut(_)) { FailureKind::Timeout } else { FailureKind::ExitCode };
            subject.site.fail(*execution, kind);
            expected.child_ended(*child, if *is_asked { Status::Cancelled } else { Status::Failed });
        }
        Happening::SomebodyCancels => {
            if expected.outcome().is_none() && expected.cancels < 2 {
                subject.site.when(cancel(subject.flow));
                expected.cancel();
            }
        }
        Happening::SomebodyCancelsOne(index) => {
            let Some((child, (execution, _))) = pick(index) else { return };
            subject.site.when(cancel(*execution));
            expected.ask_to_end(|other| other == child);
        }
        Happening::Restart => subject.site.restart(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_workflow_goes_as_the_slow_interpreter_says(shapes in shapes(), happenings in happenings()) {
        let mut subject = Subject::begin(&shapes);
        let mut expected = Interpreter::begin(&shapes);
        // Whatever is left in the end ends by itself.
        let rest = std::iter::repeat_n(Happening::GoesOn, 200);
        for happening in happenings.into_iter().chain(rest) {
            let running: BTreeMap<Child, bool> = subject.running().into_iter().map(|(child, (_, asked))| (child, asked)).collect();
            prop_assert_eq!(&running, &expected.running);
            prop_assert_eq!(subject.outcome(), expected.outcome());
            take(&happening, &mut subject, &mut expected);
        }
        prop_assert!(subject.outcome().is_some(), "it never ends");
        let skipped = expected.status.iter().filter(|(_, status)| **status == Status::Skipped).map(|(step, _)| *step);
        prop_assert_eq!(subject.skipped(), skipped.collect::<BTreeSet<_>>());
        prop_assert_eq!(subject.site.engine().executions().iter().count(), 0);
        let asked = subject.site.records().iter().filter(|record| matches!(&record.fact, Fact::ExecutionRequested(asked) if asked.part_of.is_some()));
        prop_assert_eq!(asked.count() as u32, expected.asked);
    }
}
