//! The meaning of a name: a variable of a macro, a root, a type, a function, or a macro.

use super::{Parser, Result, Tree};
use crate::ast::{Expr, Kind, Span};
use crate::error::CompileError;
use crate::functions::{self, CallForm};
use crate::lex::{Lexer, Token};
use crate::nearest::nearest;
use crate::scope::LookUp;
use crate::value::Type;

/// Names that the language reserves.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The maximum number of segments of a dotted name that are tried.
const DOTTED_NAMES_MAX: u32 = 8;

impl Parser<'_> {
    /// Parses a name: a variable, a root, a type, a function, or a macro.
    pub(super) fn name_expression(&mut self) -> Result<Tree<Expr>> {
        let start = self.span;
        let name = self.name()?;
        let local = self.locals.iter().rposition(|local| **local == *name);
        match local {
            Some(local) if self.token != Token::Mark("(") => {
                return self.node(start, Kind::Local(local), 0);
            }
            _ => {}
        }
        self.root_or_function(start, name, LookUp::Container)
    }

    /// Parses a name after a leading dot: never a variable of a macro, and not a name of the container.
    pub(super) fn global(&mut self, start: Span) -> Result<Tree<Expr>> {
        let name = self.name()?;
        self.root_or_function(start, name, LookUp::Top)
    }

    fn root_or_function(&mut self, start: Span, name: Box<str>, at: LookUp) -> Result<Tree<Expr>> {
        let roots = self.roots;
        if self.token == Token::Mark("(") {
            if let Some(asked) = self.root_call(&name)? {
                return self.node(start.to(self.last), Kind::Root(asked), 0);
            }
            let whole = roots.resolve(&name, at, |whole| functions::find(whole, CallForm::Function).is_some());
            return self.function(start, &whole.unwrap_or(name));
        }
        if roots.has_dotted(&name) || Type::named_in(&name) {
            let is_known = |whole: &str| roots.contains(whole) || Type::from_name(whole).is_some();
            if let Some(dotted) = self.dotted_name(&name, at, is_known)? {
                return self.root(start.to(self.last), dotted);
            }
        }
        if let Some(whole) = roots.resolve(&name, at, |whole| roots.contains(whole)) {
            return self.root(start, whole);
        }
        // `math.least(1, 2)`: the names before the bracket belong to the function.
        if let Some(whole) = self.dotted_name(&name, at, |whole| functions::is_namespaced(whole) || is_bind(whole))? {
            if is_bind(&whole) {
                return self.bind(start);
            }
            return self.function(start, &whole);
        }
        self.root(start, name)
    }

    /// Parses a function without arguments whose name is among the roots, declared there with its brackets.
    /// The brackets come next.
    fn root_call(&mut self, name: &str) -> Result<Option<Box<str>>> {
        let asked = format!("{name}()");
        if !self.roots.contains(&asked) {
            return Ok(None);
        }
        self.expect("(", "`(`")?;
        self.expect(")", "`)` (this takes no arguments)")?;
        Ok(Some(asked.into()))
    }

    fn root(&mut self, span: Span, name: Box<str>) -> Result<Tree<Expr>> {
        if self.roots.contains(&name) {
            return self.node(span, Kind::Root(name), 0);
        }
        if let Some(kind) = Type::from_name(&name) {
            return self.node(span, Kind::Type(kind), 0);
        }
        let error = CompileError::new(format!("unknown name `{name}`"), span.range());
        let locals = self.locals.iter().map(|local| &**local);
        Err(match nearest(&name, self.roots.names().chain(locals)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(self.roots.sentence()),
        })
    }

    /// Parses the longest `name.more.names` from here that is `known`. Parses nothing if there is none.
    fn dotted_name(&mut self, name: &str, at: LookUp, known: impl Fn(&str) -> bool) -> Result<Option<Box<str>>> {
        if self.token != Token::Mark(".") {
            return Ok(None);
        }
        let mut ahead = Lexer::new(self.source, self.span.start as usize);
        let mut whole = name.to_owned();
        let mut found = None;
        let mut steps = 0;
        while let Ok((Token::Mark("."), _)) = ahead.next() {
            let Ok((Token::Name(part), _)) = ahead.next() else {
                break;
            };
            steps += 1;
            if steps > DOTTED_NAMES_MAX {
                break;
            }
            whole = format!("{whole}.{part}");
            if let Some(resolved) = self.roots.resolve(&whole, at, &known) {
                found = Some((resolved, steps));
            }
        }
        let Some((whole, steps)) = found else {
            return Ok(None);
        };
        for _ in 0..2 * steps {
            self.advance()?;
        }
        Ok(Some(whole))
    }

    pub(super) fn name(&mut self) -> Result<Box<str>> {
        let Token::Name(name) = &self.token else {
            return Err(self.unexpected_token("a name"));
        };
        if RESERVED.contains(&&**name) {
            return Err(CompileError::new(format!("`{name}` is a reserved word"), self.span.range()));
        }
        let name = name.clone();
        self.advance()?;
        Ok(name)
    }
}

fn is_bind(name: &str) -> bool {
    name == "cel.bind"
}
