//! Flow control against a slow model that looks through the whole history each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::{Acts, Control, Does, Excess, Flow};
use ensue_engine::fact::Fact;
use ensue_engine::ids::EnforcementId;
use ensue_engine::record::{Record, StreamId};
use ensue_engine::rules::facts::Outcome as Enforced;
use ensue_test_support::NOON;
use proptest::prelude::*;
use serde_json::json;

use super::{fold_log, pieces};
use crate::support::Site;
use crate::support::definitions::{flow, template};

/// All times are multiples of this: everything due fires at its moment.
const TICK: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A match with two keys, each with a few values, and of one of the triggers.
    Match(u8, u8, usize),
    Ticks(u8),
    Restart,
}

/// The history of a match: a word for each event, with its time.
type Fates = BTreeMap<EnforcementId, Vec<(u64, String)>>;

/// The triggers of the rule.
const TRIGGERS: [&str; 3] = ["demo.ping", "demo.pong", "demo.pung"];

/// A match, and where it is.
struct Item {
    id: EnforcementId,
    number: usize,
    keys: (u8, u8),
    trigger: usize,
    /// The tick at which the row began that it is in.
    row: u64,
    /// The flow control that holds it, since which step of all, and until which tick.
    held: Option<(Control, usize, u64)>,
    /// The ticks at which it passed each flow control, and the numbers of the window that it filled.
    passed: BTreeMap<Control, u64>,
    with: Vec<usize>,
}

struct Model {
    flow: Arc<Flow>,
    now: u64,
    steps: usize,
    items: Vec<Item>,
    /// When tokens were taken, by key.
    taken: Vec<(String, u64)>,
    fates: Fates,
}

impl Model {
    fn key(&self, control: Control, keys: (u8, u8)) -> String {
        let stage = self.flow.stages().iter().find(|stage| stage.does.control() == control).unwrap();
        match stage.key.as_ref().map(|key| key.source()) {
            Some("event.payload.a") => keys.0.to_string(),
            Some(_) => keys.1.to_string(),
            None => String::new(),
        }
    }

    fn add_fate(&mut self, id: EnforcementId, what: String) {
        self.fates.entry(id).or_default().push((self.now, what));
    }

