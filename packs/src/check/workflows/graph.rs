//! The graph of a workflow's steps: resolved names, reported circles, and the steps that have surely ended
//! when another one starts.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use ensue_engine::catalog::ENOUGH_OF_MAX;
use ensue_expression::nearest;

use crate::diagnostics::{Code, Report};
use crate::fields::quote_names;
use crate::source::SourceText;
use crate::syntax::WrittenStep;

/// The most steps whose names a message lists.
const NAMES_MAX: usize = 12;
/// The most misspelled names that are compared with all others. A file with more has a different problem.
const NEAREST_MAX: usize = 32;

/// The steps of a workflow by name, and what each needs.
pub(super) struct Graph<'a> {
    steps: &'a [WrittenStep],
    places: BTreeMap<&'a str, usize>,
    /// The indexes of the steps that each step needs, as far as they exist.
    needs: Vec<Vec<usize>>,
    /// The indexes in an order in which each step comes after the steps it needs. Steps in a circle, and
    /// those after one, are missing.
    order: Vec<usize>,
    /// Whether every `needs` was valid. If not, the steps that a step waits for are unknown.
    pub(super) is_whole: bool,
    before: OnceCell<Vec<Places>>,
    compared: usize,
}

/// A set of indexes.
#[derive(Clone)]
struct Places(Vec<u64>);

impl Places {
    fn none(of: usize) -> Self {
        Self(vec![0; of.div_ceil(64)])
    }

    fn add(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn add_all(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(word, other)| *word |= other);
    }

    fn has(&self, place: usize) -> bool {
        self.0[place / 64] & (1 << (place % 64)) != 0
    }
}

/// In how many of several sets each index is. The sums of 64 indexes are added at once: each plane holds one binary
/// digit of them.
struct Sums([Places; SUM_DIGITS]);

/// The digits of a sum; an index is in at most `ENOUGH_OF_MAX` sets.
const SUM_DIGITS: usize = (usize::BITS - ENOUGH_OF_MAX.leading_zeros()) as usize;

impl Sums {
    /// Returns the sums of no sets; `none` is an empty one.
    fn of(none: &Places) -> Self {
        Self(std::array::from_fn(|_| none.clone()))
    }

    fn add(&mut self, set: &Places) {
        for (word, bits) in set.0.iter().enumerate() {
            let mut carried = *bits;
            for plane in &mut self.0 {
                let digit = &mut plane.0[word];
                (*digit, carried) = (*digit ^ carried, *digit & carried);
            }
        }
    }

    /// Returns the indexes that are in at least so many of the sets.
    fn at_least(&self, least: usize) -> Places {
        let words = 0..self.0[0].0.len();
        let at_least = |word: usize| {
            let (mut more, mut equal) = (0, u64::MAX);
            for (digit, plane) in self.0.iter().enumerate().rev() {
                let bits = plane.0[word];
                if least >> digit & 1 == 1 {
                    equal &= bits;
                } else {
                    more |= equal & bits;
                    equal &= !bits;
                }
            }
            more | equal
        };
        Places(words.map(at_least).collect())
    }
}

impl<'a> Graph<'a> {
    /// Resolves the needs of each step; reports unknown steps and circles.
    pub(super) fn of(steps: &'a [WrittenStep], file: &SourceText, report: &mut Report) -> Self {
        let mut graph = Self {
            steps,
            places: steps.iter().enumerate().map(|(place, step)| (step.name.value.as_str(), place)).collect(),
            needs: Vec::with_capacity(steps.len()),
            order: Vec::with_capacity(steps.len()),
            is_whole: steps.iter().all(|step| step.needs.is_some()),
            before: OnceCell::new(),
            compared: 0,
        };
        for (place, step) in steps.iter().enumerate() {
            let mut needs = Vec::new();
            for needed in step.needs.iter().flatten() {
                match graph.place(&needed.value) {
                    Some(other) if other == place => {
                        graph.is_whole = false;
                        report
                            .error(Code::StepCycle, file, needed.span.clone(), format!("the step `{}` needs itself", step.name.value))
                            .hint("remove it: a step starts when all steps that it needs have ended");
                    }
                    Some(other) => needs.push(other),
                    None => {
                        graph.is_whole = false;
                        graph.report_unknown(&needed.value, needed.span.clone(), file, report);
                    }
                }
            }
            graph.needs.push(needs);
        }
        let open = graph.arrange();
        if graph.order.len() < steps.len() {
            graph.is_whole = false;
            graph.report_circles(&open, file, report);
        }
        graph
    }

    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// Returns the indexes of the steps that a step needs directly.
    pub(super) fn needs(&self, place: usize) -> &[usize] {
        &self.needs[place]
    }

    /// Returns the indexes in an order in which each step comes after the steps it needs. Steps in a circle,
    /// and those after one, are missing.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Returns true if a step has surely ended when another one starts.
    pub(super) fn is_before(&self, earlier: usize, later: usize) -> bool {
        // Most steps read only those that they need directly.
        self.needs[later].contains(&earlier) || self.before.get_or_init(|| self.all_before())[later].has(earlier)
    }

