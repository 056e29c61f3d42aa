//! I27: the effect of a rule's flow control on each match, in the order of the log and by elapsed time; a
//! held match ends once.
//!
//! A slow reference implementation that shares nothing with the engine: it keeps for each rule everything
//! that can still affect later matches.

mod reference;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::flow::{Does, Stage};
use crate::oracle::in_force::InForce;
use crate::oracle::records::{Raw, micros};
use crate::oracle::{Ledger, Violation, demand};
use crate::pack::{Doing, WrittenRule};
use crate::sometimes;
use crate::timeline::Counts;
use reference::{FlowOutcome, HeldMatch, Keys, OfRule, key_of, keys};

/// How long after its time a held match may be released, in microseconds in which a node could write.
const END_MICROS: u64 = 10_000_000;

/// An event and the modes at its arrival.
struct Came<'r> {
    record: &'r Raw,
    modes: BTreeMap<String, String>,
}

/// The state of the flow control of all rules, up to the current record.
#[derive(Default)]
struct Book<'w> {
    in_force: InForce<'w>,
    /// The sum of all clock steps, in microseconds.
    stepped: i64,
    events: BTreeMap<&'w str, Came<'w>>,
    /// By rule id.
    rules: BTreeMap<&'w str, OfRule<'w>>,
    /// The enforcements that must be superseded by another before the batch ends, with the reason.
    due: BTreeMap<(String, &'w str), &'static str>,
    /// The open executions by their rule's lock: its name and the key.
    open: BTreeMap<(&'w str, String), BTreeSet<&'w str>>,
    /// The lock of an open execution.
    locks: BTreeMap<&'w str, (&'w str, String)>,
    /// The lock that an execution has or had.
    had: BTreeMap<&'w str, (&'w str, String)>,
    /// The locks of enforcements.
    claimed: BTreeMap<&'w str, (&'w str, String)>,
    /// The executions named by enforcements, until they are requested.
    promised: BTreeMap<&'w str, u64>,
    fired: BTreeSet<(&'w str, u64)>,
    /// All enforcements that were ever held.
    ever_held: BTreeSet<&'w str>,
    /// Owed reactions.
    owed: BTreeSet<u64>,
    /// The current limits of keys per flow control and of held matches, and the highest that ever applied.
    most: (usize, usize),
    /// The current epoch, and since when.
    epoch: (u64, u64),
    /// The newest record.
    newest: Option<&'w Raw>,
}

pub(super) fn check<'w>(records: &'w [Raw], ledger: &Ledger<'w>) -> Result<(), Violation> {
    let mut book = Book::default();
    for (place, record) in records.iter().enumerate() {
        book.note(record, ledger)?;
        book.in_force.note(record, ledger)?;
        if records.get(place + 1).is_none_or(|next| next.batch != record.batch) {
            book.end_batch(record)?;
        }
    }
    book.end(ledger)
}

/// Returns the name and the details of an outcome.
fn outcome(record: &Raw) -> (&str, Option<&Value>) {
    match record.said.get("outcome") {
        Some(Value::String(word)) => (word, None),
        Some(Value::Object(fields)) => fields.iter().next().map_or(("", None), |(word, says)| (word, Some(says))),
        _ => ("", None),
    }
}