    /// The other items that a flow control holds for an item's key and that are not due yet, in the order of
    /// their arrival.
    fn beside(&self, control: Control, at: usize) -> Vec<usize> {
        let key = self.key(control, self.items[at].keys);
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            if let Some((by, since, until)) = item.held
                && by == control
                && index != at
                && until > self.now
                && self.key(control, item.keys) == key
            {
                found.push((since, index));
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, index)| index).collect()
    }

    /// The row that continues for an item's key, the oldest first.
    fn row(&self, control: Control, at: usize) -> Vec<usize> {
        let key = self.key(control, self.items[at].keys);
        let mut found: Vec<(usize, usize, u64)> = Vec::new();
        for (index, item) in self.items.iter().enumerate().filter(|(index, _)| *index != at) {
            if let Some((by, since, until)) = item.held
                && by == control
                && self.key(control, item.keys) == key
            {
                found.push((since, index, until));
            }
        }
        found.sort_unstable();
        let Some((_, newest, until)) = found.last().copied() else { return Vec::new() };
        let row = self.items[newest].row;
        found.retain(|(_, index, _)| until > self.now && self.items[*index].row == row);
        found.into_iter().map(|(_, index, _)| index).collect()
    }

    fn does(&self, control: Control) -> Option<Does> {
        self.flow.stages().iter().map(|stage| stage.does.clone()).find(|does| does.control() == control)
    }

    /// The number of available tokens, in parts of the period; negative if some are promised.
    fn tokens(&self, key: &str, limit: u64, per: u64) -> i64 {
        let (full, mut parts, mut at) = ((limit * per) as i64, (limit * per) as i64, 0);
        for (_, taken) in self.taken.iter().filter(|(of, _)| of == key) {
            parts = (parts + ((taken - at) * limit) as i64).min(full) - per as i64;
            at = *taken;
        }
        (parts + ((self.now - at) * limit) as i64).min(full)
    }

    fn end(&mut self, at: usize, why: &str) {
        let id = self.items[at].id;
        self.items[at].held = None;
        self.add_fate(id, why.to_owned());
    }

    /// Sends an item through the flow controls after one; returns the result.
    fn walk(&mut self, at: usize, after: Option<Control>) -> String {
        let stages: Vec<Does> = self.flow.stages().iter().map(|stage| stage.does.clone()).collect();
        self.steps += 1;
        let mut reported = Vec::new();
        let mut place = None;
        let mut row = None;
        for does in stages.into_iter().filter(|does| after.is_none_or(|after| does.control() > after)) {
            let control = does.control();
            let key = self.key(control, self.items[at].keys);
            let hold = |until| Some((format!("held by {}", control.as_str()), Some((control, until))));
            place = match does {
                Does::Dedupe { within_millis } => {
                    let is_known = self.items.iter().any(|item| {
                        let passed = item.passed.get(&control).is_some_and(|passed| self.now < passed + within_millis / TICK);
                        passed && self.key(control, item.keys) == key
                    });
                    is_known.then(|| ("deduplicated".to_owned(), None))
                }
                Does::Throttle { limit, per_millis, excess } => {
                    let (limit, per) = (u64::from(limit), per_millis / TICK);
                    let parts = self.tokens(&key, limit, per);
                    let lacks = per as i64 - parts;
                    match excess {
                        Excess::Drop if lacks > 0 => Some(("throttled".to_owned(), None)),
                        Excess::Delay | Excess::Drop => {
                            self.taken.push((key.clone(), self.now));
                            if lacks > 0 { hold(self.now + lacks as u64 / limit) } else { None }
                        }
                    }
                }
                // Its effect depends on executions, not on matches.
                Does::Concurrency { .. } => None,
                Does::Missing { for_millis: wait } => {
                    reported.extend(self.beside(control, at).into_iter().map(|other| (other, "newer")));
                    hold(self.now + wait / TICK)
                }
                Does::Debounce { quiet_millis, most_millis, acts } => {
                    let others = self.row(control, at);
                    let began = others.first().map_or(self.now, |first| self.items[*first].row);
                    row = Some(began);
                    let quiet = self.now + quiet_millis / TICK;
                    if acts == Acts::OnLast {
                        reported.extend(others.into_iter().map(|other| (other, "newer")));
                    }
                    hold(most_millis.map_or(quiet, |most| quiet.min(began + most / TICK)))
                }
                Does::Digest { count, until_millis } => {
                    let others = self.row(control, at);
                    if others.len() + 1 < count as usize {
                        let began = others.first().map_or(self.now, |first| self.items[*first].row);
                        row = Some(began);
                        hold(began + until_millis / TICK)
                    } else {
                        self.take_along(at, others, &mut reported);
                        None
                    }
                }
                Does::Distinct { count, within_millis } => {
                    let own = self.items[at].keys.1;
                    let (equal, others): (Vec<_>, Vec<_>) =
                        self.beside(control, at).into_iter().partition(|other| self.items[*other].keys.1 == own);
                    reported.extend(equal.into_iter().map(|other| (other, "newer")));
                    if others.len() + 1 < count as usize {
                        hold(self.now + within_millis / TICK)
                    } else {
                        self.take_along(at, others, &mut reported);
                        None
                    }
                }
                Does::Each { of, within_millis } => {
                    let own = self.items[at].trigger;
                    let wanted: Vec<usize> = (0..TRIGGERS.len()).filter(|n| of.iter().any(|of| of.as_str() == TRIGGERS[*n])).collect();
                    let (equal, others): (Vec<_>, Vec<_>) =
                        self.beside(control, at).into_iter().partition(|other| self.items[*other].trigger == own);
                    let there: Vec<usize> = others.iter().map(|other| self.items[*other].trigger).chain([own]).collect();
                    if !wanted.contains(&own) {
                        None
                    } else {
                        reported.extend(equal.into_iter().map(|other| (other, "newer")));
                        if wanted.iter().all(|wanted| there.contains(wanted)) {
                            self.take_along(at, others, &mut reported);
                            None
                        } else {
                            hold(self.now + within_millis / TICK)
                        }
                    }
                }
                Does::Window { count, within_millis } => {
                    let others = self.beside(control, at);
                    if others.len() + 1 < count as usize {
                        hold(self.now + within_millis / TICK)
                    } else {
                        self.take_along(at, others, &mut reported);
                        None
                    }
                }
            };
            if place.is_some() {
                break;
            }
            let now = self.now;
            self.items[at].passed.insert(control, now);
        }
        let all: Vec<String> = self.event_numbers(at).iter().map(ToString::to_string).collect();
        let (word, held) = place.unwrap_or_else(|| (format!("executed with {}", all.join(" ")), None));
        self.items[at].held = held.map(|(by, until)| (by, self.steps, until));
        self.items[at].row = row.unwrap_or(self.now);
        if word == "throttled" {
            self.items[at].passed.remove(&Control::Dedupe);
        }
        self.add_fate(self.items[at].id, word.clone());
        reported.into_iter().for_each(|(other, why)| self.end(other, why));
        word
    }

    /// An item is acted on together with others.
    fn take_along(&mut self, at: usize, others: Vec<usize>, reported: &mut Vec<(usize, &'static str)>) {
        self.items[at].with = others.iter().map(|other| self.items[*other].number).collect();
        reported.extend(others.into_iter().map(|other| (other, "window_filled")));
    }

    /// The numbers of the events that an item is acted on with: its own is the last, unless its window has an order.
    fn event_numbers(&self, at: usize) -> Vec<usize> {
        let mut all: Vec<usize> = self.items[at].with.iter().copied().chain([self.items[at].number]).collect();
        if let Some(Does::Each { of, .. }) = self.does(Control::Window) {
            all.sort_by_key(|number| of.iter().position(|of| of.as_str() == TRIGGERS[self.items[*number].trigger]));
        }
        all
    }

    /// The newest item of a row is acted on with the others, unless the row continues.
    fn end_row(&mut self, by: Control, at: usize) {
        let (row, key) = (self.items[at].row, self.key(by, self.items[at].keys));
        let held = |index: &usize| {
            let (control, since, until) = self.items[*index].held?;
            let is_of_row = control == by && self.items[*index].row == row && self.key(by, self.items[*index].keys) == key;
            is_of_row.then_some((since, *index, until))
        };
        let mut all: Vec<_> = (0..self.items.len()).filter_map(|index| held(&index)).collect();
        all.sort_unstable();
        let is_first = all.first().is_some_and(|(_, first, _)| *first == at);
        let Some((_, newest, until)) = all.pop() else { return };
        // In a digest, only the first has a timer.
        if until > self.now || (by == Control::Window && !is_first) {
            return;
        }
        let others: Vec<usize> = all.into_iter().map(|(_, index, _)| index).collect();
        let mut reported = Vec::new();
        if !others.is_empty() {
            self.take_along(newest, others, &mut reported);
        }
        self.walk(newest, Some(by));
        reported.into_iter().for_each(|(other, why)| self.end(other, why));
    }

    /// Advances one tick: due items continue in the order of the log's ids.
    fn tick(&mut self) {
        self.now += 1;
        let due = |item: &Item| item.held.is_some_and(|(_, _, until)| until == self.now);
        let mut due: Vec<usize> = (0..self.items.len()).filter(|at| due(&self.items[*at])).collect();
        due.sort_by_key(|at| self.items[*at].id);
        let due: Vec<_> = due.into_iter().map(|at| (at, self.items[at].held)).collect();
        for (at, held) in due {
            // Another item of its row may have let it continue.
            match held.filter(|_| self.items[at].held == held) {
                Some((by @ (Control::Window | Control::Debounce), _, _)) => match self.does(by) {
                    Some(Does::Digest { .. } | Does::Debounce { acts: Acts::OnAll, .. }) => self.end_row(by, at),
                    Some(Does::Debounce { .. }) => drop(self.walk(at, Some(by))),
                    _ => self.end(at, "window_passed"),
                },
                Some((by, _, _)) => drop(self.walk(at, Some(by))),
                None => {}
            }
        }
    }
}

