//! The parts of an expression with the result of each: every part is evaluated once more by itself, within a
//! budget of its own.
//!
//! Which of them decided is not determined here.

use super::{EXPLANATION_PARTS_MAX, Element, Elements, Explanation, Outcome, Part, Reading, Route, Shape};
use crate::analyse::{self, Access};
use crate::ast::{Chain, Choose, Expr, Fold, Kind, Link, LinkKind, Loop, LoopKind, Operator, Presence, Span, Times};
use crate::budget::{Budget, EVALUATION_STEPS_MAX};
use crate::error::Fault;
use crate::evaluate::Evaluation;
use crate::json::NodeKind;
use crate::scope::Scope;
use crate::value::Value;

/// The maximum nesting of parts. Parts that nest deeper are shown whole.
const PARTS_DEPTH_MAX: usize = 16;
/// The number of operand levels needed to describe briefly what a part compared.
const NOTE_LEVELS: usize = 1;
/// The maximum number of parts in an explanation of conditions only. There may be one explanation for each of
/// many rules.
const BRIEF_PARTS_MAX: usize = 128;
/// The maximum number of characters shown of a part's source.
const SOURCE_CHARS_MAX: usize = 240;
/// The maximum number of characters of an operand that a note repeats.
const OPERAND_CHARS_MAX: usize = 60;
/// The maximum number of elements shown of a macro that each of them decided.
const ELEMENTS_MAX: usize = 4;

/// How far an expression is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Into the smallest parts of the condition.
    Conditions,
    /// Into everything that has a value of its own.
    Everything,
}

/// Evaluates the tree as its caller does, and then every part of it by itself. The parts together take at
/// most `steps_left`.
pub(crate) fn explain<'a>(
    source: &str,
    tree: &'a Expr,
    scope: &Scope<'a>,
    budget: &mut Budget,
    depth: Depth,
    steps_left: &mut u64,
) -> Explanation {
    let outcome = outcome_of(Evaluation::new(source, scope, budget).value(tree));
    let (operand_levels, parts_left) = match depth {
        Depth::Conditions => (NOTE_LEVELS, BRIEF_PARTS_MAX),
        Depth::Everything => (PARTS_DEPTH_MAX, EXPLANATION_PARTS_MAX),
    };
    let mut explainer = Explainer { source, scope, operand_levels, steps_left, parts_left, locals: Vec::new(), depth: 0 };
    let mut root = explainer.part(tree);
    root.outcome = outcome;
    Explanation { root }
}

fn outcome_of(given: Result<Value<'_>, Fault>) -> Outcome {
    match given {
        Ok(Value::Bool(truth)) => Outcome::Truth(truth),
        Ok(value) => Outcome::Value(value.brief()),
        Err(fault) => Outcome::Erred(*fault),
    }
}

struct Explainer<'s, 'a> {
    source: &'s str,
    scope: &'s Scope<'a>,
    /// The number of operand levels shown below a smallest part of a condition.
    operand_levels: usize,
    steps_left: &'s mut u64,
    parts_left: usize,
    /// The variables of the macros around the current part.
    locals: Vec<Value<'a>>,
    /// The number of parts around the current one.
    depth: usize,
}