fn text<'v>(says: Option<&'v Value>, field: &str) -> &'v str {
    says.and_then(|says| says.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// Returns true if a rule's action cannot run for an event.
fn is_impossible(rule: &WrittenRule, payload: &Value) -> bool {
    rule.doing == Doing::Echo && payload.get("n").is_none()
}

fn gathers(rule: &WrittenRule) -> bool {
    rule.flow.iter().any(|stage| stage.does.gathers())
}

impl<'w> Book<'w> {
    /// Returns the elapsed time at a record.
    fn elapsed(&self, record: &Raw) -> i64 {
        record.micros() - self.stepped
    }

    fn note(&mut self, record: &'w Raw, ledger: &Ledger<'w>) -> Result<(), Violation> {
        if self.epoch.0 != record.epoch {
            self.epoch = (record.epoch, ledger.ground.committed_at(record.position).unwrap_or(0));
        }
        self.newest = Some(record);
        self.stepped += record.clock_step_micros();
        if let Some(operated) = ledger.ground.operated_at(record.epoch) {
            let most = operated.flow_keys_max();
            self.most = (most, most.max(self.most.1));
        }
        match record.kind.as_str() {
            "reaction.deferred" | "reaction.parked" | "reaction.retried" | "reaction.held" => drop(self.owed.insert(record.number("of"))),
            "reaction.resumed" | "reaction.dismissed" => drop(self.owed.remove(&record.number("of"))),
            "event.received" => {
                let id = record.stream.strip_prefix("event/").unwrap_or_default();
                self.events.insert(id, Came { record, modes: self.in_force.modes.clone() });
            }
            "enforcement.made" => self.check_enforcement(record)?,
            "enforcement.held_on" | "enforcement.released" => self.releases(record)?,
            "enforcement.superseded" => self.check_superseded(record)?,
            "rule.flow_ended" => self.check_flow_end(record)?,
            "rule.key_forgotten" => {
                let (now, at, most) = (self.elapsed(record), record.position, self.most.0);
                let of = self.rules.get_mut(record.text("rule_id"));
                let forgotten = of.and_then(|of| of.forget((record.text("control"), record.text("key")), most, now));
                demand!(
                    forgotten.is_some(),
                    "I27",
                    "a key is forgotten at {at} that is not the least recently used, or although there were few: {}",
                    record.said
                );
                sometimes!("a rule knew too many keys, and forgot the one that was used longest ago");
            }
            "timer.set" | "timer.fired" if record.stream.starts_with("enforcement/") => self.timer(record, ledger)?,
            "execution.requested" => self.check_request(record)?,
            "execution.succeeded" | "execution.failed" | "execution.timed_out" | "execution.cancelled" => {
                let id = record.stream.strip_prefix("execution/").unwrap_or_default();
                if let Some(open) = self.locks.remove(id).and_then(|lock| self.open.get_mut(&lock)) {
                    open.remove(id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns why a rule's flow control has changed, or `None` if it has not.
    fn why_outdated(&self, name: &str, id: &str, flow: &[Stage]) -> Option<&'static str> {
        let now = self.in_force.now();
        let Some(rule) = now.rule(name, id) else { return Some("removed") };
        // A lock is not part of it; but a rule without any flow control differs from a rule with only a lock.
        let kept = |flow: &[Stage]| flow.iter().filter(|stage| !matches!(stage.does, Does::Concurrency(..))).copied().collect::<Vec<_>>();
        if rule.flow.is_empty() || kept(&rule.flow) != kept(flow) {
            return Some("changed");
        }
        let mode = self.in_force.modes.get(id).map_or(rule.mode.as_str(), String::as_str);
        (mode == "disabled").then_some("disabled")
    }

    /// Handles a rule's enforcement of an event.
    fn check_enforcement(&mut self, record: &'w Raw) -> Result<(), Violation> {
        let (at, name, rule_id) = (record.position, record.text("rule"), record.text("rule_id"));
        let Some(came) = self.events.get(record.text("event")) else { return Ok(()) };
        let event = came.record;
        let Some(rule) = self.in_force.revision(record.number("catalog")).rule(name, rule_id) else { return Ok(()) };
        if rule.flow.is_empty() {
            return Ok(());
        }
        let mode = came.modes.get(rule_id).map_or(rule.mode.as_str(), String::as_str);
        let is_shadow = mode == "shadow";
        let payload = event.newest_payload()?;
        let (given, says) = outcome(record);
        let is = |expected: &str, why: &str| {
            let what = format!("{name} {given} at {at} on the event at {}; it should have {expected}: {why}", event.position);
            if given == expected { Ok(()) } else { Err(Violation::new("I27", what)) }
        };
        let Some(keys) = keys(&rule.flow, event.text("trigger"), &payload) else { return is("rejected", "a match has no key") };
        if !gathers(rule) && is_impossible(rule, &payload) {
            return is("rejected", "it cannot be run");
        }
        if let Some(why) = self.why_outdated(name, rule_id, &rule.flow) {
            sometimes!("a match was worked on after its rule's flow control had gone");
            let holds = rule.flow.iter().any(|stage| reference::holds(stage.does));
            return match (is_shadow, holds) {
                (true, _) => is("shadowed", why),
                (false, true) => is("rejected", why),
                (false, false) => self.runs(record, (rule, &keys), given, "it was changed meanwhile"),
            };
        }
        let now = self.elapsed(record);
        let id = record.id.as_str();
        let of = self.rules.entry(rule_id).or_insert_with(|| OfRule::new(name, rule));
        demand!(of.is_of(rule), "I27", "{name} judges at {at} with another flow control than the one of the kept matches");
        let (way, superseded) = of.walk((rule, 0), &keys, (now, at), id, self.most.0);
        of.call(record, &keys);
        // A flow control without state has nothing that could end.
        let keeps = of.keeps() || matches!(way, FlowOutcome::Held { .. });
        if !keeps {
            self.rules.remove(rule_id);
        }
        for (other, why) in superseded {
            self.due.insert((other, id), why);
        }
        match way {
            FlowOutcome::Deduplicated(first) => {
                sometimes!("a match repeated another");
                is("deduplicated", "it repeats another")?;
                demand!(text(says, "of") == first, "I27", "{name} at {at} says that it repeats {:?}, and it repeats {first}", says);
            }
            FlowOutcome::Throttled => {
                sometimes!("a match was more than a throttle lets through");
                is("throttled", "there are too many")?;
            }
            FlowOutcome::Held { stage, until, began, waits_for_first } => {
                is("held", "a flow control holds it")?;
                self.holds(record, (stage, until), says)?;
                self.ever_held.insert(id);
                let held =
                    HeldMatch { rule, keys, stage, until, began, since: record, number: 1, has_timer: waits_for_first, fired: None, event };
                self.rules.get_mut(rule_id).expect("it was just looked at").hold(id, held);
            }
            FlowOutcome::Through => {
                sometimes!(gathers(rule), "a window was filled");
                sometimes!(rule.flow.iter().any(|stage| matches!(stage.does, Does::Each(_))), "a window of two triggers was filled");
                match (is_impossible(rule, &payload), is_shadow) {
                    (true, _) => is("rejected", "it cannot be run")?,
                    (false, true) => is("shadowed", "it only watches")?,
                    (false, false) => self.runs(record, (rule, &keys), given, "it went through")?,
                }
            }
        }
        Ok(())
    }

    /// Checks which flow control holds a match, and until when.
    fn holds(&self, record: &Raw, (stage, until): (Stage, i64), says: Option<&Value>) -> Result<(), Violation> {
        let (by, given) = (text(says, "by"), micros(text(says, "until")) - self.stepped);
        let (at, word) = (record.position, stage.does.word());
        demand!(by == word, "I27", "a match is held by {by} at {at}; it should be by {word}");
        demand!(given == until, "I27", "a match is held at {at} until {given} µs have passed; it should be until {until} µs have");
        sometimes!(matches!(stage.does, Does::Throttle(..)), "a match was delayed by a throttle");
        Ok(())
    }

    /// Handles a match that runs: it requests an execution unless the maximum number of its rule's executions
    /// is open.
    fn runs(&mut self, record: &'w Raw, (rule, keys): (&WrittenRule, &Keys), given: &str, why: &str) -> Result<(), Violation> {
        let (at, name) = (record.position, record.text("rule"));
        let lock = rule.flow.iter().find_map(|stage| match stage.does {
            Does::Concurrency(limit, conflict) => Some((limit as usize, conflict, key_of(keys, stage))),
            _ => None,
        });
        let mut expected = "executed";
        if let Some((limit, conflict, key)) = lock {
            let lock = (name, key);
            let open = self.open.get(&lock).map_or(0, BTreeSet::len);
            if conflict == "skip" && open >= limit {
                sometimes!("a match was skipped because of its rule's lock");
                expected = "skipped";
            } else {
                let id = record.stream.strip_prefix("enforcement/").unwrap_or_default();
                self.claimed.insert(id, lock);
            }
        }
        demand!(given == expected, "I27", "{name} {given} at {at}; it should have {expected}: {why}");
        if expected == "executed" {
            let execution = text(outcome(record).1, "execution");
            self.promised.insert(execution, at);
        }
        Ok(())
    }

    fn check_request(&mut self, record: &'w Raw) -> Result<(), Violation> {
        let id = record.stream.strip_prefix("execution/").unwrap_or_default();
        let is_promised = self.promised.remove(id).is_some();
        let of_held = record.said.get("enforcement").and_then(Value::as_str).filter(|of| self.ever_held.contains(of));
        let is_other = record.said.get("rerun_of").is_some() || record.said.get("part_of").is_some();
        demand!(
            is_promised || is_other || of_held.is_none(),
            "I27",
            "{id} is requested at {} by a match that is held, or was dropped",
            record.position
        );
        let owner = record.said.pointer("/locks/0/owner/rule").and_then(Value::as_str);
        let lock = match (record.said.get("rerun_of").and_then(Value::as_str), record.said.get("enforcement").and_then(Value::as_str)) {
            // A rerun needs the lock that it had, if its rule has one now.
            (Some(of), _) => self.had.get(of).filter(|(name, _)| owner == Some(name)).cloned(),
            (None, of) => of.and_then(|of| self.claimed.remove(of)),
        };
        if let Some(lock) = lock.filter(|_| record.said.get("part_of").is_none()) {
            self.open.entry(lock.clone()).or_default().insert(id);
            self.had.insert(id, lock.clone());
            self.locks.insert(id, lock);
        }
        Ok(())
    }

    /// A flow control releases a held match at its time, once, and not before.
    fn timer(&mut self, record: &'w Raw, ledger: &Ledger<'_>) -> Result<(), Violation> {
        let (at, id, number) = (record.position, record.stream.strip_prefix("enforcement/").unwrap_or_default(), record.number("number"));
        let now = self.elapsed(record);
        let came = ledger.ground.committed_at(at);
        let (modes, epoch) = (&self.in_force.modes, self.epoch);
        let held = self.rules.values_mut().flat_map(|of| &mut of.held).find(|(held, _)| *held == id).map(|(_, held)| held);
        let is_set = record.kind == "timer.set";
        if !is_set {
            demand!(self.fired.insert((id, number)), "I21", "the {number}th timer of enforcement {id} fires again at {at}");
        }
        let Some(held) = held.filter(|held| held.number == number) else {
            demand!(!is_set, "I27", "a timer is set at {at} for enforcement {id}, which is not held so");
            return Ok(());
        };
        if is_set {
            let due = micros(record.text("due")) - self.stepped;
            demand!(
                due == held.until,
                "I27",
                "enforcement {id} is held until {} µs have passed; its timer at {at} is for {due}",
                held.until
            );
            demand!(!held.has_timer, "I27", "a timer is set at {at} for enforcement {id}, which waits for that of another match");
            held.has_timer = true;
            return Ok(());
        }
        demand!(
            now >= held.until,
            "I21",
            "enforcement {id} is held until {} µs have passed, but it is released at {at}, after {now}",
            held.until
        );
        let (until, mode) = (held.until, modes.get(held.since.text("rule_id")).cloned());
        // The newest match of a row is acted on, once it is due.
        let of_row = held.clone();
        let newest = if of_row.stage.does.has_rows() {
            let row = self.rules.values().map(|of| of.row_of(&of_row)).find(|row| row.iter().any(|(held, _)| *held == id));
            row.and_then(|row| row.last().copied()).filter(|(_, due)| *due <= until).map(|(newest, _)| newest)
        } else {
            Some(id)
        };
        let acted_on = self.rules.values_mut().flat_map(|of| &mut of.held).find(|(held, _)| newest == Some(*held));
        if let Some((_, held)) = acted_on {
            held.fired = Some((at, mode));
        }
        let Some(came) = came else { return Ok(()) };
        let due = due(until, (now, came), epoch, ledger);
        demand!(
            due.is_none_or(|due| came <= due),
            "I27",
            "enforcement {id} was due for release by {due:?} µs, and was released at {at}, at {came} µs"
        );
        Ok(())
    }

    /// Handles the release of a held match: to the next flow control, or to run.
    fn releases(&mut self, record: &'w Raw) -> Result<(), Violation> {
        let (at, id) = (record.position, record.stream.strip_prefix("enforcement/").unwrap_or_default());
        let now = self.elapsed(record);
        let (name, rule_id) = (record.text("rule"), record.text("rule_id"));
        let Some(of) = self.rules.get_mut(rule_id) else {
            return Err(Violation::new("I27", format!("enforcement {id} is released at {at}, and {name} holds none")));
        };
        let Some(held) = of.take(id) else {
            return Err(Violation::new("I27", format!("enforcement {id} is released at {at}, and is not held")));
        };
        let Some((_, mode)) = held.fired.clone() else {
            return Err(Violation::new("I27", format!("enforcement {id} is released at {at} before its time")));
        };
        let passes = matches!(held.stage.does, Does::Window(..) | Does::Distinct(..) | Does::Each(_));
        demand!(!passes, "I27", "enforcement {id} is released at {at} by a window that has passed");
        if held.stage.does.has_rows() {
            let others: Vec<&str> = of.row_of(&held).into_iter().map(|(other, _)| other).collect();
            sometimes!(!others.is_empty() && matches!(held.stage.does, Does::Digest(..)), "a digest was acted on after its time");
            sometimes!(!others.is_empty() && matches!(held.stage.does, Does::Debounce(..)), "a debounce acted on several matches");
            for other in others {
                of.take(other);
                self.due.insert((other.to_owned(), id), "window_filled");
            }
        }
        let is_at_limit = matches!(held.stage.does, Does::Debounce(_, Some(most), _) if held.until == held.began + most as i64 * 1_000);
        sometimes!(is_at_limit, "a debounce reached its limit");
        let (way, superseded) = of.walk((held.rule, of.after(&held)), &held.keys, (now, at), id, self.most.0);
        for (other, why) in superseded {
            self.due.insert((other, id), why);
        }
        let ended = self.why_outdated(name, rule_id, &held.rule.flow);
        demand!(ended.is_none(), "I27", "enforcement {id} is released at {at}, and the flow control of {name} was {ended:?}");
        sometimes!(matches!(held.stage.does, Does::Missing(_)), "nothing followed a match for long enough to act on it");
        sometimes!(matches!(held.stage.does, Does::Debounce(..)), "after a quiet time, the last match was acted on");
        sometimes!(held.since.epoch != record.epoch, "a match was held over a restart");
        if let FlowOutcome::Held { stage, until, began, waits_for_first } = way {
            demand!(record.kind == "enforcement.held_on", "I27", "enforcement {id} is acted on at {at}, but {stage} had to hold it");
            sometimes!("a match was held by one flow control after the other");
            self.holds(record, (stage, until), Some(&record.said))?;
            let number = held.number + 1;
            let held = HeldMatch { stage, until, began, since: record, number, has_timer: waits_for_first, fired: None, ..held };
            self.rules.get_mut(rule_id).expect("it was just looked at").hold(id, held);
            return Ok(());
        }
        demand!(record.kind == "enforcement.released", "I27", "enforcement {id} is held on at {at}, but nothing had to hold it");
        let present = self.in_force.now().rule(name, rule_id).map_or("", |rule| rule.mode.as_str());
        let is_shadow = mode.as_deref().unwrap_or(present) == "shadow";
        let (given, _) = outcome(record);
        match (is_impossible(held.rule, &held.event.newest_payload()?), is_shadow) {
            (true, _) => demand!(given == "rejected", "I27", "enforcement {id} is {given} at {at}, and cannot be run"),
            (false, true) => demand!(given == "shadowed", "I27", "enforcement {id} is {given} at {at}, and its rule only watches"),
            (false, false) => self.runs(record, (held.rule, &held.keys), given, "it was released")?,
        }
        Ok(())
    }

    /// Handles a held match that is superseded.
    fn check_superseded(&mut self, record: &'w Raw) -> Result<(), Violation> {
        let (at, id) = (record.position, record.stream.strip_prefix("enforcement/").unwrap_or_default());
        let (why, name, rule_id) = (record.text("why"), record.text("rule"), record.text("rule_id"));
        if let Some(by) = record.said.get("by").and_then(Value::as_str) {
            let expected = self.due.remove(&(id.to_owned(), by));
            demand!(expected == Some(why), "I27", "enforcement {id} is superseded at {at} by {by}: {why}; it should be: {expected:?}");
            sometimes!(why == "newer", "a newer match took the place of one that was held");
            sometimes!(why == "crowded_out", "a rule held too many matches, and released the oldest");
            return Ok(());
        }
        let Some(held) = self.rules.get_mut(rule_id).and_then(|of| of.take(id)) else {
            return Err(Violation::new("I27", format!("enforcement {id} is superseded at {at} ({why}), and is not held")));
        };
        if why == "window_passed" {
            sometimes!("a window passed before it was filled");
            let is_so = matches!(held.stage.does, Does::Window(..) | Does::Distinct(..) | Does::Each(_)) && held.fired.is_some();
            demand!(is_so, "I27", "enforcement {id} is given up at {at} for a window that has not passed");
            return Ok(());
        }
        sometimes!("the flow control of a rule ended with its held matches");
        let ended = self.why_outdated(name, rule_id, &held.rule.flow);
        let is_so = ended.is_some_and(|ended| why == format!("rule_{ended}"));
        demand!(is_so, "I27", "enforcement {id} is given up at {at} ({why}), and the flow control of {name} was {ended:?}");
        Ok(())
    }

    /// Handles the end of a rule's flow control state.
    fn check_flow_end(&mut self, record: &'w Raw) -> Result<(), Violation> {
        let (at, name, rule_id, why) = (record.position, record.text("rule"), record.text("rule_id"), record.text("why"));
        let Some(of) = self.rules.remove(rule_id) else {
            return Err(Violation::new("I27", format!("the flow control of {name} ends at {at}, but it keeps nothing")));
        };
        let ended = self.why_outdated(name, rule_id, &of.rule.flow);
        demand!(ended == Some(why), "I27", "the flow control of {name} ends at {at} ({why}), and was {ended:?}");
        let left = of.held.len();
        demand!(left == 0, "I27", "the flow control of {name} ends at {at}, but {left} of its matches are held without a record");
        Ok(())
    }

    fn end_batch(&self, last: &Raw) -> Result<(), Violation> {
        let at = last.position;
        if let Some(((other, by), why)) = self.due.first_key_value() {
            return Err(Violation::new("I27", format!("enforcement {other} is held at {at}, but {by} had to supersede it: {why}")));
        }
        if let Some((execution, since)) = self.promised.first_key_value() {
            return Err(Violation::new("I27", format!("the enforcement at {since} led to execution {execution}, which was not requested")));
        }
        for (id, held) in self.rules.values().flat_map(|of| &of.held) {
            demand!(held.has_timer, "I27", "enforcement {id} is held at {at}, but nothing will release it");
        }
        let now = self.elapsed(last);
        for of in self.rules.values() {
            demand!(of.is_within(self.most.1, now), "I27", "{} knows more keys at {at} than {}", of.name, self.most.1);
        }
        for (id, of) in self.rules.iter().filter(|_| self.owed.is_empty()) {
            let ended = self.why_outdated(of.name, id, &of.rule.flow);
            demand!(ended.is_none(), "I27", "something is kept for {} at {at}, and its flow control was {ended:?}", of.name);
        }
        Ok(())
    }

    /// Checks that no match is held long after its time at the end of a world.
    fn end(&self, ledger: &Ledger<'_>) -> Result<(), Violation> {
        let Some(newest) = self.newest else { return Ok(()) };
        let now = ledger.ground.now();
        let since = now - ledger.ground.committed_at(newest.position).unwrap_or(now);
        let at_end = (self.elapsed(newest) + since.cast_signed(), now);
        for (of, id, held) in self.rules.values().flat_map(|of| of.held.iter().map(move |(id, held)| (of, id, held))) {
            if let Some((fired, _)) = held.fired {
                return Err(Violation::new("I27", format!("enforcement {id} was due for release at {fired}, and nothing followed")));
            }
            // A match of a row waits for the newest one.
            let newest = if held.stage.does.has_rows() { of.row_of(held).last().map(|(_, until)| *until) } else { None };
            let due = due(newest.unwrap_or(held.until), at_end, self.epoch, ledger);
            let is_late = due.is_some_and(|due| due < at_end.1);
            demand!(!is_late, "I27", "enforcement {id} was due for release by {due:?} µs, and is still held at the end of the world");
        }
        Ok(())
    }
}

/// Returns the latest world time, in microseconds, by which a match held until a certain elapsed time must
/// have been released, or `None` if no node could do that. The elapsed time is known for one moment; before
/// the life of its node it may have passed differently.
fn due(until: i64, (passed, at): (i64, u64), (_, began): (u64, u64), ledger: &Ledger<'_>) -> Option<u64> {
    let late = u64::try_from(passed - until).unwrap_or(0);
    ledger.ground.witness().timeline.due(at.saturating_sub(late).max(began), END_MICROS, Counts::Working)
}