/// The log's history of each enforcement.
fn fates(records: &[Record]) -> Fates {
    let mut fates = Fates::new();
    let mut params: BTreeMap<String, String> = BTreeMap::new();
    for record in records {
        if let (Fact::ExecutionRequested(_), StreamId::Execution(id)) = (&record.fact, &record.stream) {
            let body: serde_json::Value = serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap();
            let numbers: Vec<String> = body["all"].as_array().unwrap().iter().map(ToString::to_string).collect();
            params.insert(id.to_string(), numbers.join(" "));
        }
    }
    for record in records {
        let StreamId::Enforcement(id) = record.stream else { continue };
        let executed = |execution: &dyn ToString| format!("executed with {}", params[&execution.to_string()]);
        let what = match &record.fact {
            Fact::EnforcementMade(made) => match &made.outcome {
                Enforced::Executed { execution } => executed(execution),
                Enforced::Held { by, .. } => format!("held by {}", by.as_str()),
                other => other.as_str().to_owned(),
            },
            Fact::EnforcementHeldOn(on) => format!("held by {}", on.by.as_str()),
            Fact::EnforcementReleased(released) => match &released.outcome {
                ensue_engine::rules::flow::facts::Release::Executed { execution } => executed(execution),
                other => format!("{other:?}"),
            },
            Fact::EnforcementSuperseded(superseded) => superseded.why.as_str().to_owned(),
            _ => continue,
        };
        fates.entry(id).or_default().push(((record.time.micros() - NOON.micros()).unsigned_abs() / 1_000 / TICK, what));
    }
    fates
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![6 => (0..3u8, 0..2u8, 0..TRIGGERS.len()).prop_map(|(a, b, trigger)| Step::Match(a, b, trigger)), 4 => (1..4u8).prop_map(Step::Ticks), 1 => Just(Step::Restart)]
}

