//! Turns tokens into the tree: the grammar, its limits, and the meaning of each name.
//!
//! It evaluates nothing, but it may compile regular expressions that are literals.

mod call;
mod names;
mod operators;

use crate::ast::{Chain, Choose, Element, Entry, Expr, Kind, Link, LinkKind, Literal, Presence, Span};
use crate::error::CompileError;
use crate::lex::{Lexer, Token};
use crate::scope::Roots;

pub(crate) type Result<T> = std::result::Result<T, Box<CompileError>>;

/// The maximum length of a source, in bytes.
pub const SOURCE_BYTES_MAX: usize = 8 << 10;
/// The maximum nesting of brackets of all kinds, and of the middles of `? :`, in a source.
pub const SOURCE_DEPTH_MAX: usize = 64;
/// The maximum depth of the tree. In practice a level of brackets makes one to three levels of the tree.
const TREE_DEPTH_MAX: u32 = 160;

/// What happens to patterns that are literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LiteralPatterns {
    /// They are compiled, and those that are not valid are errors.
    Compiled,
    /// They are left to the evaluation.
    Left,
}

/// Parses the whole of `source`. Returns the tree, and the work of compiling its patterns in bytes that were written for them.
pub(crate) fn parse(source: &str, roots: &Roots, patterns: LiteralPatterns) -> Result<(Expr, usize)> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(CompileError::new(format!("the expression is longer than {SOURCE_BYTES_MAX} bytes"), 0..source.len()));
    }
    let mut parser = Parser::new(source, roots, patterns)?;
    if parser.token == Token::End {
        return Err(CompileError::new("the expression is empty", 0..source.len()));
    }
    let (expr, _) = parser.expression()?;
    if parser.token != Token::End {
        return Err(parser.unexpected_token("an operator or the end of the expression"));
    }
    Ok((expr, parser.pattern_work))
}

pub(crate) struct Parser<'s> {
    source: &'s str,
    roots: &'s Roots,
    lexer: Lexer<'s>,
    token: Token,
    /// Of the current token.
    span: Span,
    /// The end of the token before it.
    last: Span,
    /// The variables of the macros around this place, outermost first.
    locals: Vec<Box<str>>,
    depth: usize,
    patterns: LiteralPatterns,
    /// The memory that all patterns so far need together.
    pattern_bytes: usize,
    /// The work of compiling them.
    pattern_work: usize,
}

/// A tree with its depth.
type Tree<T> = (T, u32);

impl<'s> Parser<'s> {
    fn new(source: &'s str, roots: &'s Roots, patterns: LiteralPatterns) -> Result<Self> {
        let mut lexer = Lexer::new(source, 0);
        let (token, span) = lexer.next()?;
        Ok(Self {
            source,
            roots,
            lexer,
            token,
            span,
            last: span,
            locals: Vec::new(),
            depth: 0,
            patterns,
            pattern_bytes: 0,
            pattern_work: 0,
        })
    }

    /// Parses `condition ? then : otherwise`, or less.
    fn expression(&mut self) -> Result<Tree<Expr>> {
        self.depth += 1;
        if self.depth > SOURCE_DEPTH_MAX {
            return Err(CompileError::new(format!("nested deeper than {SOURCE_DEPTH_MAX} levels"), self.span.range()));
        }
        let (mut tail, mut height) = self.binary()?;
        let start = tail.span;
        let mut branches = Vec::new();
        while self.eat("?")? {
            let (then, then_height) = self.expression()?;
            self.expect(":", "the `:` of `condition ? then : otherwise`")?;
            let (otherwise, otherwise_height) = self.binary()?;
            height = height.max(then_height).max(otherwise_height);
            branches.push((std::mem::replace(&mut tail, otherwise), then));
        }
        self.depth -= 1;
        if branches.is_empty() {
            return Ok((tail, height));
        }
        let span = start.to(tail.span);
        self.node(span, Kind::Choose(Box::new(Choose { branches, otherwise: tail })), height)
    }

