//! Claims: what an expression asserts about the fields that it reads, as far as this is clear without any
//! value.
//!
//! Parts that are not understood are *unknown*, never guessed. `demand` derives what follows from a claim.

use super::Literal;
use crate::ast::{Call, Chain, Choose, Expr, Fold, Kind, Link, LinkKind, Operator, Presence};
use crate::budget::Budget;
use crate::evaluate::Evaluation;
use crate::expression::Expression;
use crate::functions::certain_start;
use crate::scope::Scope;
use crate::value::Value;

/// The maximum number of parts of an expression, with the named values it reads, that are examined. The
/// others are unknown.
const PARTS_MAX: usize = 512;
/// The maximum number of steps for a part that reads only known values.
const CONSTANT_STEPS_MAX: u64 = 1_000;

/// What is known about an expression's names before there is an event.
#[derive(Debug, Default)]
pub struct KnownBindings<'k> {
    /// The names whose values will not change.
    pub constants: Scope<'k>,
    /// A name whose fields are expressions, each of which sees the fields before it. A field whose expression
    /// fails is missing.
    pub named: Option<(&'k str, &'k [(String, Expression)])>,
}

/// What is known about a part that must be true or false.
#[derive(Clone, Debug)]
pub(crate) enum Claim<'a> {
    Known(bool),
    /// It fails, whatever it reads.
    Errs,
    Unknown,
    /// A field has a property.
    Of(Read<'a>, Property),
    Not(Box<Claim<'a>>),
    All(Vec<Claim<'a>>),
    Any(Vec<Claim<'a>>),
    /// `condition ? then : otherwise`
    Choice(Box<[Claim<'a>; 3]>),
    /// The claim, unless the value that is computed before it fails.
    After(Box<(Term<'a>, Claim<'a>)>),
}

/// What is known about a part of any type.
#[derive(Clone, Debug)]
pub(crate) enum Term<'a> {
    Constant(Value<'a>),
    /// It fails, whatever it reads.
    Errs,
    Unknown,
    Read(Read<'a>),
    /// It is true or false, or fails.
    Claim(Claim<'a>),
    /// The name whose fields are expressions.
    Named,
}

/// A field that is read.
#[derive(Clone, Debug)]
pub(crate) struct Read<'a> {
    /// The root's name, then the fields' names.
    pub(crate) path: Vec<String>,
    /// The steps that are written `.?field`, by their index in the path.
    pub(crate) lenient: Vec<usize>,
    pub(crate) absence: Absence<'a>,
}

/// The value of a field if one of the lenient steps finds nothing.
#[derive(Clone, Debug)]
pub(crate) enum Absence<'a> {
    /// There are no such steps, or the absent value is required.
    Errs,
    /// The optional itself is the value.
    IsNone,
    /// `.orValue(value)`
    Becomes(Value<'a>),
    Unknown,
}

/// What is claimed about a field.
#[derive(Clone, Debug)]
pub(crate) enum Property {
    True,
    OneOf(Vec<Literal>),
    StartsWith(String),
    EndsWith(String),
    /// It matches a pattern, and at least starts with this.
    Matches {
        start: String,
    },
    Present,
}

/// Returns the claim of an expression that must be true or false.
pub(crate) fn claim_of<'a>(expression: &'a Expression, known: &'a KnownBindings<'a>) -> Claim<'a> {
    let mut lowering = Lowering { known, source: expression.source(), named: Vec::new(), bound: Vec::new(), parts_left: PARTS_MAX };
    if let Some((root, named)) = known.named
        && expression.reads_root(root)
    {
        for (name, value) in named {
            lowering.source = value.source();
            let sized = lowering.sized_term(value.tree());
            lowering.named.push((name, sized));
        }
        lowering.source = expression.source();
        lowering.parts_left = PARTS_MAX;
    }
    lowering.claim(expression.tree())
}

/// A term with the number of parts that it took. Each use counts them again.
#[derive(Clone)]
struct SizedTerm<'a> {
    term: Term<'a>,
    parts: usize,
}

struct Lowering<'a> {
    known: &'a KnownBindings<'a>,
    /// The source of the expression under examination.
    source: &'a str,
    named: Vec<(&'a str, SizedTerm<'a>)>,
    /// The variables of `cel.bind` around the current part.
    bound: Vec<SizedTerm<'a>>,
    parts_left: usize,
}

impl<'a> Lowering<'a> {
    fn claim(&mut self, expr: &'a Expr) -> Claim<'a> {
        truth_claim(self.term(expr))
    }

    fn claims(&mut self, exprs: &'a [Expr]) -> Vec<Claim<'a>> {
        exprs.iter().map(|expr| self.claim(expr)).collect()
    }

    fn term(&mut self, expr: &'a Expr) -> Term<'a> {
        if !self.take(1) {
            return Term::Unknown;
        }
        if self.is_constant(expr) {
            return self.constant(expr);
        }
        match &expr.kind {
            Kind::Root(name) => self.root(name),
            Kind::Local(index) => match self.bound.get(*index).cloned() {
                Some(bound) => self.reuse_term(bound),
                None => Term::Unknown,
            },
            Kind::Chain(chain) => self.chain(chain, chain.links.len()),
            Kind::Has(chain) => self.has(chain),
            Kind::All(operands) => Term::Claim(Claim::All(self.claims(operands))),
            Kind::Any(operands) => Term::Claim(Claim::Any(self.claims(operands))),
            Kind::Not(operand, times) => match (self.claim(operand), times % 2) {
                (claim, 1) => Term::Claim(Claim::Not(Box::new(claim))),
                (claim, _) => Term::Claim(claim),
            },
            Kind::Fold(fold) => self.fold(fold),
            Kind::Choose(choose) => self.choose(choose),
            Kind::Bind(parts) => self.bind(&parts.0, &parts.1),
            Kind::Literal(_) | Kind::Type(_) | Kind::Call(_) | Kind::List(_) | Kind::Map(_) | Kind::Negate(..) => Term::Unknown,
        }
    }

    fn take(&mut self, parts: usize) -> bool {
        let left = self.parts_left.checked_sub(parts);
        self.parts_left = left.unwrap_or(0);
        left.is_some()
    }

    fn sized_term(&mut self, expr: &'a Expr) -> SizedTerm<'a> {
        let before = self.parts_left;
        let term = self.term(expr);
        SizedTerm { term, parts: before - self.parts_left }
    }

    fn reuse_term(&mut self, sized: SizedTerm<'a>) -> Term<'a> {
        if self.take(sized.parts) { sized.term } else { Term::Unknown }
    }

    /// Returns true if the part reads only known values.
    fn is_constant(&self, expr: &Expr) -> bool {
        match &expr.kind {
            Kind::Root(name) => self.known.constants.get(name).is_some(),
            // Outside of `cel.bind`, a variable belongs to a macro inside the part itself.
            Kind::Local(_) => self.bound.is_empty(),
            _ => expr.children().into_iter().all(|child| self.is_constant(child)),
        }
    }

    fn constant(&self, expr: &'a Expr) -> Term<'a> {
        let mut budget = Budget::steps(CONSTANT_STEPS_MAX);
        match Evaluation::new(self.source, &self.known.constants, &mut budget).value(expr) {
            Ok(value) => Term::Constant(value),
            Err(fault) if fault.is_final() => Term::Unknown,
            Err(_) => Term::Errs,
        }
    }

    fn root(&self, name: &str) -> Term<'a> {
        if self.known.named.is_some_and(|(root, _)| root == name) {
            return Term::Named;
        }
        Term::Read(Read { path: vec![name.to_owned()], lenient: Vec::new(), absence: Absence::Errs })
    }

    /// Returns the term of the chain up to its first `count` links.
    fn chain(&mut self, chain: &'a Chain, count: usize) -> Term<'a> {
        let mut term = self.term(&chain.base);
        for link in &chain.links[..count] {
            term = self.link(term, link);
        }
        term
    }

    fn link(&mut self, term: Term<'a>, link: &'a Link) -> Term<'a> {
        if matches!(term, Term::Errs) {
            return Term::Errs;
        }
        match &link.kind {
            LinkKind::Field { name, presence } => self.step(term, name, *presence),
            LinkKind::Index { index, presence } => match self.term(index) {
                Term::Constant(Value::String(name)) => self.step(term, &name, *presence),
                _ => Term::Unknown,
            },
            LinkKind::OrValue(other) => match (term, self.term(other)) {
                (Term::Read(Read { path, lenient, absence: Absence::IsNone }), other) => {
                    let absence = match other {
                        Term::Constant(value) => Absence::Becomes(value),
                        _ => Absence::Unknown,
                    };
                    Term::Read(Read { path, lenient, absence })
                }
                _ => Term::Unknown,
            },
            LinkKind::Call(call) => match term {
                Term::Read(read) => self.call(read, call),
                _ => Term::Unknown,
            },
            LinkKind::Loop(_) | LinkKind::Or(_) | LinkKind::OptMap { .. } => Term::Unknown,
        }
    }

    /// `term.name` or `term.?name`
    fn step(&mut self, term: Term<'a>, name: &str, presence: Presence) -> Term<'a> {
        match (term, presence) {
            (Term::Errs, _) => Term::Errs,
            (Term::Read(mut read), _) => {
                match (&read.absence, presence) {
                    (Absence::Becomes(_) | Absence::Unknown, _) => return Term::Unknown,
                    (Absence::Errs | Absence::IsNone, Presence::Required) => {}
                    (Absence::Errs | Absence::IsNone, Presence::Optional) => {
                        read.lenient.push(read.path.len());
                        read.absence = Absence::IsNone;
                    }
                }
                read.path.push(name.to_owned());
                Term::Read(read)
            }
            (Term::Named, Presence::Required) => match self.named.iter().rev().find(|(known, _)| *known == name).cloned() {
                Some((_, named)) => self.reuse_term(named),
                None => Term::Unknown,
            },
            (Term::Named, Presence::Optional) | (Term::Constant(_) | Term::Claim(_) | Term::Unknown, _) => Term::Unknown,
        }
    }

    /// Returns the term of a method call on a field that is read.
    fn call(&mut self, read: Read<'a>, call: &'a Call) -> Term<'a> {
        let argument = call.arguments.first().map(|argument| self.term(argument));
        let is_none = matches!(read.absence, Absence::IsNone);
        let property = match (call.function.name, argument) {
            ("hasValue", None) if is_none => Property::Present,
            // If it is absent, the error is the one that a plain step would cause.
            ("value", None) if is_none => {
                return Term::Read(Read { lenient: Vec::new(), absence: Absence::Errs, ..read });
            }
            _ if is_none => return Term::Unknown,
            ("startsWith", Some(Term::Constant(Value::String(start)))) => Property::StartsWith(start.to_string()),
            ("endsWith", Some(Term::Constant(Value::String(end)))) => Property::EndsWith(end.to_string()),
            ("matches" | "glob", Some(Term::Constant(Value::String(pattern)))) => match call.function.pattern {
                Some(syntax) => Property::Matches { start: certain_start(&pattern, syntax) },
                None => return Term::Unknown,
            },
            _ => return Term::Unknown,
        };
        Term::Claim(Claim::Of(read, property))
    }

    fn has(&mut self, chain: &'a Chain) -> Term<'a> {
        let Some((Link { kind: LinkKind::Field { name, .. }, .. }, before)) = chain.links.split_last() else {
            return Term::Unknown;
        };
        let parent = self.chain(chain, before.len());
        match self.step(parent, name, Presence::Optional) {
            Term::Read(read) => Term::Claim(Claim::Of(read, Property::Present)),
            Term::Errs => Term::Errs,
            Term::Constant(_) | Term::Claim(_) | Term::Named | Term::Unknown => Term::Unknown,
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Term<'a> {
        let [(operator, other)] = fold.rest.as_slice() else {
            return Term::Unknown;
        };
        let (one, other) = (self.term(&fold.first), self.term(other));
        if matches!(one, Term::Errs) || matches!(other, Term::Errs) {
            return Term::Errs;
        }
        match operator {
            Operator::Equal => Term::Claim(equality(one, other)),
            Operator::NotEqual => Term::Claim(Claim::Not(Box::new(equality(one, other)))),
            Operator::In => Term::Claim(membership(one, &other)),
            Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual
            | Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => Term::Unknown,
        }
    }

    fn choose(&mut self, choose: &'a Choose) -> Term<'a> {
        let mut claim = self.claim(&choose.otherwise);
        for (condition, then) in choose.branches.iter().rev() {
            claim = Claim::Choice(Box::new([self.claim(condition), self.claim(then), claim]));
        }
        Term::Claim(claim)
    }

    fn bind(&mut self, value: &'a Expr, body: &'a Expr) -> Term<'a> {
        let value = self.sized_term(value);
        self.bound.push(value.clone());
        let body = self.term(body);
        self.bound.pop();
        match body {
            Term::Constant(_) | Term::Claim(_) => Term::Claim(Claim::After(Box::new((value.term, truth_claim(body))))),
            Term::Errs => Term::Errs,
            Term::Read(_) | Term::Named | Term::Unknown => Term::Unknown,
        }
    }
}

/// Returns the claim of a part that must be true or false.
fn truth_claim(term: Term<'_>) -> Claim<'_> {
    match term {
        Term::Constant(Value::Bool(truth)) => Claim::Known(truth),
        Term::Constant(_) | Term::Errs | Term::Named => Claim::Errs,
        Term::Claim(claim) => claim,
        Term::Read(Read { absence: Absence::IsNone, .. }) | Term::Unknown => Claim::Unknown,
        Term::Read(read) => Claim::Of(read, Property::True),
    }
}

fn equality<'a>(one: Term<'a>, other: Term<'a>) -> Claim<'a> {
    match (one, other) {
        (Term::Read(read), Term::Constant(value)) | (Term::Constant(value), Term::Read(read)) => is_one_of(read, &[value]),
        (Term::Claim(claim), Term::Constant(Value::Bool(true))) | (Term::Constant(Value::Bool(true)), Term::Claim(claim)) => claim,
        (Term::Claim(claim), Term::Constant(Value::Bool(false))) | (Term::Constant(Value::Bool(false)), Term::Claim(claim)) => {
            Claim::Not(Box::new(claim))
        }
        _ => Claim::Unknown,
    }
}

fn membership<'a>(one: Term<'a>, other: &Term<'a>) -> Claim<'a> {
    match (one, other) {
        (Term::Read(read), Term::Constant(Value::List(list))) => is_one_of(read, list.items()),
        (Term::Read(read), Term::Constant(Value::Map(map))) => {
            is_one_of(read, &map.entries().iter().map(|(key, _)| key.clone()).collect::<Vec<_>>())
        }
        _ => Claim::Unknown,
    }
}

fn is_one_of<'a>(read: Read<'a>, values: &[Value<'a>]) -> Claim<'a> {
    if matches!(read.absence, Absence::IsNone) {
        return Claim::Unknown;
    }
    let mut literals = Vec::new();
    for value in values {
        match (Literal::of(value), value) {
            (Some(literal), _) => literals.push(literal),
            // An undefined number is not equal to anything.
            (None, Value::Double(_)) => {}
            (None, _) => return Claim::Unknown,
        }
    }
    literals.sort();
    literals.dedup();
    Claim::Of(read, Property::OneOf(literals))
}