/// Some of the five, with numbers small enough that they interact.
fn controls() -> impl Strategy<Value = Vec<(Does, &'static str)>> {
    let millis = || (1..8u64).prop_map(|ticks| ticks * TICK);
    let excess = proptest::sample::select(&[Excess::Drop, Excess::Delay][..]);
    let dedupe = millis().prop_map(|within_millis| Does::Dedupe { within_millis });
    // A token takes whole ticks.
    let throttle = (1..4u32, 1..4u64, excess).prop_map(|(limit, ticks, excess)| Does::Throttle {
        limit,
        per_millis: u64::from(limit) * ticks * TICK,
        excess,
    });
    let acts = proptest::sample::select(&[Acts::OnLast, Acts::OnAll][..]);
    let debounce = (millis(), proptest::option::of(millis()), acts).prop_map(|(quiet_millis, more, acts)| Does::Debounce {
        quiet_millis,
        most_millis: more.map(|more| quiet_millis + more),
        acts,
    });
    let of = proptest::sample::select(vec![vec![0, 1], vec![2, 0, 1], vec![1, 2]]);
    let window = (2..5u32, millis(), of, 0..4u8).prop_map(|(count, within_millis, of, kind)| match kind {
        0 => Does::Window { count, within_millis },
        1 => Does::Distinct { count: 2, within_millis },
        2 => Does::Each { of: of.iter().map(|n| TRIGGERS[*n].parse().unwrap()).collect(), within_millis },
        _ => Does::Digest { count, until_millis: within_millis },
    });
    let missing = millis().prop_map(|for_millis| Does::Missing { for_millis });
    let key = || proptest::sample::select(&["", "event.payload.a", "event.payload.b"][..]);
    let each = [dedupe.boxed(), throttle.boxed(), debounce.boxed(), window.boxed(), missing.boxed()];
    let each = each.map(|does| proptest::option::of((does, key())).boxed());
    Vec::from(each).prop_map(|controls| {
        let mut controls: Vec<(Does, &str)> = controls.into_iter().flatten().collect();
        let gathers = controls.iter().any(|(does, _)| matches!(does, Does::Debounce { acts: Acts::OnAll, .. }));
        // A rule gathers by one of the two.
        controls.retain(|(does, _)| !(gathers && does.control() == Control::Window));
        controls
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn flow_control_agrees_with_a_slow_model(controls in controls(), steps in proptest::collection::vec(step(), 1..60)) {
        let controls: Vec<(Does, &str)> = controls;
        let stages = controls.iter().map(|(does, key)| flow([(does.clone(), *key)]).unwrap().stages()[0].clone()).collect();
        let Some(flow) = Flow::new(stages).map(Arc::new) else { return Ok(()) };
        let all = if flow.gathers() { "${{ events.map(e, e.payload.n) }}" } else { "${{ [event.payload.n] }}" };
        let pieces = TRIGGERS.iter().fold(pieces([]), |pieces, trigger| pieces.trigger(trigger));
        let mut site = Site::with(&pieces.changed_rule("demo.paced", |rule| {
            rule.triggers = TRIGGERS.iter().map(|trigger| trigger.parse().unwrap()).collect();
            rule.flow = Some(flow.clone());
            rule.with = template(&json!({ "all": all }));
        }));
        let mut model = Model { flow, now: 0, steps: 0, items: Vec::new(), taken: Vec::new(), fates: Fates::new() };
        for step in &steps {
            match step {
                Step::Restart => site.restart(),
                Step::Ticks(ticks) => for _ in 0..*ticks {
                    site.after(TICK);
                    model.tick();
                },
                Step::Match(a, b, trigger) => {
                    let number = model.items.len();
                    let outcome = site.receive(TRIGGERS[*trigger], &json!({ "a": a, "b": b, "n": number }));
                    let made = outcome.records().iter().find(|record| record.kind() == "enforcement.made").unwrap();
                    let id = EnforcementId(made.id);
                    let keys = (*a, *b);
                    model.items.push(Item { id, number, keys, trigger: *trigger, row: 0, held: None, passed: BTreeMap::new(), with: Vec::new() });
                    model.walk(number, None);
                }
            }
        }
        prop_assert_eq!(fates(site.records()), model.fates);
        prop_assert_eq!(site.engine().flows().held_count(), model.items.iter().filter(|item| item.held.is_some()).count());
        prop_assert_eq!(&fold_log(&site), site.engine());
    }
}
