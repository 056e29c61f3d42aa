//! Bounds the work of checking a value against a JSON Schema before any of it is done.
//!
//! The library that checks has no budget. [`ValidationPlan::of`] resolves the references of a schema and determines
//! which of its parts apply to one place of a value, and how often. It rejects a schema whose parts multiply.
//! [`ValidationPlan::work`] adds up the steps over one value. A plan is an upper bound: it assumes that no check ends
//! early.

use std::collections::{BTreeMap, VecDeque};

use ensue_expression::JSON_DEPTH_MAX;
use jsonschema::{Draft, Registry, uri};
use regex_syntax::hir::{Hir, HirKind};
use serde_json::{Map, Value};

/// The most times that the parts of a schema may apply to one place of a value.
const VISITS_MAX: u64 = 4_096;
/// The most parts that may apply to one place because one refers to the next.
const NESTING_MAX: usize = 256;
/// The most steps for making a plan.
const PLANNING_MAX: usize = 1_000_000;
/// The most parts with an `$id`: the library recompiles a part for each path through them.
const RESOURCES_MAX: usize = 8;
/// Bytes of a text, times pattern positions that may be active at once, per step.
const PLACES_PER_STEP: u64 = 8;
/// Bytes of a text that are compared or counted per step.
const BYTES_PER_STEP: u64 = 256;
/// The position count assumed for a pattern that cannot be parsed here: as many as fit into a compiled
/// pattern.
const PLACES_UNKNOWN: u64 = 32_768;
/// The base URI of a schema without `$id`, as the library has it.
const BASE: &str = "json-schema:///";

/// Why no plan can be made for a schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PlanError {
    /// A reference cannot be resolved. The library reports it with its place.
    Unresolved,
    /// Checking a value could take too long.
    TooComplex(String),
}

/// An upper bound on the work of checking one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Steps of about ten nanoseconds each.
    pub(super) steps: u64,
    /// The depth of nested checks.
    pub(super) nesting: usize,
}

/// The parts that apply to each place of a value.
#[derive(Debug)]
pub(super) struct ValidationPlan {
    /// The first state has no parts: nothing applies there or below. The second is for the whole value.
    states: Vec<State>,
}

/// A part of a schema that applies, and whether it only determines which members it evaluates.
type AppliedPart = (usize, bool);
/// How often parts apply to a place.
type PartCounts = BTreeMap<AppliedPart, u64>;

/// The sum of the parts that apply to one place of a value, and the parts that apply below it.
#[derive(Debug, Default)]
struct State {
    /// Steps for the place itself.
    steps: u64,
    visits: u64,
    nesting: usize,
    /// Positions of patterns that run over a text.
    text: u64,
    /// Positions of patterns that run over each key of an object.
    key_text: u64,
    /// How often the elements of a list are compared with each other.
    unique: u64,
    /// How often members are visited in addition to those that a part applies to.
    marks: u64,
    names: usize,
    keys: BTreeMap<String, usize>,
    other: usize,
    items: Vec<usize>,
    rest: usize,
}

/// One subschema.
#[derive(Debug, Default)]
struct SchemaPart {
    in_place: Vec<usize>,
    keys: BTreeMap<String, usize>,
    /// Parts that may apply to any member: `patternProperties`.
    members: Vec<usize>,
    /// The part that applies to members that `keys` does not name.
    additional: Option<usize>,
    names: Option<usize>,
    prefix: Vec<usize>,
    /// Parts that may apply to any element.
    elements: Vec<usize>,
    unevaluated_members: Option<usize>,
    unevaluated_elements: Option<usize>,
    steps: u64,
    text: u64,
    key_text: u64,
    unique: bool,
}

impl SchemaPart {
    fn is_marking(&self) -> bool {
        self.unevaluated_members.is_some() || self.unevaluated_elements.is_some()
    }
}

impl ValidationPlan {
    /// Makes the plan of a schema, draft 2020-12.
    pub(super) fn of(schema: &Value) -> Result<Self, PlanError> {
        demand_few_resources(schema)?;
        let parts = parts_of(schema)?;
        let order = PartOrder::of(&parts)?;
        Planning { parts: &parts, order, states: vec![State::default()], known: BTreeMap::new(), todo: VecDeque::new(), taken: 0 }.plan()
    }

    /// Returns an upper bound on the work of checking `value`, or `None` if it exceeds `steps_max`.
    pub(super) fn work(&self, value: &Value, steps_max: u64) -> Option<Work> {
        let mut work = Work::default();
        self.add(1, value, 0, &mut work, steps_max).then_some(work)
    }

