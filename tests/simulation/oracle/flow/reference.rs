//! A second implementation of flow control: it takes matches one after the other and compares each with those
//! before it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::flow::{Acts, Does, More, Stage};
use crate::oracle::records::Raw;
use crate::pack::WrittenRule;

/// The keys of a match by field; the empty name has the key that all matches share.
pub(super) type Keys = BTreeMap<&'static str, String>;

/// The name under which the keys of a match have its trigger, for a window that waits for several.
const TRIGGER: &str = "the trigger";

/// The most matches that a debounce acts on together.
const GATHERED_MAX: usize = 100;

/// A held match.
#[derive(Clone)]
pub(super) struct HeldMatch<'w> {
    /// The rule that judged it.
    pub(super) rule: &'w WrittenRule,
    pub(super) keys: Keys,
    /// The flow control that holds it.
    pub(super) stage: Stage,
    /// The elapsed time at its release, in microseconds.
    pub(super) until: i64,
    /// The elapsed time at which the first match of its row was held.
    pub(super) began: i64,
    /// The record that began the hold.
    pub(super) since: &'w Raw,
    /// How many times it has been held.
    pub(super) number: u64,
    pub(super) has_timer: bool,
    /// The position at which its time came, and its rule's mode by then.
    pub(super) fired: Option<(u64, Option<String>)>,
    /// The event.
    pub(super) event: &'w Raw,
}

/// The result of the flow controls for a match.
pub(super) enum FlowOutcome {
    /// It passes.
    Through,
    /// It is held.
    Held {
        /// The flow control that holds it.
        stage: Stage,
        /// The elapsed time at its release, in microseconds.
        until: i64,
        /// The elapsed time at which the first match of its row was held.
        began: i64,
        /// Whether the timer of the first match of its row also ends its hold.
        waits_for_first: bool,
    },
    /// It duplicates this match.
    Deduplicated(String),
    /// It is over the limit.
    Throttled,
}

/// The state of a rule.
pub(super) struct OfRule<'w> {
    /// Its ref.
    pub(super) name: &'w str,
    /// The rule when the state began.
    pub(super) rule: &'w WrittenRule,
    /// By key: the last match that `dedupe` let through, with its time and position.
    let_through: BTreeMap<String, LetThrough>,
    /// By key: the unspent time of a throttle's period in microseconds, as of which time, and at which
    /// position; negative if more was promised.
    unspent: BTreeMap<String, (i64, i64, u64)>,
    /// The held matches in the order in which their holds began.
    pub(super) held: Vec<(&'w str, HeldMatch<'w>)>,
    /// Whether any match was ever held.
    has_held: bool,
    /// The name of each key in the log.
    pub(super) names: BTreeMap<(String, String), String>,
}

/// The elapsed time at which a match passed, the match, and its position.
type LetThrough = (i64, String, u64);

/// Returns true if a flow control may hold a match.
pub(super) fn holds(does: Does) -> bool {
    match does {
        Does::Dedupe(_) | Does::Throttle(_, _, More::Dropped) | Does::Concurrency(..) => false,
        Does::Throttle(_, _, More::Delayed)
        | Does::Debounce(..)
        | Does::Window(..)
        | Does::Distinct(..)
        | Does::Each(_)
        | Does::Digest(..)
        | Does::Missing(_) => true,
    }
}

/// Returns the keys of an event, or `None` if one of them is missing or invalid.
pub(super) fn keys(flow: &[Stage], trigger: &str, payload: &Value) -> Option<Keys> {
    let key = |field: &'static str| {
        let text = match payload.get(field)? {
            Value::String(text) => format!("text {text}"),
            Value::Number(number) => match number.as_f64() {
                Some(whole) if whole.fract() == 0.0 => format!("number {whole:.0}"),
                _ => format!("number {number}"),
            },
            Value::Bool(flag) => format!("flag {flag}"),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((field, text))
    };
    let differs = flow.iter().filter_map(|stage| if let Does::Distinct(_, _, field) = stage.does { Some(field) } else { None });
    let mut keys: Keys = flow.iter().filter_map(|stage| stage.field).chain(differs).map(key).collect::<Option<_>>()?;
    keys.insert(TRIGGER, trigger.to_owned());
    Some(keys)
}

/// Returns the key of a match for a flow control.
pub(super) fn key_of(keys: &Keys, stage: &Stage) -> String {
    stage.field.and_then(|field| keys.get(field)).cloned().unwrap_or_default()
}

