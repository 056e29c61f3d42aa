//! One spelling for all trees that compute the same: terms are equal if their spellings are.
//!
//! It compares how values are computed, never the values.

use std::fmt::Write as _;

use crate::ast::{Call, Chain, Expr, Flatness, Fold, Kind, Link, LinkKind, Literal, Loop, Operator, Presence, Variables};

/// Spells a tree. Brackets, white space, quotes, the order of an equality and the direction of a comparison
/// do not matter.
pub(super) fn spelling_of(expr: &Expr) -> String {
    let mut out = String::new();
    spell(expr, &mut out);
    out
}

/// Spells the beginning of a chain.
pub(super) fn spelled_chain(base: &Expr, links: &[Link]) -> String {
    let mut out = String::new();
    spell(base, &mut out);
    for link in links {
        spell_link(link, &mut out);
    }
    out
}

/// Spells a path of fields in the same way as the chain that reads it.
pub(super) fn spelled_path(segments: &[String]) -> String {
    let mut out = segments.first().cloned().unwrap_or_default();
    for name in segments.iter().skip(1) {
        spell_field(name, Presence::Required, &mut out);
    }
    out
}

fn spell(expr: &Expr, out: &mut String) {
    match &expr.kind {
        Kind::Literal(literal) => spell_literal(literal, out),
        Kind::Type(kind) => put(out, format_args!("type:{kind:?}")),
        Kind::Root(name) => out.push_str(name),
        Kind::Local(index) => put(out, format_args!("#{index}")),
        Kind::Chain(chain) => spell_whole(chain, out),
        Kind::Has(chain) => {
            out.push_str("has(");
            spell_whole(chain, out);
            out.push(')');
        }
        Kind::Call(call) => spell_call(call, out),
        Kind::List(elements) => {
            out.push('[');
            for element in elements {
                spell_presence(element.presence, out);
                spell(&element.value, out);
                out.push(',');
            }
            out.push(']');
        }
        Kind::Map(entries) => {
            out.push('{');
            for entry in entries {
                spell_presence(entry.presence, out);
                spell(&entry.key, out);
                out.push(':');
                spell(&entry.value, out);
                out.push(',');
            }
            out.push('}');
        }
        Kind::All(operands) => spell_joined(operands, "&&", out),
        Kind::Any(operands) => spell_joined(operands, "||", out),
        Kind::Not(operand, times) => {
            put(out, format_args!("!{times}("));
            spell(operand, out);
            out.push(')');
        }
        Kind::Negate(operand, times) => {
            put(out, format_args!("-{times}("));
            spell(operand, out);
            out.push(')');
        }
        Kind::Fold(fold) => spell_fold(fold, out),
        Kind::Choose(choose) => {
            out.push('(');
            for (condition, then) in &choose.branches {
                spell(condition, out);
                out.push('?');
                spell(then, out);
                out.push(':');
            }
            spell(&choose.otherwise, out);
            out.push(')');
        }
        Kind::Bind(parts) => {
            out.push_str("bind(");
            spell(&parts.0, out);
            out.push(',');
            spell(&parts.1, out);
            out.push(')');
        }
    }
}

fn spell_literal(literal: &Literal, out: &mut String) {
    match literal {
        Literal::Null => out.push_str("null"),
        Literal::Bool(value) => put(out, format_args!("{value}")),
        Literal::Int(value) => put(out, format_args!("{value}")),
        Literal::Uint(value) => put(out, format_args!("{value}u")),
        Literal::Double(value) => put(out, format_args!("{value:?}d")),
        Literal::String(text) => put(out, format_args!("{text:?}")),
        Literal::Bytes(bytes) => put(out, format_args!("b{bytes:?}")),
    }
}

fn spell_joined(operands: &[Expr], operator: &str, out: &mut String) {
    out.push('(');
    for operand in operands {
        spell(operand, out);
        out.push_str(operator);
    }
    out.push(')');
}

fn spell_fold(fold: &Fold, out: &mut String) {
    if let [(operator, other)] = fold.rest.as_slice() {
        let (one, other) = (spelling_of(&fold.first), spelling_of(other));
        let (one, operator, other) = match operator {
            // Both sides are evaluated whatever the other returns, and the order does not change the result.
            Operator::Equal | Operator::NotEqual if one > other => (other, *operator, one),
            Operator::Greater => (other, Operator::Less, one),
            Operator::GreaterOrEqual => (other, Operator::LessOrEqual, one),
            _ => (one, *operator, other),
        };
        return put(out, format_args!("({one} {} {other})", operator.symbol()));
    }
    out.push('(');
    spell(&fold.first, out);
    for (operator, operand) in &fold.rest {
        put(out, format_args!(" {} ", operator.symbol()));
        spell(operand, out);
    }
    out.push(')');
}

fn spell_whole(chain: &Chain, out: &mut String) {
    spell(&chain.base, out);
    for link in &chain.links {
        spell_link(link, out);
    }
}

fn spell_link(link: &Link, out: &mut String) {
    match &link.kind {
        LinkKind::Field { name, presence } => spell_field(name, *presence, out),
        LinkKind::Index { index, presence } => match &index.kind {
            // `a["b"]` reads the same as `a.b`.
            Kind::Literal(Literal::String(name)) => spell_field(name, *presence, out),
            _ => {
                out.push('[');
                spell_presence(*presence, out);
                spell(index, out);
                out.push(']');
            }
        },
        LinkKind::Call(call) => {
            out.push('.');
            spell_call(call, out);
        }
        LinkKind::Loop(turns) => spell_loop(turns, out),
        LinkKind::Or(other) => {
            out.push_str(".or(");
            spell(other, out);
            out.push(')');
        }
        LinkKind::OrValue(other) => {
            out.push_str(".orValue(");
            spell(other, out);
            out.push(')');
        }
        LinkKind::OptMap { body, flatness } => {
            out.push_str(match flatness {
                Flatness::Wrapped => ".optMap(",
                Flatness::Flat => ".optFlatMap(",
            });
            spell(body, out);
            out.push(')');
        }
    }
}

fn spell_field(name: &str, presence: Presence, out: &mut String) {
    out.push('.');
    spell_presence(presence, out);
    put(out, format_args!("{name:?}"));
}

fn spell_presence(presence: Presence, out: &mut String) {
    match presence {
        Presence::Required => {}
        Presence::Optional => out.push('?'),
    }
}

fn spell_call(call: &Call, out: &mut String) {
    put(out, format_args!("{}(", call.function.name));
    for argument in &call.arguments {
        spell(argument, out);
        out.push(',');
    }
    out.push(')');
}

fn spell_loop(turns: &Loop, out: &mut String) {
    put(out, format_args!(".{:?}", turns.kind));
    out.push_str(match turns.variables {
        Variables::One => "1(",
        Variables::Two => "2(",
    });
    if let Some(filter) = &turns.filter {
        spell(filter, out);
        out.push(',');
    }
    spell(&turns.body, out);
    out.push(')');
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes every text");
}