    fn add(&self, state: usize, value: &Value, outer: usize, work: &mut Work, steps_max: u64) -> bool {
        if state == 0 {
            return true;
        }
        let state = &self.states[state];
        let nesting = outer + state.nesting;
        work.nesting = work.nesting.max(nesting);
        work.steps = work.steps.saturating_add(state.steps);
        match value {
            Value::String(text) => work.steps = work.steps.saturating_add(state.over(text)),
            Value::Array(items) => {
                work.steps = work.steps.saturating_add(state.unique.saturating_mul(comparisons(items)));
                for (index, item) in items.iter().enumerate() {
                    let below = state.items.get(index).copied().unwrap_or(state.rest);
                    if work.steps > steps_max || !self.add(below, item, nesting, work, steps_max) {
                        return false;
                    }
                }
            }
            Value::Object(members) => {
                for (key, value) in members {
                    let names = &self.states[state.names];
                    let own = 1 + state.marks + state.key_text.saturating_mul(key.len() as u64) / PLACES_PER_STEP;
                    work.steps = work.steps.saturating_add(own).saturating_add(names.steps).saturating_add(names.over(key));
                    work.nesting = work.nesting.max(nesting + names.nesting);
                    let below = state.keys.get(key).copied().unwrap_or(state.other);
                    if work.steps > steps_max || !self.add(below, value, nesting, work, steps_max) {
                        return false;
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        work.steps <= steps_max
    }
}

impl State {
    fn over(&self, text: &str) -> u64 {
        let len = text.len() as u64;
        (self.text.saturating_mul(len) / PLACES_PER_STEP).saturating_add(self.visits.saturating_mul(len) / BYTES_PER_STEP)
    }
}

/// Returns how many values are visited to find two equal elements. Elements that hold lists may all have one
/// hash.
fn comparisons(items: &[Value]) -> u64 {
    fn size(value: &Value) -> (u64, bool) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => (1, false),
            Value::String(text) => (1 + text.len() as u64 / BYTES_PER_STEP, false),
            Value::Array(items) => (items.iter().fold(1, |sum, item| sum + size(item).0), true),
            Value::Object(members) => members.values().fold((1, false), |(sum, lists), value| {
                let (size, has_lists) = size(value);
                (sum + size, lists || has_lists)
            }),
        }
    }
    let (size, has_lists) = items.iter().map(size).fold((0, false), |(sum, lists), (size, has_lists)| (sum + size, lists || has_lists));
    if has_lists { size.saturating_mul(items.len() as u64) } else { size }
}

fn too_complex(why: impl Into<String>) -> PlanError {
    PlanError::TooComplex(why.into())
}

/// Rejects parts of other drafts, too many resources, and dynamic references that may have several targets.
fn demand_few_resources(schema: &Value) -> Result<(), PlanError> {
    fn look(value: &Value, found: &mut [usize; 2]) -> Result<(), PlanError> {
        match value {
            Value::Object(members) => {
                if members.get("$schema").is_some_and(|draft| draft.is_string() && draft != super::whole_schema::DIALECT) {
                    return Err(too_complex("a part of it uses a draft other than 2020-12"));
                }
                for (count, keyword) in found.iter_mut().zip(["$id", "$dynamicAnchor"]) {
                    *count += usize::from(members.get(keyword).is_some_and(Value::is_string));
                }
                members.values().try_for_each(|value| look(value, found))
            }
            Value::Array(items) => items.iter().try_for_each(|item| look(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }
    let mut found = [0, 0];
    look(schema, &mut found)?;
    let [resources, dynamic] = found;
    if resources > RESOURCES_MAX {
        return Err(too_complex(format!("{resources} of its parts have an `$id`, at most {RESOURCES_MAX} may")));
    }
    if dynamic > 1 {
        return Err(too_complex("it has more than one `$dynamicAnchor`"));
    }
    Ok(())
}

/// Lists the parts of a schema that can apply; the first is the whole schema. References are resolved as the
/// library does.
fn parts_of(schema: &Value) -> Result<Vec<SchemaPart>, PlanError> {
    let draft = Draft::Draft202012;
    let unresolved = |_| PlanError::Unresolved;
    let base = uri::from_str(schema.get("$id").and_then(Value::as_str).unwrap_or(BASE)).map_err(unresolved)?;
    let registry = Registry::new().draft(draft).add(base.as_str(), draft.create_resource_ref(schema)).map_err(unresolved)?;
    let registry = registry.prepare().map_err(unresolved)?;
    let whole = registry.resolver(base).lookup("#").map_err(unresolved)?;

    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    let mut todo = VecDeque::new();
    let mut index_of = |value: &Value, places_known: usize| {
        let next = places_known;
        *places.entry(std::ptr::from_ref(value).addr()).or_insert(next)
    };
    let mut known = index_of(whole.contents(), 0) + 1;
    todo.push_back((whole.contents(), whole.resolver().clone()));
    let mut parts = Vec::new();
    while let Some((value, resolver)) = todo.pop_front() {
        let resolver = resolver.in_subresource(draft.create_resource_ref(value)).map_err(unresolved)?;
        let mut read = PartReader { part: SchemaPart { steps: 1, ..SchemaPart::default() }, found: Vec::new() };
        if let Value::Object(members) = value {
            read.members(members);
        }
        let PartReader { mut part, found } = read;
        for (at, found) in found {
            let (contents, resolver) = match found {
                PartContent::Below(value) => (value, resolver.clone()),
                PartContent::Reference(reference) => {
                    let resolved = resolver.lookup(reference).map_err(unresolved)?;
                    if resolved.resolver().base_uri().as_str().starts_with("https://json-schema.org/") {
                        return Err(too_complex(format!("`{reference}` leads outside of it")));
                    }
                    (resolved.contents(), resolved.resolver().clone())
                }
            };
            let index = index_of(contents, known);
            if index == known {
                known += 1;
                todo.push_back((contents, resolver));
            }
            match at {
                PartTarget::InPlace => part.in_place.push(index),
                PartTarget::Key(key) => _ = part.keys.insert(key.to_owned(), index),
                PartTarget::Member => part.members.push(index),
                PartTarget::Additional => part.additional = Some(index),
                PartTarget::Name => part.names = Some(index),
                PartTarget::Prefix => part.prefix.push(index),
                PartTarget::Element => part.elements.push(index),
                PartTarget::UnevaluatedMember => part.unevaluated_members = Some(index),
                PartTarget::UnevaluatedElement => part.unevaluated_elements = Some(index),
            }
        }
        parts.push(part);
    }
    Ok(parts)
}

/// The place that a subschema applies to.
#[derive(Clone, Copy)]
enum PartTarget<'a> {
    InPlace,
    Key(&'a str),
    Member,
    Additional,
    Name,
    Prefix,
    Element,
    UnevaluatedMember,
    UnevaluatedElement,
}

enum PartContent<'a> {
    Below(&'a Value),
    Reference(&'a str),
}

struct PartReader<'a> {
    part: SchemaPart,
    found: Vec<(PartTarget<'a>, PartContent<'a>)>,
}

impl<'a> PartReader<'a> {
    fn members(&mut self, members: &'a Map<String, Value>) {
        for (keyword, value) in members {
            self.part.steps += 1;
            match (keyword.as_str(), value) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    self.found.push((PartTarget::InPlace, PartContent::Reference(reference)));
                }
                ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => self.all(PartTarget::InPlace, all),
                ("prefixItems", Value::Array(all)) => self.all(PartTarget::Prefix, all),
                ("dependentSchemas" | "dependencies", Value::Object(all)) => {
                    self.all(PartTarget::InPlace, all.values().filter(|value| !value.is_array()));
                    self.part.steps += all.values().map(nodes).sum::<u64>();
                }
                ("properties", Value::Object(all)) => {
                    self.part.steps += all.len() as u64;
                    self.found.extend(all.iter().map(|(key, value)| (PartTarget::Key(key), PartContent::Below(value))));
                }
                ("patternProperties", Value::Object(all)) => {
                    self.part.key_text += all.keys().map(|pattern| places(pattern)).sum::<u64>();
                    self.all(PartTarget::Member, all.values());
                }
                ("not" | "if" | "then" | "else", schema) => self.all(PartTarget::InPlace, [schema]),
                ("additionalProperties", schema) => self.all(PartTarget::Additional, [schema]),
                ("propertyNames", schema) => self.all(PartTarget::Name, [schema]),
                ("items" | "additionalItems" | "contains", schema) => self.all(PartTarget::Element, [schema]),
                ("unevaluatedProperties", schema) => self.all(PartTarget::UnevaluatedMember, [schema]),
                ("unevaluatedItems", schema) => self.all(PartTarget::UnevaluatedElement, [schema]),
                ("pattern", Value::String(pattern)) => self.part.text += places(pattern),
                ("uniqueItems", Value::Bool(true)) => self.part.unique = true,
                ("enum" | "const" | "required" | "dependentRequired", value) => self.part.steps += nodes(value),
                (_, _) => {}
            }
        }
    }

    fn all(&mut self, at: PartTarget<'a>, schemas: impl IntoIterator<Item = &'a Value>) {
        self.found.extend(schemas.into_iter().map(|schema| (at, PartContent::Below(schema))));
    }
}

fn nodes(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        Value::Array(items) => items.iter().map(nodes).fold(1, u64::saturating_add),
        Value::Object(members) => members.values().map(nodes).fold(1, u64::saturating_add),
    }
}

/// Returns how many positions of a pattern may be active at once in a text.
fn places(pattern: &str) -> u64 {
    fn count(hir: &Hir) -> u64 {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => 0,
            HirKind::Literal(literal) => literal.0.len() as u64,
            HirKind::Class(_) => 1,
            HirKind::Repetition(repetition) => {
                let times = repetition.max.unwrap_or_else(|| repetition.min.max(1));
                count(&repetition.sub).saturating_mul(u64::from(times))
            }
            HirKind::Capture(capture) => count(&capture.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(count).fold(0, u64::saturating_add),
        }
    }
    regex_syntax::parse(pattern).map_or(PLACES_UNKNOWN, |hir| count(&hir).clamp(1, PLACES_UNKNOWN))
}

/// The order in which parts refer to each other at one place of a value.
struct PartOrder {
    /// The rank of each part: a part refers only to parts of a higher rank.
    rank: Vec<usize>,
    by_rank: Vec<usize>,
}

impl PartOrder {
    fn of(parts: &[SchemaPart]) -> Result<Self, PlanError> {
        let mut led_to = vec![0_usize; parts.len()];
        for part in parts {
            for below in &part.in_place {
                led_to[*below] += 1;
            }
        }
        let mut by_rank: Vec<usize> = (0..parts.len()).filter(|part| led_to[*part] == 0).collect();
        let mut looked_at = 0;
        while let Some(part) = by_rank.get(looked_at).copied() {
            looked_at += 1;
            for below in &parts[part].in_place {
                led_to[*below] -= 1;
                if led_to[*below] == 0 {
                    by_rank.push(*below);
                }
            }
        }
        if by_rank.len() < parts.len() {
            return Err(too_complex("a reference leads back to where it started, at the same place in the value"));
        }
        let mut rank = vec![0; parts.len()];
        for (at, part) in by_rank.iter().enumerate() {
            rank[*part] = at;
        }
        Ok(Self { rank, by_rank })
    }
}

/// Finds all combinations of parts that can apply to one place of some value.
struct Planning<'a> {
    parts: &'a [SchemaPart],
    order: PartOrder,
    states: Vec<State>,
    known: BTreeMap<Vec<(AppliedPart, u64)>, usize>,
    todo: VecDeque<(usize, usize, PartCounts)>,
    taken: usize,
}

impl Planning<'_> {
    fn plan(mut self) -> Result<ValidationPlan, PlanError> {
        self.state(PartCounts::from([((0, false), 1)]), 0);
        while let Some((index, level, roots)) = self.todo.pop_front() {
            let (applied, nesting) = self.collect_applied(&roots)?;
            let state = self.summed_up(&applied, nesting, level + 1)?;
            self.states[index] = state;
        }
        Ok(ValidationPlan { states: self.states })
    }