impl<'a> Explainer<'_, 'a> {
    fn part(&mut self, expr: &'a Expr) -> Part {
        if self.depth == PARTS_DEPTH_MAX || self.parts_left == 0 {
            return self.smallest(expr, 0);
        }
        self.depth += 1;
        let part = match &expr.kind {
            Kind::All(operands) if operands.len() <= self.parts_left => self.junction(expr, operands, Shape::All),
            Kind::Any(operands) if operands.len() <= self.parts_left => self.junction(expr, operands, Shape::Any),
            Kind::Not(operand, times) => self.negation(expr, operand, *times),
            Kind::Choose(choose) if choose.branches.len() * 2 < self.parts_left => self.choice(expr, choose),
            _ => self.smallest(expr, self.operand_levels),
        };
        self.depth -= 1;
        part
    }

    /// Explains a part that must be true or false. Any other value becomes the error that the evaluation
    /// would return.
    fn condition(&mut self, expr: &'a Expr) -> Part {
        let mut part = self.part(expr);
        if matches!(part.outcome, Outcome::Value(_)) {
            part.outcome = self.run(|evaluation| evaluation.truth(expr).map(Value::Bool));
        }
        part
    }

    /// `&&` and `||`: a part that decides takes precedence over every error except one that nothing absorbs.
    #[inline(never)]
    fn junction(&mut self, expr: &'a Expr, operands: &'a [Expr], shape: Shape) -> Part {
        let parts: Vec<_> = operands.iter().map(|operand| self.condition(operand)).collect();
        let first = |is_it: &dyn Fn(&Outcome) -> bool| parts.iter().map(|part| &part.outcome).find(|outcome| is_it(outcome));
        let decisive = Outcome::Truth(shape == Shape::Any);
        let outcome = first(&Outcome::is_final)
            .or_else(|| first(&|outcome| *outcome == decisive))
            .or_else(|| first(&|outcome| !matches!(outcome, Outcome::Truth(_))))
            .cloned()
            .unwrap_or(Outcome::Truth(shape == Shape::All));
        self.compound(expr, shape, outcome, parts)
    }

    #[inline(never)]
    fn negation(&mut self, expr: &'a Expr, operand: &'a Expr, times: Times) -> Part {
        let inner = self.condition(operand);
        let is_turned = times % 2 == 1;
        let outcome = match &inner.outcome {
            Outcome::Truth(truth) => Outcome::Truth(truth ^ is_turned),
            other => other.clone(),
        };
        // A double negation changes nothing.
        let shape = if is_turned { Shape::Not } else { Shape::All };
        self.compound(expr, shape, outcome, vec![inner])
    }

    /// `? :`: the first true condition takes its branch, and the first condition that fails ends it.
    #[inline(never)]
    fn choice(&mut self, expr: &'a Expr, choose: &'a Choose) -> Part {
        let mut parts = Vec::new();
        let mut outcome = None;
        for (condition, then) in &choose.branches {
            let mut condition = self.condition(condition);
            let mut then = self.part(then);
            if outcome.is_some() {
                condition.not_taken();
            }
            match &condition.outcome {
                Outcome::Truth(true) if outcome.is_none() => outcome = Some(then.outcome.clone()),
                Outcome::Truth(_) => then.not_taken(),
                Outcome::Value(_) | Outcome::Erred(_) | Outcome::Unknown => {
                    then.not_taken();
                    outcome = outcome.or_else(|| Some(condition.outcome.clone()));
                }
            }
            parts.extend([condition, then]);
        }
        let mut otherwise = self.part(&choose.otherwise);
        if outcome.is_some() {
            otherwise.not_taken();
        }
        let outcome = outcome.unwrap_or_else(|| otherwise.outcome.clone());
        parts.push(otherwise);
        self.compound(expr, Shape::Choice, outcome, parts)
    }

    /// Explains a smallest part of a condition, or a value, with its operands below it.
    #[inline(never)]
    fn smallest(&mut self, expr: &'a Expr, levels: usize) -> Part {
        let outcome = self.run(|evaluation| evaluation.value(expr));
        let mut part = self.operands_below(expr, outcome, levels);
        part.readings = self.readings(expr);
        part.note = self.note(expr, &part);
        part
    }

    /// Explains an operand: a value on the way to a larger one. Conditions among them are split like any
    /// other.
    fn operand(&mut self, expr: &'a Expr, levels: usize) -> Part {
        match &expr.kind {
            Kind::All(_) | Kind::Any(_) | Kind::Not(..) | Kind::Choose(_) if levels > NOTE_LEVELS => self.part(expr),
            _ => {
                let outcome = self.run(|evaluation| evaluation.value(expr));
                self.operands_below(expr, outcome, levels)
            }
        }
    }

    fn operands_below(&mut self, expr: &'a Expr, outcome: Outcome, levels: usize) -> Part {
        match &expr.kind {
            Kind::Chain(chain) => self.chain(chain, chain.links.len(), outcome, levels),
            Kind::Bind(parts) => {
                let mut below = self.operands([&parts.0], levels);
                if levels > 0
                    && let Ok(value) = self.evaluate(|evaluation| evaluation.value(&parts.0))
                {
                    self.locals.push(value);
                    below.extend(self.operands([&parts.1], levels));
                    self.locals.pop();
                }
                self.compound(expr, Shape::Whole, outcome, below)
            }
            Kind::Has(chain) => {
                let below = self.has(chain, levels);
                self.compound(expr, Shape::Whole, outcome, below)
            }
            _ => {
                let below = self.operands(expr.children(), levels);
                self.compound(expr, Shape::Whole, outcome, below)
            }
        }
    }

    /// Explains those that are not literals: the value of a literal is obvious.
    fn operands(&mut self, exprs: impl IntoIterator<Item = &'a Expr>, levels: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        if levels == 0 || self.depth == PARTS_DEPTH_MAX {
            return parts;
        }
        self.depth += 1;
        for expr in exprs {
            if !is_constant(expr) && self.parts_left > 0 {
                parts.push(self.operand(expr, levels - 1));
            }
        }
        self.depth -= 1;
        parts
    }

    /// Explains the first `count` links of a chain. Below it are the receiver and the arguments of its last
    /// call or macro.
    #[inline(never)]
    fn chain(&mut self, chain: &'a Chain, count: usize, outcome: Outcome, levels: usize) -> Part {
        let span = match count.checked_sub(1) {
            Some(last) => chain.base.span.to(chain.links[last].span),
            None => chain.base.span,
        };
        let last_call = chain.links[..count].iter().rposition(|link| !is_step(link));
        let mut below = Vec::new();
        let mut elements = None;
        if levels > 0 && self.depth < PARTS_DEPTH_MAX && self.parts_left > 0 {
            self.depth += 1;
            match last_call {
                None if !matches!(chain.base.kind, Kind::Root(_) | Kind::Local(_)) => below = self.operands([&chain.base], levels),
                None => {}
                Some(at) if at + 1 < count => below.push(self.receiver(chain, at + 1, levels - 1)),
                Some(at) => {
                    if at > 0 || !is_constant(&chain.base) {
                        below.push(self.receiver(chain, at, levels - 1));
                    }
                    match &chain.links[at].kind {
                        LinkKind::Loop(turns) => elements = self.elements(chain, at, turns, &outcome),
                        LinkKind::OptMap { .. } => {}
                        _ => below.extend(self.operands(chain.links[at].children(), levels)),
                    }
                }
            }
            self.depth -= 1;
        }
        Part { elements, ..self.part_at(span, Shape::Whole, outcome, below) }
    }

    fn receiver(&mut self, chain: &'a Chain, count: usize, levels: usize) -> Part {
        if count == 0 {
            return self.operand(&chain.base, levels);
        }
        let outcome = self.run(|evaluation| evaluation.links(chain, count));
        self.chain(chain, count, outcome, levels)
    }

    /// Below `has(x.f().y)` are the calls. A plain path adds nothing to its own name.
    fn has(&mut self, chain: &'a Chain, levels: usize) -> Vec<Part> {
        match chain.links.iter().rposition(|link| !is_step(link)) {
            Some(at) if levels > 0 => vec![self.receiver(chain, at + 1, levels - 1)],
            Some(_) | None => Vec::new(),
        }
    }

    /// Returns the elements that decided `all`, `exists` or `exists_one`: those whose turn had the same
    /// result as the whole, or each of them if all had to.
    fn elements(&mut self, chain: &'a Chain, at: usize, turns: &'a Loop, outcome: &Outcome) -> Option<Elements> {
        let wanted = match (turns.kind, outcome) {
            (LoopKind::Exists | LoopKind::ExistsOne, Outcome::Truth(true)) => ElementSearch::Truth(true),
            (LoopKind::All, Outcome::Truth(false)) => ElementSearch::Truth(false),
            (LoopKind::ExistsOne, Outcome::Truth(false)) => ElementSearch::TruthsOrAny,
            (LoopKind::Exists, Outcome::Truth(false)) | (LoopKind::All, Outcome::Truth(true)) => ElementSearch::Any,
            (LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne, Outcome::Erred(_)) => ElementSearch::Error,
            _ => return None,
        };
        let over = self.evaluate(|evaluation| evaluation.links(chain, at)).ok()?;
        let count = length(&over)?;
        let is_list = matches!(&over, Value::List(_)) || matches!(&over, Value::Json(node) if node.kind() == NodeKind::Array);
        let range = self.evaluate(|evaluation| evaluation.range(&over)).ok()?;
        let mut decided: Vec<Element> = Vec::new();
        let mut passed: Vec<Element> = Vec::new();
        for turn in range {
            if *self.steps_left == 0 || decided.len() == wanted.at_most() || (wanted == ElementSearch::Any && passed.len() == ELEMENTS_MAX)
            {
                break;
            }
            let at = turn.key.brief();
            let value = if is_list { turn.element.brief() } else { turn.value.brief() };
            let outer = self.locals.len();
            self.locals.extend(turn.variables(turns.variables));
            let truth = self.run(|evaluation| evaluation.truth(&turns.body).map(Value::Bool));
            let is_wanted = wanted.is(&truth);
            if is_wanted || (wanted.takes_any() && passed.len() < ELEMENTS_MAX) {
                let part = self.condition(&turns.body);
                let element = Element { at, value, part };
                if is_wanted { decided.push(element) } else { passed.push(element) }
            }
            self.locals.truncate(outer);
        }
        if decided.is_empty() {
            decided = passed;
        }
        Some(Elements { count, decided })
    }

    /// Returns the values of the paths that the part reads, each once. A part that is itself a path already
    /// shows them.
    fn readings(&mut self, expr: &'a Expr) -> Vec<Reading> {
        let mut readings: Vec<Reading> = Vec::new();
        for path in analyse::reads(expr) {
            if path.span == expr.span.range() && path.access == Access::Required {
                continue;
            }
            let text = path.segments.join(".");
            if readings.iter().any(|reading| reading.path == text) {
                continue;
            }
            if let Some(value) = self.read(&path.segments) {
                readings.push(Reading { path: text, value });
            }
        }
        readings
    }

    fn read(&mut self, segments: &[String]) -> Option<String> {
        let (root, fields) = segments.split_first()?;
        let mut budget = self.budget();
        let mut value = self.scope.get(root).cloned();
        for field in fields {
            value = match value {
                Some(Value::Json(node)) => crate::compare::look_up(node, field, &mut budget).ok()?,
                Some(Value::Map(map)) => map.get_str(field).cloned(),
                _ => None,
            };
        }
        self.spend(&budget);
        Some(value.map_or_else(|| "nothing".to_owned(), |value| value.brief()))
    }

    /// Describes briefly what the part compared or examined.
    fn note(&self, expr: &Expr, part: &Part) -> Option<String> {
        if let (Kind::Fold(fold), Outcome::Truth(truth)) = (&expr.kind, &part.outcome)
            && let Some(relation) = relation(fold, &part.parts, *truth)
        {
            return Some(relation);
        }
        if let (Some(elements), Some(kind)) = (&part.elements, loop_kind(expr))
            && let Some(note) = elements.note(kind, &part.outcome)
        {
            return Some(note);
        }
        if let Kind::Has(_) = expr.kind {
            return part.readings.first().filter(|reading| reading.value != "nothing").map(Reading::to_string);
        }
        let mut values: Vec<String> = Vec::new();
        for operand in &part.parts {
            let value = match &operand.outcome {
                Outcome::Truth(truth) => truth.to_string(),
                Outcome::Value(value) => present(value).to_owned(),
                Outcome::Erred(_) | Outcome::Unknown => continue,
            };
            let text = format!("{} = {value}", operand.source);
            if operand.source.chars().count() <= OPERAND_CHARS_MAX && !values.contains(&text) {
                values.push(text);
            }
        }
        (!values.is_empty()).then(|| values.join(", "))
    }

    fn compound(&mut self, expr: &Expr, shape: Shape, outcome: Outcome, parts: Vec<Part>) -> Part {
        self.part_at(expr.span, shape, outcome, parts)
    }

    fn part_at(&mut self, span: Span, shape: Shape, outcome: Outcome, parts: Vec<Part>) -> Part {
        self.parts_left = self.parts_left.saturating_sub(1);
        let span = span.range();
        let source = on_one_line(&self.source[span.clone()]);
        Part { source, span, shape, outcome, route: Route::Taken, note: None, readings: Vec::new(), parts, elements: None }
    }

    /// Evaluates within the remaining steps, each time with the full limits of an evaluation.
    fn run(&mut self, work: impl FnOnce(&mut Evaluation<'_, 'a>) -> Result<Value<'a>, Fault>) -> Outcome {
        let is_short = *self.steps_left < EVALUATION_STEPS_MAX;
        match self.evaluate(work) {
            Err(fault) if fault.is_final() && is_short => Outcome::Unknown,
            given => outcome_of(given),
        }
    }

    fn evaluate<T>(&mut self, work: impl FnOnce(&mut Evaluation<'_, 'a>) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut budget = self.budget();
        let given = work(&mut Evaluation::within(self.source, self.scope, &mut budget, self.locals.clone()));
        self.spend(&budget);
        given
    }

    fn budget(&self) -> Budget {
        Budget::steps(EVALUATION_STEPS_MAX.min(*self.steps_left))
    }

    fn spend(&mut self, budget: &Budget) {
        *self.steps_left = self.steps_left.saturating_sub(budget.steps_spent());
    }
}

