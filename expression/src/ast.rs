//! The tree of a compiled expression, prepared for evaluation: names are resolved, chains are flat, patterns
//! are compiled.
//!
//! Everything that can be long in a source (`a.b.c…`, `a && b && …`, `1 + 2 + …`, `a ? b : c ? …`) is a list
//! here, not nested, so that the depth of the tree is the nesting that the author wrote.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use crate::functions::{Function, Pattern};
use crate::value::{Text, Type, Value};

/// A range in the source, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn to(self, end: Span) -> Span {
        Span { start: self.start, end: end.end }
    }
}

#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    Type(Type),
    /// A name of the scope.
    Root(Box<str>),
    /// A variable of a macro, counted from the outermost.
    Local(usize),
    /// A value, and everything that is selected from it or called on it, in order.
    Chain(Box<Chain>),
    /// A function called without a receiver: `size(x)`, `math.least(1, 2)`.
    Call(Box<Call>),
    List(Vec<Element>),
    Map(Vec<Entry>),
    /// `a && b && …`
    All(Vec<Expr>),
    /// `a || b || …`
    Any(Vec<Expr>),
    /// `!a`, or several of them.
    Not(Box<Expr>, Times),
    /// `-a`, or several of them.
    Negate(Box<Expr>, Times),
    /// Binary operators of one precedence, from left to right.
    Fold(Box<Fold>),
    /// `if ? then : …`, the last without a condition.
    Choose(Box<Choose>),
    /// `has(chain)`: checks whether its last field is there.
    Has(Box<Chain>),
    /// `cel.bind(x, value, body)`
    Bind(Box<(Expr, Expr)>),
}

/// How often a prefix operator is repeated.
pub(crate) type Times = u32;

#[derive(Clone, Debug)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Box<str>),
    Bytes(Arc<[u8]>),
}

impl Literal {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::Double(value) => Value::Double(*value),
            Self::String(text) => Value::String(Text::Borrowed(text)),
            Self::Bytes(bytes) => Value::Bytes(Arc::clone(bytes)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) base: Expr,
    pub(crate) links: Vec<Link>,
}

#[derive(Debug)]
pub(crate) struct Link {
    /// From the dot or bracket to the end of the link.
    pub(crate) span: Span,
    pub(crate) kind: LinkKind,
}

#[derive(Debug)]
pub(crate) enum LinkKind {
    Field {
        name: Box<str>,
        presence: Presence,
    },
    Index {
        index: Box<Expr>,
        presence: Presence,
    },
    Call(Box<Call>),
    Loop(Box<Loop>),
    /// `.or(other)`: the other optional, evaluated only if this one is absent.
    Or(Box<Expr>),
    /// `.orValue(other)`: the other value, evaluated only if this one is absent.
    OrValue(Box<Expr>),
    /// `.optMap(x, body)`
    OptMap {
        body: Box<Expr>,
        flatness: Flatness,
    },
}

/// How a missing field is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is an error.
    Required,
    /// `.?x`, `[?x]`: the value is an optional.
    Optional,
}

/// Whether the body of an `optMap` returns an optional itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flatness {
    Wrapped,
    Flat,
}

/// A function with its arguments, without the receiver.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    pub(crate) arguments: Vec<Expr>,
    /// Compiled in advance, if the pattern is a literal.
    pub(crate) pattern: Option<Pattern>,
}

/// A macro that evaluates its body once for each element or entry.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) kind: LoopKind,
    pub(crate) variables: Variables,
    pub(crate) filter: Option<Expr>,
    pub(crate) body: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    /// `map` and `transformList`
    List,
    Filter,
    /// `transformMap`: the same keys.
    Map,
    /// `transformMapEntry`: a map of one entry, or none, in each turn.
    Entries,
    SortBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variables {
    /// The element of a list, the key of a map.
    One,
    /// The index and the element, or the key and the value.
    Two,
}

#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) value: Expr,
    pub(crate) presence: Presence,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) presence: Presence,
}

#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) first: Expr,
    pub(crate) rest: Vec<(Operator, Expr)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// Returns the comparison that it makes, if it compares by order.
    pub(crate) fn comparison(self) -> Option<Comparison> {
        match self {
            Self::Less => Some(Comparison::Less),
            Self::LessOrEqual => Some(Comparison::LessOrEqual),
            Self::Greater => Some(Comparison::Greater),
            Self::GreaterOrEqual => Some(Comparison::GreaterOrEqual),
            Self::Equal | Self::NotEqual | Self::In => None,
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Remainder => None,
        }
    }
}

/// How two values with an order are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Returns the comparison with its sides exchanged: `1 < x` is `x > 1`.
    pub(crate) fn swap_sides(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    /// Returns the comparison that holds for two ordered values exactly when this one does not.
    pub(crate) fn complement(self) -> Self {
        match self {
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    pub(crate) fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Choose {
    pub(crate) branches: Vec<(Expr, Expr)>,
    pub(crate) otherwise: Expr,
}

impl Expr {
    /// Returns the sub-expressions, in source order.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Literal(_) | Kind::Type(_) | Kind::Root(_) | Kind::Local(_) => Vec::new(),
            Kind::Chain(chain) | Kind::Has(chain) => chain.children(),
            Kind::Call(call) => call.arguments.iter().collect(),
            Kind::List(elements) => elements.iter().map(|element| &element.value).collect(),
            Kind::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
            Kind::All(operands) | Kind::Any(operands) => operands.iter().collect(),
            Kind::Not(operand, _) | Kind::Negate(operand, _) => vec![operand],
            Kind::Fold(fold) => std::iter::once(&fold.first).chain(fold.rest.iter().map(|(_, operand)| operand)).collect(),
            Kind::Choose(choose) => {
                choose.branches.iter().flat_map(|(condition, then)| [condition, then]).chain([&choose.otherwise]).collect()
            }
            Kind::Bind(parts) => vec![&parts.0, &parts.1],
        }
    }
}

impl Chain {
    pub(crate) fn children(&self) -> Vec<&Expr> {
        std::iter::once(&self.base).chain(self.links.iter().flat_map(Link::children)).collect()
    }
}

impl Link {
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            LinkKind::Field { .. } => Vec::new(),
            LinkKind::Index { index, .. } => vec![index],
            LinkKind::Call(call) => call.arguments.iter().collect(),
            LinkKind::Loop(turns) => turns.filter.iter().chain([&turns.body]).collect(),
            LinkKind::Or(other) | LinkKind::OrValue(other) => vec![other],
            LinkKind::OptMap { body, .. } => vec![body],
        }
    }
}
