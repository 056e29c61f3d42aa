//! What can be determined about an expression before it is evaluated: the paths it reads, and what must hold
//! for it to be true.
//!
//! Types are not inferred here.

mod claim;
mod demand;
mod elements;
mod literal;

use std::ops::Range;

use crate::ast::{self, Chain, Expr, Kind, LinkKind, Operator, Presence};
use crate::expression::Expression;

pub use claim::KnownBindings;
use claim::claim_of;
use demand::demand_of;
pub use demand::{Astray, Check, Demand, Obstacle, Reach, ReadType, Test};
pub use elements::Extent;
pub use literal::Literal;

/// A path of fields that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The root's name, then the fields' names.
    pub segments: Vec<String>,
    /// Where it is written, in bytes of the expression's source.
    pub span: Range<usize>,
    /// How the expression handles a missing value.
    pub access: Access,
    /// How much of its value is read.
    pub extent: Extent,
}

/// What an expression does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// It takes the value. A missing field is an error.
    Required,
    /// It takes the value or its absence: `event.?payload`.
    Optional,
    /// It only checks whether the value is there: `has(event.payload)`.
    Presence,
}

/// A place where an expression reads a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRead {
    /// The name of the field that it reads or looks for; `None` if it reads all of them, or one whose name is computed.
    pub name: Option<String>,
    /// Where it is written, in bytes of the expression's source.
    pub span: Range<usize>,
}

impl Expression {
    /// Returns the paths of fields that the expression reads, as far as they are written out, in source
    /// order.
    pub fn reads(&self) -> Vec<Path> {
        reads(self.tree())
    }

    /// Returns which fields of the map `root` the expression reads or looks for, in source order.
    pub fn names_read(&self, root: &str) -> Vec<NameRead> {
        let mut names = Vec::new();
        // As in [`Self::reads_root`].
        if self.source().contains(root) {
            note_names(self.tree(), root, &mut names);
        }
        names
    }

    /// Returns what must hold for the expression to be true or to fail. If it does not hold, the expression
    /// is false.
    pub fn demand(&self, known: &KnownBindings<'_>) -> Demand {
        demand_of(&claim_of(self, known))
    }

    /// Returns true if it reads `root` or a field below it.
    pub fn reads_root(&self, root: &str) -> bool {
        // Listing the reads costs more than evaluating the expression, and most expressions do not even
        // contain the word.
        self.source().contains(root) && self.reads().iter().any(|path| path.segments.first().is_some_and(|first| first == root))
    }
}

/// Returns the paths that the tree reads, in source order. The content of a macro's variable is not followed.
pub(crate) fn reads(tree: &Expr) -> Vec<Path> {
    let mut paths = Vec::new();
    note_reads(tree, &mut paths);
    paths
}

fn note_reads(expr: &Expr, paths: &mut Vec<Path>) {
    let (access, chain) = match &expr.kind {
        Kind::Root(name) => {
            paths.push(Path::of_root(name, expr.span));
            return;
        }
        Kind::Chain(chain) => (Access::Required, chain),
        Kind::Has(chain) => (Access::Presence, chain),
        Kind::Call(call) => {
            if let Some(path) = elements::sized_path(call) {
                paths.push(path);
                return;
            }
            expr.children().into_iter().for_each(|child| note_reads(child, paths));
            return;
        }
        _ => {
            for child in expr.children() {
                note_reads(child, paths);
            }
            return;
        }
    };
    let Some((mut path, links)) = path_of(chain) else {
        for child in chain.children() {
            note_reads(child, paths);
        }
        return;
    };
    path.extent = elements::extent_of(&chain.links[links..]);
    if access == Access::Presence && links == chain.links.len() {
        path.access = access;
        path.extent = Extent::nothing();
    }
    paths.push(path);
    for child in chain.links[links..].iter().flat_map(ast::Link::children) {
        note_reads(child, paths);
    }
}

fn note_names(expr: &Expr, root: &str, names: &mut Vec<NameRead>) {
    let is_root = |expr: &Expr| matches!(&expr.kind, Kind::Root(name) if **name == *root);
    match &expr.kind {
        Kind::Root(_) if is_root(expr) => names.push(NameRead { name: None, span: expr.span.range() }),
        Kind::Fold(fold) => match (&fold.first.kind, fold.rest.as_slice()) {
            (Kind::Literal(ast::Literal::String(name)), [(Operator::In, map)]) if is_root(map) => {
                names.push(NameRead { name: Some(name.to_string()), span: expr.span.range() });
            }
            _ => expr.children().into_iter().for_each(|child| note_names(child, root, names)),
        },
        Kind::Chain(chain) | Kind::Has(chain) if is_root(&chain.base) => {
            names.extend(path_of(chain).map(|(path, _)| NameRead { name: path.segments.get(1).cloned(), span: path.span }));
            chain.links.iter().flat_map(ast::Link::children).for_each(|child| note_names(child, root, names));
        }
        _ => expr.children().into_iter().for_each(|child| note_names(child, root, names)),
    }
}

impl Path {
    fn of_root(name: &str, span: ast::Span) -> Self {
        Self { segments: vec![name.to_owned()], span: span.range(), access: Access::Required, extent: Extent::Whole }
    }
}

/// Returns the path that a chain begins with, and how many of its links belong to it.
pub(crate) fn path_of(chain: &Chain) -> Option<(Path, usize)> {
    let Kind::Root(root) = &chain.base.kind else {
        return None;
    };
    let mut path = Path::of_root(root, chain.base.span);
    let mut links = 0;
    for link in &chain.links {
        let (name, presence) = match &link.kind {
            LinkKind::Field { name, presence } => (name.to_string(), presence),
            LinkKind::Index { index, presence } => match &index.kind {
                Kind::Literal(ast::Literal::String(name)) => (name.to_string(), presence),
                _ => break,
            },
            LinkKind::Call(_) | LinkKind::Loop(_) | LinkKind::Or(_) | LinkKind::OrValue(_) | LinkKind::OptMap { .. } => break,
        };
        if *presence == Presence::Optional {
            path.access = Access::Optional;
        }
        path.segments.push(name);
        path.span.end = link.span.range().end;
        links += 1;
    }
    Some((path, links))
}