/// Which elements of a macro are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ElementSearch {
    /// The first one whose turn has this result.
    Truth(bool),
    /// Those whose turn is true, or the first few if there are none.
    TruthsOrAny,
    /// The first few, whatever their result.
    Any,
    /// The first one that fails.
    Error,
}

impl ElementSearch {
    fn is(self, truth: &Outcome) -> bool {
        match self {
            Self::Truth(wanted) => *truth == Outcome::Truth(wanted),
            Self::TruthsOrAny => *truth == Outcome::Truth(true),
            Self::Any => false,
            Self::Error => matches!(truth, Outcome::Erred(_)),
        }
    }

    fn takes_any(self) -> bool {
        match self {
            Self::TruthsOrAny | Self::Any => true,
            Self::Truth(_) | Self::Error => false,
        }
    }

    fn at_most(self) -> usize {
        match self {
            Self::Truth(_) | Self::Error => 1,
            Self::TruthsOrAny | Self::Any => ELEMENTS_MAX,
        }
    }
}

impl Elements {
    fn note(&self, kind: LoopKind, outcome: &Outcome) -> Option<String> {
        let all = if self.count == 1 { "1 element".to_owned() } else { format!("{} elements", self.count) };
        let first = self.decided.first().map(|element| format!("element {}: {}", element.at, element.value));
        Some(match (kind, outcome, first) {
            (_, Outcome::Truth(_), None) if self.count == 0 => "there are no elements".to_owned(),
            (LoopKind::Exists | LoopKind::ExistsOne, Outcome::Truth(true), Some(first)) => format!("true for {first}"),
            (LoopKind::Exists, Outcome::Truth(false), _) => format!("true for none of {all}"),
            (LoopKind::All, Outcome::Truth(true), _) => format!("true for all of {all}"),
            (LoopKind::All, Outcome::Truth(false), Some(first)) => format!("false for {first}"),
            (LoopKind::ExistsOne, Outcome::Truth(false), _) => {
                let holds = self.decided.iter().filter(|element| element.part.outcome == Outcome::Truth(true)).count();
                if holds == 0 { format!("true for none of {all}") } else { format!("true for more than one of {all}") }
            }
            (_, Outcome::Erred(_), Some(first)) => format!("at {first}"),
            _ => return None,
        })
    }
}