/// Returns when a debounce is over: once it is quiet, but not later than its limit allows.
fn quiet_at(does: Does, began: i64, now: i64) -> i64 {
    match does {
        Does::Debounce(quiet, most, _) => {
            let quiet = now + quiet as i64 * 1_000;
            most.map_or(quiet, |most| quiet.min(began + most as i64 * 1_000))
        }
        _ => now,
    }
}

impl<'w> OfRule<'w> {
    /// Creates an empty state.
    pub(super) fn new(name: &'w str, rule: &'w WrittenRule) -> Self {
        Self {
            name,
            rule,
            let_through: BTreeMap::new(),
            unspent: BTreeMap::new(),
            held: Vec::new(),
            has_held: false,

            names: BTreeMap::new(),
        }
    }

    /// Returns true if there is or was any state.
    pub(super) fn keeps(&self) -> bool {
        self.has_held || !self.let_through.is_empty() || !self.unspent.is_empty()
    }

    /// Notes the names of a match's keys in the log.
    pub(super) fn call(&mut self, record: &Raw, keys: &Keys) {
        for stage in &self.rule.flow {
            let control = stage.does.word();
            let name = record.said.pointer(&format!("/flow/keys/{control}/key")).and_then(Value::as_str);
            if let Some(name) = name {
                self.names.insert((control.to_owned(), name.to_owned()), key_of(keys, stage));
            }
        }
    }

    /// Adds a match that is held from now on.
    pub(super) fn hold(&mut self, id: &'w str, held: HeldMatch<'w>) {
        self.has_held = true;
        self.held.push((id, held));
    }

    /// Returns true if the state belongs to this rule; its lock may differ.
    pub(super) fn is_of(&self, rule: &WrittenRule) -> bool {
        let kept = |rule: &WrittenRule| {
            let kept = rule.flow.iter().filter(|stage| !matches!(stage.does, Does::Concurrency(..)));
            kept.copied().collect::<Vec<_>>()
        };
        kept(self.rule) == kept(rule)
    }