    /// Returns the state for the given parts: the first one if there are no parts, or if it is deeper than
    /// any value.
    fn state(&mut self, roots: PartCounts, level: usize) -> usize {
        if roots.is_empty() || level > JSON_DEPTH_MAX {
            return 0;
        }
        let key: Vec<(AppliedPart, u64)> = roots.iter().map(|(applied, count)| (*applied, *count)).collect();
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let index = self.states.len();
        self.states.push(State::default());
        self.known.insert(key, index);
        self.todo.push_back((index, level, roots));
        index
    }

    fn take(&mut self, steps: usize) -> Result<(), PlanError> {
        self.taken = self.taken.saturating_add(steps);
        if self.taken > PLANNING_MAX {
            return Err(too_complex("its parts can be combined in too many ways"));
        }
        Ok(())
    }

    /// Follows references from part to part at one place. Returns everything that applies there and how deep
    /// it nests.
    fn collect_applied(&mut self, roots: &PartCounts) -> Result<(PartCounts, usize), PlanError> {
        // By rank, so that every reference to a part is counted before the part is followed.
        let mut ahead: BTreeMap<AppliedPart, (u64, usize)> =
            roots.iter().map(|((part, marks), count)| ((self.order.rank[*part], *marks), (*count, 1))).collect();
        let mut applied = PartCounts::new();
        let (mut visits, mut deepest) = (0_u64, 0);
        while let Some(((rank, marks), (count, nesting))) = ahead.pop_first() {
            let index = self.order.by_rank[rank];
            let part = &self.parts[index];
            visits = visits.saturating_add(count);
            deepest = deepest.max(nesting);
            if visits > VISITS_MAX {
                return Err(too_complex(format!("more than {VISITS_MAX} of its parts apply to one place in a value")));
            }
            if nesting > NESTING_MAX {
                return Err(too_complex(format!("its references form a chain of more than {NESTING_MAX} parts")));
            }
            applied.insert((index, marks), count);
            let mut lead = |to: AppliedPart| {
                let next = ahead.entry(to).or_default();
                *next = (next.0.saturating_add(count), next.1.max(nesting + 1));
            };
            for below in &part.in_place {
                let rank = self.order.rank[*below];
                lead((rank, false));
                if marks {
                    lead((rank, true));
                }
            }
            if !marks && part.is_marking() {
                lead((rank, true));
            }
            let taken = 1 + part.in_place.len();
            self.take(taken)?;
        }
        Ok((applied, deepest))
    }

