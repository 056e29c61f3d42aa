//! Binary operators: their precedence, and the flat nodes that runs of them become.

use super::{Parser, Result, Tree};
use crate::ast::{Expr, Fold, Kind, Operator};
use crate::lex::Token;

impl Parser<'_> {
    /// Parses operands and binary operators, by precedence. Operators of one precedence become one flat node.
    pub(super) fn binary(&mut self) -> Result<Tree<Expr>> {
        let mut operands = vec![self.unary()?];
        let mut operators: Vec<Infix> = Vec::new();
        while let Some(infix) = self.infix() {
            self.advance()?;
            while operators.last().is_some_and(|top| top.precedence() > infix.precedence()) {
                self.reduce(&mut operands, &mut operators)?;
            }
            operators.push(infix);
            operands.push(self.unary()?);
        }
        while !operators.is_empty() {
            self.reduce(&mut operands, &mut operators)?;
        }
        Ok(operands.swap_remove(0))
    }

    /// Joins the run of operators of the topmost precedence, and their operands, into one node.
    fn reduce(&mut self, operands: &mut Vec<Tree<Expr>>, operators: &mut Vec<Infix>) -> Result<()> {
        let Some(precedence) = operators.last().map(|infix| infix.precedence()) else {
            return Ok(());
        };
        let first = operators.iter().rposition(|infix| infix.precedence() != precedence).map_or(0, |at| at + 1);
        let run = operators.split_off(first);
        let parts = operands.split_off(operands.len() - run.len() - 1);
        let height = parts.iter().map(|(_, height)| *height).max().unwrap_or_default();
        let end = parts.last().map(|(expr, _)| expr.span);
        let mut parts = parts.into_iter().map(|(expr, _)| expr);
        let Some(first) = parts.next() else {
            return Ok(());
        };
        let span = end.map_or(first.span, |end| first.span.to(end));
        let kind = match run[0] {
            Infix::And => Kind::All(flat(first, parts, |kind| match kind {
                Kind::All(operands) => Ok(operands),
                other => Err(other),
            })),
            Infix::Or => Kind::Any(flat(first, parts, |kind| match kind {
                Kind::Any(operands) => Ok(operands),
                other => Err(other),
            })),
            Infix::Fold(_) => {
                let rest = run.iter().filter_map(|infix| match infix {
                    Infix::Fold(operator) => Some((*operator, parts.next()?)),
                    Infix::And | Infix::Or => None,
                });
                Kind::Fold(Box::new(Fold { rest: rest.collect(), first }))
            }
        };
        operands.push(self.node(span, kind, height)?);
        Ok(())
    }

    fn infix(&self) -> Option<Infix> {
        let symbol = match &self.token {
            Token::Mark(mark) => mark,
            Token::Name(name) if &**name == "in" => "in",
            _ => return None,
        };
        Some(match symbol {
            "&&" => Infix::And,
            "||" => Infix::Or,
            "==" => Infix::Fold(Operator::Equal),
            "!=" => Infix::Fold(Operator::NotEqual),
            "<" => Infix::Fold(Operator::Less),
            "<=" => Infix::Fold(Operator::LessOrEqual),
            ">" => Infix::Fold(Operator::Greater),
            ">=" => Infix::Fold(Operator::GreaterOrEqual),
            "in" => Infix::Fold(Operator::In),
            "+" => Infix::Fold(Operator::Add),
            "-" => Infix::Fold(Operator::Subtract),
            "*" => Infix::Fold(Operator::Multiply),
            "/" => Infix::Fold(Operator::Divide),
            "%" => Infix::Fold(Operator::Remainder),
            _ => return None,
        })
    }
}

#[derive(Clone, Copy)]
enum Infix {
    And,
    Or,
    Fold(Operator),
}

impl Infix {
    fn precedence(self) -> u8 {
        match self {
            Self::Or => 0,
            Self::And => 1,
            Self::Fold(operator) => match operator {
                Operator::Equal
                | Operator::NotEqual
                | Operator::Less
                | Operator::LessOrEqual
                | Operator::Greater
                | Operator::GreaterOrEqual
                | Operator::In => 2,
                Operator::Add | Operator::Subtract => 3,
                Operator::Multiply | Operator::Divide | Operator::Remainder => 4,
            },
        }
    }
}

/// Returns the operands of a run of `&&` or `||`, including those of the same operator in brackets.
fn flat(first: Expr, rest: impl Iterator<Item = Expr>, same: impl Fn(Kind) -> std::result::Result<Vec<Expr>, Kind>) -> Vec<Expr> {
    let mut operands = Vec::new();
    for operand in std::iter::once(first).chain(rest) {
        match same(operand.kind) {
            Ok(inner) => operands.extend(inner),
            Err(kind) => operands.push(Expr { span: operand.span, kind }),
        }
    }
    operands
}