    /// Parses any number of `!` or of `-`, and a value with its links.
    fn unary(&mut self) -> Result<Tree<Expr>> {
        let start = self.span;
        let mut nots = 0;
        while self.eat("!")? {
            nots += 1;
        }
        let mut minuses = 0;
        while nots == 0 && self.eat("-")? {
            minuses += 1;
        }
        // The last minus belongs to a literal: `-9223372036854775808` is one number.
        let sign = if minuses > 0 && is_number(&self.token) {
            minuses -= 1;
            Sign::Minus
        } else if nots > 0 && self.token == Token::Mark("-") && is_number(&self.following()) {
            self.advance()?;
            Sign::Minus
        } else {
            Sign::None
        };
        let (operand, height) = self.member(sign)?;
        let span = start.to(operand.span);
        if nots > 0 {
            self.node(span, Kind::Not(Box::new(operand), nots), height)
        } else if minuses > 0 {
            self.node(span, Kind::Negate(Box::new(operand), minuses), height)
        } else {
            Ok((operand, height))
        }
    }

    /// Parses a value and everything that is selected from it or called on it.
    fn member(&mut self, sign: Sign) -> Result<Tree<Expr>> {
        let start = self.span;
        let (base, mut height) = self.primary(sign)?;
        let mut links = Vec::new();
        loop {
            let from = self.span;
            if self.eat(".")? {
                let presence = self.presence()?;
                let name = self.field_name()?;
                let is_call = presence == Presence::Required && self.token == Token::Mark("(");
                let (kind, link_height) = if is_call { self.method(&name, self.last)? } else { (LinkKind::Field { name, presence }, 0) };
                height = height.max(link_height);
                links.push(Link { span: from.to(self.last), kind });
            } else if self.eat("[")? {
                let presence = self.presence()?;
                let (index, index_height) = self.expression()?;
                self.expect("]", "the `]` after the index")?;
                height = height.max(index_height);
                links.push(Link { span: from.to(self.last), kind: LinkKind::Index { index: Box::new(index), presence } });
            } else if self.token == Token::Mark("{") && (!links.is_empty() || matches!(base.kind, Kind::Root(_))) {
                return Err(CompileError::new("message types are not supported", start.to(self.span).range())
                    .hint("write a map: `{\"field\": value}`"));
            } else {
                break;
            }
        }
        if links.is_empty() {
            return Ok((base, height));
        }
        let span = base.span.to(self.last);
        self.node(span, Kind::Chain(Box::new(Chain { base, links })), height)
    }

    fn presence(&mut self) -> Result<Presence> {
        Ok(if self.eat("?")? { Presence::Optional } else { Presence::Required })
    }

    fn field_name(&mut self) -> Result<Box<str>> {
        match &self.token {
            Token::Name(name) if !matches!(&**name, "in" | "true" | "false" | "null") => {
                let name = name.clone();
                self.advance()?;
                Ok(name)
            }
            Token::QuotedName(name) => {
                let name = name.clone();
                self.advance()?;
                Ok(name)
            }
            Token::Name(name) => {
                Err(CompileError::new(format!("`{name}` is a keyword"), self.span.range()).hint(format!("write `[\"{name}\"]`")))
            }
            _ => Err(self.unexpected_token("a field name after the dot")),
        }
    }

    fn primary(&mut self, sign: Sign) -> Result<Tree<Expr>> {
        let start = self.span;
        let literal = match &self.token {
            Token::Int(magnitude) => Literal::Int(self.to_signed(*magnitude, sign)?),
            Token::Double(value) => Literal::Double(match sign {
                Sign::Minus => -value,
                Sign::None => *value,
            }),
            Token::Uint(value) => Literal::Uint(*value),
            Token::String(text) => Literal::String(text.clone()),
            Token::Bytes(bytes) => Literal::Bytes(bytes.as_slice().into()),
            Token::Name(name) => match &**name {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "null" => Literal::Null,
                _ => return self.name_expression(),
            },
            Token::Mark("(") => {
                self.advance()?;
                let (mut inner, height) = self.expression()?;
                self.expect(")", "the closing `)`")?;
                inner.span = start.to(self.last);
                return Ok((inner, height));
            }
            Token::Mark("[") => return self.list(),
            Token::Mark("{") => return self.map(),
            Token::Mark(".") => {
                self.advance()?;
                return self.global(start);
            }
            Token::Mark(_) | Token::QuotedName(_) | Token::End => return Err(self.unexpected_token("a value")),
        };
        let span = match sign {
            Sign::Minus => self.last.to(start),
            Sign::None => start,
        };
        self.advance()?;
        self.node(span, Kind::Literal(literal), 0)
    }