    fn summed_up(&mut self, applied: &PartCounts, nesting: usize, below: usize) -> Result<State, PlanError> {
        let parts = self.parts;
        let mut state = State { nesting, ..State::default() };
        let (mut names, mut other, mut rest) = (PartCounts::new(), PartCounts::new(), PartCounts::new());
        let mut by_key: BTreeMap<&str, Vec<(usize, u64)>> = BTreeMap::new();
        let mut prefix: Vec<PartCounts> = Vec::new();
        let add = |to: &mut PartCounts, part: usize, count: u64| {
            let sum = to.entry((part, false)).or_default();
            *sum = sum.saturating_add(count);
        };
        for ((index, marks), count) in applied {
            let (part, count) = (&parts[*index], *count);
            self.take(1 + part.keys.len() + part.prefix.len() + part.members.len() + part.elements.len())?;
            state.visits = state.visits.saturating_add(count);
            state.steps = state.steps.saturating_add(part.steps.saturating_mul(count));
            state.key_text = state.key_text.saturating_add(part.key_text.saturating_mul(count));
            part.unevaluated_members.iter().for_each(|part| add(&mut other, *part, count));
            part.unevaluated_elements.iter().for_each(|part| add(&mut rest, *part, count));
            part.elements.iter().for_each(|part| add(&mut rest, *part, count));
            if *marks {
                state.marks = state.marks.saturating_add(count);
                continue;
            }
            state.text = state.text.saturating_add(part.text.saturating_mul(count));
            state.unique = state.unique.saturating_add(if part.unique { count } else { 0 });
            part.names.iter().for_each(|part| add(&mut names, *part, count));
            part.members.iter().chain(&part.additional).for_each(|part| add(&mut other, *part, count));
            for key in part.keys.keys() {
                by_key.entry(key).or_default().push((*index, count));
            }
            if prefix.len() < part.prefix.len() {
                prefix.resize(part.prefix.len(), PartCounts::new());
            }
            part.prefix.iter().zip(&mut prefix).for_each(|(part, at)| add(at, *part, count));
        }
        for (key, named_by) in by_key {
            self.take(other.len() + named_by.len())?;
            let mut here = other.clone();
            for (index, count) in named_by {
                let part = &parts[index];
                if let Some(additional) = part.additional
                    && let Some(sum) = here.get_mut(&(additional, false))
                {
                    *sum -= count;
                    if *sum == 0 {
                        here.remove(&(additional, false));
                    }
                }
                add(&mut here, part.keys[key], count);
            }
            let at = self.state(here, below);
            state.keys.insert(key.to_owned(), at);
        }
        for mut here in prefix {
            self.take(rest.len())?;
            rest.iter().for_each(|((part, _), count)| add(&mut here, *part, *count));
            let at = self.state(here, below);
            state.items.push(at);
        }
        state.names = self.state(names, below);
        state.other = self.state(other, below);
        state.rest = self.state(rest, below);
        Ok(state)
    }
}