    /// Reports an unknown step.
    pub(super) fn report_unknown(&mut self, name: &str, span: std::ops::Range<usize>, file: &SourceText, report: &mut Report) {
        self.compared += 1;
        let names = || self.steps.iter().map(|step| step.name.value.as_str());
        let near = if self.compared > NEAREST_MAX { None } else { nearest(name, names()) };
        let diagnostic = report.error(Code::UnknownStep, file, span, format!("there is no step `{name}`"));
        diagnostic.did_you_mean(near);
        if near.is_none() {
            let first: Vec<&str> = names().take(NAMES_MAX).collect();
            let more = if self.steps.len() > NAMES_MAX { ", …" } else { "" };
            diagnostic.hint(format!("the steps are {}{more}", quote_names(&first)));
        }
    }

    /// Orders the steps. Returns for each how many of the steps it needs are not in the order.
    fn arrange(&mut self) -> Vec<usize> {
        let mut open: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); self.steps.len()];
        for (place, needs) in self.needs.iter().enumerate() {
            for needed in needs {
                dependents[*needed].push(place);
            }
        }
        let mut free: Vec<usize> = (0..self.steps.len()).filter(|place| open[*place] == 0).collect();
        while let Some(place) = free.pop() {
            self.order.push(place);
            for dependent in &dependents[place] {
                open[*dependent] -= 1;
                if open[*dependent] == 0 {
                    free.push(*dependent);
                }
            }
        }
        open
    }

    /// Reports each circle once: a step that is not in the order needs another one that is not.
    fn report_circles(&self, open: &[usize], file: &SourceText, report: &mut Report) {
        let mut seen_from: Vec<Option<usize>> = vec![None; self.steps.len()];
        for start in 0..self.steps.len() {
            let mut way = Vec::new();
            let mut at = start;
            while open[at] > 0 && seen_from[at].is_none() {
                seen_from[at] = Some(start);
                way.push(at);
                let Some(next) = self.needs[at].iter().copied().find(|needed| open[*needed] > 0) else { break };
                at = next;
            }
            if seen_from[at] == Some(start)
                && let Some(first) = way.iter().position(|place| *place == at)
            {
                self.report_circle(&way[first..], file, report);
            }
        }
    }

    fn report_circle(&self, circle: &[usize], file: &SourceText, report: &mut Report) {
        // It is reported where its first step in the file needs the next.
        let first = circle.iter().enumerate().min_by_key(|(_, place)| **place).map_or(0, |(at, _)| at);
        let place = |at: usize| circle[(first + at) % circle.len()];
        let name = |at: usize| self.steps[place(at)].name.value.as_str();
        let next = name(1);
        let span = self.steps[place(0)].needs.iter().flatten().find(|needed| needed.value == next).map(|needed| needed.span.clone());
        let mut names: Vec<String> = (0..circle.len().min(NAMES_MAX)).map(|at| format!("`{}`", name(at))).collect();
        if circle.len() > NAMES_MAX {
            names.push("…".to_owned());
        }
        names.push(format!("`{}`", name(0)));
        report
            .error(Code::StepCycle, file, span.unwrap_or(0..0), format!("steps need each other in a circle: {}", names.join(" → ")))
            .hint("remove one of them from the `needs` of another: each would wait for all others");
    }

    /// Returns the steps of which some are enough for a step and that neither are another step nor come after it.
    pub(super) fn enough_without(&self, other: usize, place: usize) -> impl Iterator<Item = usize> {
        self.needs[place].iter().copied().filter(move |needed| *needed != other && !self.is_before(other, *needed))
    }

    /// Finds for each step all steps that have ended before it starts.
    fn all_before(&self) -> Vec<Places> {
        let none = Places::none(self.steps.len());
        let mut before = vec![none.clone(); self.steps.len()];
        // The steps that have ended once a step has: it may have been skipped.
        let mut ended = vec![none.clone(); self.steps.len()];
        for &place in &self.order {
            let (needs, step) = (&self.needs[place], &self.steps[place]);
            let (at_start, at_end) = match &step.enough {
                None => {
                    let mut all = none.clone();
                    needs.iter().for_each(|needed| all.add_all(&ended[*needed]));
                    (all.clone(), all)
                }
                Some(enough) => {
                    // At the start, `count` of the steps have ended: whatever precedes more of them than can be missing has
                    // ended too. A skip needs so many other ends that fewer than `count` can follow, and an `if` may be
                    // evaluated then as well.
                    let count = usize::try_from(enough.count).unwrap_or(usize::MAX).clamp(1, needs.len().max(1));
                    let (for_start, for_skip) = ((needs.len() + 1).saturating_sub(count), count);
                    let mut sums = Sums::of(&none);
                    needs.iter().for_each(|needed| sums.add(&ended[*needed]));
                    let either = sums.at_least(for_start.max(for_skip));
                    (if step.condition.is_none() { sums.at_least(for_start) } else { either.clone() }, either)
                }
            };
            before[place] = at_start;
            ended[place] = at_end;
            ended[place].add(place);
        }
        before
    }
}