impl Part {
    /// Marks the part, and everything below it, as not reached by the evaluation.
    fn not_taken(&mut self) {
        self.route = Route::NotTaken;
        self.parts.iter_mut().for_each(Part::not_taken);
    }
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}", self.path, self.value)
    }
}

/// Describes two compared values with their true relation: `"acme" = "acme"`, `3 < 5`.
fn relation(fold: &Fold, operands: &[Part], truth: bool) -> Option<String> {
    let ([(operator, other)], [left, right]) = (fold.rest.as_slice(), operands) else { return None };
    if is_constant(&fold.first) || is_constant(other) {
        return None;
    }
    let sign = match (operator, truth) {
        (Operator::Equal, true) | (Operator::NotEqual, false) => "=",
        (Operator::NotEqual, true) | (Operator::Equal, false) => "≠",
        (Operator::Less, true) => "<",
        (Operator::LessOrEqual, true) => "≤",
        (Operator::Greater, true) => ">",
        (Operator::GreaterOrEqual, true) => "≥",
        // "Not less" is not the same as "at least": an undefined number is neither.
        (Operator::Less, false) => "is not <",
        (Operator::LessOrEqual, false) => "is not ≤",
        (Operator::Greater, false) => "is not >",
        (Operator::GreaterOrEqual, false) => "is not ≥",
        (Operator::In, true) => "is in",
        (Operator::In, false) => "is not in",
        (Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder, _) => return None,
    };
    match (&left.outcome, &right.outcome) {
        (Outcome::Truth(_) | Outcome::Value(_), Outcome::Truth(_) | Outcome::Value(_)) => {
            Some(format!("{} {sign} {}", left.outcome, right.outcome))
        }
        _ => None,
    }
}