    /// Removes a held match and returns it.
    pub(super) fn take(&mut self, id: &str) -> Option<HeldMatch<'w>> {
        let place = self.held.iter().position(|(held, _)| *held == id)?;
        Some(self.held.remove(place).1)
    }

    /// Returns the index of the flow control after the one that holds a match.
    pub(super) fn after(&self, held: &HeldMatch<'_>) -> usize {
        held.rule.flow.iter().position(|stage| *stage == held.stage).map_or(0, |place| place + 1)
    }

    /// Sends a match through the flow controls of its rule, from a given one on. Returns the result and the
    /// held matches that it supersedes, with the reasons.
    pub(super) fn walk(
        &mut self,
        (rule, from): (&WrittenRule, usize),
        keys: &Keys,
        (now, at): (i64, u64),
        id: &str,
        most: usize,
    ) -> (FlowOutcome, Vec<(String, &'static str)>) {
        let mut gone = Vec::new();
        let mut deduplicates: Option<(String, Option<LetThrough>)> = None;
        for stage in rule.flow.iter().skip(from) {
            let key = key_of(keys, stage);
            let held =
                |stage: &Stage, micros: i64| FlowOutcome::Held { stage: *stage, until: now + micros, began: now, waits_for_first: false };
            let row = self.open_row(stage, &key, now);
            let began = row.first().map_or(now, |(_, began)| *began);
            match stage.does {
                Does::Dedupe(millis) => {
                    let before = self.let_through.get(&key).cloned();
                    match before {
                        Some((at, first, _)) if now - at < millis as i64 * 1_000 => return (FlowOutcome::Deduplicated(first), gone),
                        before => deduplicates = Some((key.clone(), before)),
                    }
                    self.let_through.insert(key, (now, id.to_owned(), at));
                }
                Does::Throttle(limit, each, more) => {
                    let (each, whole) = (each as i64 * 1_000, (limit * each) as i64 * 1_000);
                    let unspent = self.unspent.get(&key).map_or(whole, |(unspent, at, _)| (unspent + (now - at)).min(whole));
                    let lacks = (each - unspent).max(0);
                    // A throttle that lets only so many wait drops the others.
                    let is_dropped = more == More::Dropped || self.held_by(stage).count() >= most;
                    if lacks > 0 && is_dropped {
                        // A match that repeats one without an effect is not a duplicate.
                        match deduplicates {
                            Some((key, Some(before))) => drop(self.let_through.insert(key, before)),
                            Some((key, None)) => drop(self.let_through.remove(&key)),
                            None => {}
                        }
                        return (FlowOutcome::Throttled, gone);
                    }
                    self.unspent.insert(key, (unspent - each, now, at));
                    if lacks > 0 {
                        return (held(stage, lacks), gone);
                    }
                }
                Does::Debounce(_, _, Acts::OnAll) | Does::Digest(..) => {
                    let (count, until) = match stage.does {
                        Does::Digest(count, millis) => (count as usize, began + millis as i64 * 1_000),
                        does => (GATHERED_MAX, quiet_at(does, began, now)),
                    };
                    if row.len() + 1 < count && self.held_by(stage).count() < most {
                        let waits_for_first = matches!(stage.does, Does::Digest(..)) && !row.is_empty();
                        return (FlowOutcome::Held { stage: *stage, until, began, waits_for_first }, gone);
                    }
                    gone.extend(row.into_iter().map(|(id, _)| (id, "window_filled")));
                    self.held.retain(|(id, _)| !gone.iter().any(|(gone, _)| gone == id));
                }
                // A window that waits for two triggers is one of two different triggers.
                Does::Distinct(..) | Does::Each(_) => {
                    let (count, millis, field) = match stage.does {
                        Does::Distinct(count, millis, field) => (count, millis, field),
                        Does::Each(millis) => (2, millis, TRIGGER),
                        _ => continue,
                    };
                    let value = keys.get(field);
                    let has_value = |id: &&str| self.held.iter().any(|(held, of)| held == id && of.keys.get(field) == value);
                    let (equal, others): (Vec<&str>, Vec<&str>) = self.under(stage, &key, now).partition(has_value);
                    let is_first = equal.is_empty();
                    gone.extend(equal.into_iter().map(|id| (id.to_owned(), "newer")));
                    if (others.len() as u64) + 1 < count {
                        self.held.retain(|(id, _)| !gone.iter().any(|(gone, _)| gone == id));
                        gone.extend(self.let_go_oldest(stage, most, is_first));
                        return (held(stage, millis as i64 * 1_000), gone);
                    }
                    gone.extend(others.into_iter().map(|id| (id.to_owned(), "window_filled")));
                    self.held.retain(|(id, _)| !gone.iter().any(|(gone, _)| gone == id));
                }
                Does::Debounce(..) => {
                    let replaced = self.let_go_under(stage, &key, now);
                    let is_full = replaced.is_empty();
                    gone.extend(replaced.into_iter().map(|id| (id, "newer")));
                    gone.extend(self.let_go_oldest(stage, most, is_full));
                    let until = quiet_at(stage.does, began, now);
                    return (FlowOutcome::Held { stage: *stage, until, began, waits_for_first: false }, gone);
                }
                Does::Missing(millis) => {
                    let replaced = self.let_go_under(stage, &key, now);
                    let is_full = replaced.is_empty();
                    gone.extend(replaced.into_iter().map(|id| (id, "newer")));
                    gone.extend(self.let_go_oldest(stage, most, is_full));
                    return (held(stage, millis as i64 * 1_000), gone);
                }
                Does::Window(count, millis) => {
                    let others = self.under(stage, &key, now).count() as u64;
                    if others + 1 < count {
                        gone.extend(self.let_go_oldest(stage, most, true));
                        return (held(stage, millis as i64 * 1_000), gone);
                    }
                    gone.extend(self.let_go_under(stage, &key, now).into_iter().map(|id| (id, "window_filled")));
                }
                Does::Concurrency(..) => {}
            }
        }
        (FlowOutcome::Through, gone)
    }

    /// Returns the matches that a flow control holds for a key and whose time has not come; due ones count as
    /// released.
    fn under(&self, stage: &Stage, key: &str, now: i64) -> impl Iterator<Item = &'w str> {
        let is_there = move |(_, held): &&(&'w str, HeldMatch<'w>)| {
            held.stage.does.word() == stage.does.word() && key_of(&held.keys, &held.stage) == key && held.until > now
        };
        self.held.iter().filter(is_there).map(|(id, _)| *id)
    }

    /// Returns the row of a key that continues, the oldest first, each with the time at which the row began.
    fn open_row(&self, stage: &Stage, key: &str, now: i64) -> Vec<(String, i64)> {
        let is_under = |held: &HeldMatch<'w>| held.stage.does.word() == stage.does.word() && key_of(&held.keys, &held.stage) == key;
        let under: Vec<_> = self.held.iter().filter(|(_, held)| is_under(held)).collect();
        let Some((_, newest)) = under.last().filter(|(_, newest)| newest.until > now) else { return Vec::new() };
        let row = under.iter().filter(|(_, held)| held.began == newest.began);
        row.map(|(id, held)| ((*id).to_owned(), held.began)).collect()
    }

    /// Returns the row of a held match, the oldest first, each with the time at which it is due.
    pub(super) fn row_of(&self, of: &HeldMatch<'w>) -> Vec<(&'w str, i64)> {
        let is_of_row = |held: &HeldMatch<'w>| {
            held.stage.does.word() == of.stage.does.word()
                && key_of(&held.keys, &held.stage) == key_of(&of.keys, &of.stage)
                && held.began == of.began
        };
        self.held.iter().filter(|(_, held)| is_of_row(held)).map(|(id, held)| (*id, held.until)).collect()
    }

    fn held_by(&self, stage: &Stage) -> impl Iterator<Item = &'w str> {
        let is_by = |(_, held): &&(&'w str, HeldMatch<'w>)| held.stage.does.word() == stage.does.word();
        self.held.iter().filter(is_by).map(|(id, _)| *id)
    }

    /// Releases the oldest match that a flow control holds, if it holds as many as it may and none was
    /// released yet.
    fn let_go_oldest(&mut self, stage: &Stage, most: usize, is_full: bool) -> Option<(String, &'static str)> {
        let oldest = self.held_by(stage).next().filter(|_| is_full && self.held_by(stage).count() >= most)?.to_owned();
        self.held.retain(|(id, _)| *id != oldest);
        Some((oldest, "crowded_out"))
    }

    /// Returns the keys of a flow control that can still affect later matches, least recently used first.
    fn alive(&self, does: Does, now: i64) -> Vec<String> {
        let mut alive: Vec<(u64, &String)> = match does {
            Does::Dedupe(millis) => {
                let known = self.let_through.iter().filter(|(_, (at, _, _))| now - at < millis as i64 * 1_000);
                known.map(|(key, (_, _, used))| (*used, key)).collect()
            }
            Does::Throttle(limit, each, _) => {
                let whole = (limit * each) as i64 * 1_000;
                let known = self.unspent.iter().filter(|(_, (unspent, at, _))| unspent + (now - at) < whole);
                known.map(|(key, (_, _, used))| (*used, key)).collect()
            }
            Does::Debounce(..)
            | Does::Window(..)
            | Does::Distinct(..)
            | Does::Each(_)
            | Does::Digest(..)
            | Does::Missing(_)
            | Does::Concurrency(..) => Vec::new(),
        };
        alive.sort_unstable();
        alive.into_iter().map(|(_, key)| key.clone()).collect()
    }

    /// Returns true if the number of keys that can still affect matches is within the limit.
    pub(super) fn is_within(&self, most: usize, now: i64) -> bool {
        self.rule.flow.iter().all(|stage| self.alive(stage.does, now).len() <= most)
    }

    /// Forgets a key of a flow control. Returns `None` if it is not the least recently used one, or if the
    /// number of keys is within the limit.
    pub(super) fn forget(&mut self, (control, name): (&str, &str), most: usize, now: i64) -> Option<()> {
        let does = self.rule.flow.iter().find(|stage| stage.does.word() == control)?.does;
        let key = self.names.get(&(control.to_owned(), name.to_owned()))?.clone();
        let known = if matches!(does, Does::Dedupe(_)) { self.let_through.len() } else { self.unspent.len() };
        if self.alive(does, now).first() != Some(&key) || known <= most {
            return None;
        }
        match does {
            Does::Dedupe(_) => drop(self.let_through.remove(&key)),
            _ => drop(self.unspent.remove(&key)),
        }
        Some(())
    }

    fn let_go_under(&mut self, stage: &Stage, key: &str, now: i64) -> Vec<String> {
        let gone: Vec<String> = self.under(stage, key, now).map(str::to_owned).collect();
        self.held.retain(|(id, _)| !gone.iter().any(|gone| gone == id));
        gone
    }
}