    fn to_signed(&self, magnitude: u64, sign: Sign) -> Result<i64> {
        let value = match sign {
            Sign::Minus => 0_i64.checked_sub_unsigned(magnitude),
            Sign::None => i64::try_from(magnitude).ok(),
        };
        value.ok_or_else(|| {
            CompileError::new("the number does not fit in an int", self.span.range())
                .hint("write an integer up to 18446744073709551615 with a `u` at its end")
        })
    }

    fn list(&mut self) -> Result<Tree<Expr>> {
        let start = self.span;
        self.advance()?;
        let mut elements = Vec::new();
        let mut height = 0;
        while self.token != Token::Mark("]") {
            let presence = self.presence()?;
            let (value, value_height) = self.expression()?;
            height = height.max(value_height);
            elements.push(Element { value, presence });
            if !self.eat(",")? {
                break;
            }
        }
        self.expect("]", "`,` or the closing `]` of this list")?;
        self.node(start.to(self.last), Kind::List(elements), height)
    }

    fn map(&mut self) -> Result<Tree<Expr>> {
        let start = self.span;
        self.advance()?;
        let mut entries = Vec::new();
        let mut height = 0;
        while self.token != Token::Mark("}") {
            let presence = self.presence()?;
            let (key, key_height) = self.expression()?;
            self.expect(":", "the `:` between a key and its value")?;
            let (value, value_height) = self.expression()?;
            height = height.max(key_height).max(value_height);
            entries.push(Entry { key, value, presence });
            if !self.eat(",")? {
                break;
            }
        }
        self.expect("}", "`,` or the closing `}` of this map")?;
        self.node(start.to(self.last), Kind::Map(entries), height)
    }

    /// Returns a node over children of the given height, or an error if the tree becomes too deep.
    #[allow(clippy::unused_self, reason = "every node of the parser is made here")]
    fn node(&self, span: Span, kind: Kind, height: u32) -> Result<Tree<Expr>> {
        if height >= TREE_DEPTH_MAX {
            return Err(CompileError::new("nested too deeply", span.range()).hint("move parts of it to `local`, or nest less deeply"));
        }
        Ok((Expr { span, kind }, height + 1))
    }

    fn eat(&mut self, mark: &str) -> Result<bool> {
        let is_there = matches!(self.token, Token::Mark(found) if found == mark);
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    fn expect(&mut self, mark: &str, what: &str) -> Result<()> {
        if self.eat(mark)? {
            return Ok(());
        }
        Err(self.unexpected_token(what))
    }

    /// Returns the token after the current one. An invalid token counts as the end.
    fn following(&self) -> Token {
        Lexer::new(self.source, self.lexer.offset()).next().map_or(Token::End, |(token, _)| token)
    }

    fn advance(&mut self) -> Result<()> {
        self.last = self.span;
        (self.token, self.span) = self.lexer.next()?;
        Ok(())
    }

    fn unexpected_token(&self, expected: &str) -> Box<CompileError> {
        let place = self.span.range();
        let message = match &self.token {
            Token::End => format!("the expression ends where {expected} is expected"),
            _ => format!("expected {expected}, not `{}`", &self.source[place.clone()]),
        };
        let error = CompileError::new(message, place);
        match &self.token {
            Token::Name(name) if &**name == "and" => error.hint("write `&&`"),
            Token::Name(name) if &**name == "or" => error.hint("write `||`"),
            Token::Name(name) if &**name == "not" => error.hint("write `!`"),
            _ => error,
        }
    }
}

/// Returns true if a minus before the token belongs to it.
fn is_number(token: &Token) -> bool {
    matches!(token, Token::Int(_) | Token::Double(_))
}

/// A minus that was read before a number.
#[derive(Clone, Copy)]
enum Sign {
    Minus,
    None,
}