/// Returns the content of an optional, as a note shows it.
fn present(value: &str) -> &str {
    if value == "optional.none()" {
        return "nothing";
    }
    value.strip_prefix("optional.of(").and_then(|inner| inner.strip_suffix(')')).unwrap_or(value)
}

fn loop_kind(expr: &Expr) -> Option<LoopKind> {
    let Kind::Chain(chain) = &expr.kind else { return None };
    match &chain.links.last()?.kind {
        LinkKind::Loop(turns) => Some(turns.kind),
        _ => None,
    }
}

/// Returns true if a link only goes one step down: a field, or a literal index.
fn is_step(link: &Link) -> bool {
    match &link.kind {
        LinkKind::Field { presence: Presence::Required | Presence::Optional, .. } => true,
        LinkKind::Index { index, .. } => is_constant(index),
        LinkKind::Call(_) | LinkKind::Loop(_) | LinkKind::Or(_) | LinkKind::OrValue(_) | LinkKind::OptMap { .. } => false,
    }
}

/// Returns true if an expression reads nothing.
fn is_constant(expr: &Expr) -> bool {
    !matches!(expr.kind, Kind::Root(_) | Kind::Local(_)) && expr.children().into_iter().all(is_constant)
}

fn length(value: &Value<'_>) -> Option<usize> {
    match value {
        Value::List(list) => Some(list.items().len()),
        Value::Map(map) => Some(map.entries().len()),
        Value::Json(node) => Some(node.len()),
        _ => None,
    }
}

/// Joins a source of several lines into one, and truncates it if it is long.
fn on_one_line(source: &str) -> String {
    let mut line = String::new();
    let mut count = 0;
    let mut space = String::new();
    for character in source.chars() {
        if character.is_whitespace() {
            space.push(character);
            continue;
        }
        if count >= SOURCE_CHARS_MAX {
            line.push('…');
            return line;
        }
        let between = if space.contains('\n') { " " } else { space.as_str() };
        line.push_str(between);
        line.push(character);
        count += between.chars().count() + 1;
        space.clear();
    }
    line
}
