//! Calls: functions with their arguments counted, macros with their variables, patterns compiled.

use super::{Parser, Result, Tree};
use crate::ast::{Call, Expr, Flatness, Kind, LinkKind, Literal, Loop, LoopKind, Presence, Span, Variables};
use crate::error::CompileError;
use crate::functions::{self, CallForm, Function, PATTERNS_BYTES_MAX, Pattern, Syntax};
use crate::lex::Token;
use crate::nearest::nearest;
use crate::parse::LiteralPatterns;

/// The macros that are written as functions, with their usage.
const MACRO_FUNCTIONS: [(&str, &str); 1] = [("has", "has(event.payload.field)")];

/// The macros that are written as methods, with their usage.
const MACRO_METHODS: [(&str, &str); 15] = [
    ("all", "list.all(x, condition)"),
    ("exists", "list.exists(x, condition)"),
    ("exists_one", "list.exists_one(x, condition)"),
    ("existsOne", "list.existsOne(x, condition)"),
    ("filter", "list.filter(x, condition)"),
    ("map", "list.map(x, value)"),
    ("transformList", "list.transformList(i, x, value)"),
    ("transformMap", "map.transformMap(key, value, new_value)"),
    ("transformMapEntry", "map.transformMapEntry(key, value, {new_key: new_value})"),
    ("sortBy", "list.sortBy(x, key)"),
    ("optMap", "optional.optMap(x, value)"),
    ("optFlatMap", "optional.optFlatMap(x, optional)"),
    ("or", "optional.or(optional)"),
    ("orValue", "optional.orValue(value)"),
    ("bind", "cel.bind(x, value, body)"),
];

impl Parser<'_> {
    /// Parses a function called without a receiver. Its bracket comes next.
    pub(super) fn function(&mut self, start: Span, name: &str) -> Result<Tree<Expr>> {
        if name == "has" {
            return self.has(start);
        }
        let name_span = start.to(self.last);
        let Some(function) = functions::find(name, CallForm::Function) else {
            return Err(unknown_function(name, name_span));
        };
        let (call, height) = self.call(function, name_span, 0)?;
        self.node(start.to(self.last), Kind::Call(Box::new(call)), height)
    }

    /// Parses a method or macro called on the value before it. Its bracket comes next.
    pub(super) fn method(&mut self, name: &str, span: Span) -> Result<Tree<LinkKind>> {
        match name {
            "all" => self.turns(name, LoopKind::All),
            "exists" => self.turns(name, LoopKind::Exists),
            "exists_one" | "existsOne" => self.turns(name, LoopKind::ExistsOne),
            "map" | "transformList" => self.turns(name, LoopKind::List),
            "filter" => self.turns(name, LoopKind::Filter),
            "transformMap" => self.turns(name, LoopKind::Map),
            "transformMapEntry" => self.turns(name, LoopKind::Entries),
            "sortBy" => self.turns(name, LoopKind::SortBy),
            "optMap" => self.opt_map(Flatness::Wrapped),
            "optFlatMap" => self.opt_map(Flatness::Flat),
            "or" => self.alternative(span).map(|(other, height)| (LinkKind::Or(other), height)),
            "orValue" => self.alternative(span).map(|(other, height)| (LinkKind::OrValue(other), height)),
            _ => {
                let Some(function) = functions::find(name, CallForm::Method) else {
                    return Err(unknown_method(name, span));
                };
                let (call, height) = self.call(function, span, 1)?;
                Ok((LinkKind::Call(Box::new(call)), height))
            }
        }
    }

    /// Parses `cel.bind(x, value, body)`. Its bracket comes next.
    pub(super) fn bind(&mut self, start: Span) -> Result<Tree<Expr>> {
        self.expect("(", "`(`")?;
        let variable = self.variable()?;
        self.expect(",", "`,` and the variable's value")?;
        let (value, value_height) = self.expression()?;
        self.expect(",", "`,` and the body")?;
        self.locals.push(variable);
        let (body, body_height) = self.expression()?;
        self.locals.pop();
        self.expect(")", "the closing `)` of `cel.bind`")?;
        let height = value_height.max(body_height);
        self.node(start.to(self.last), Kind::Bind(Box::new((value, body))), height)
    }

    fn has(&mut self, start: Span) -> Result<Tree<Expr>> {
        self.expect("(", "`(`")?;
        let (inner, height) = self.expression()?;
        self.expect(")", "the closing `)` of `has`")?;
        let span = start.to(self.last);
        if let Kind::Chain(chain) = inner.kind
            && let Some(last) = chain.links.last()
            && let LinkKind::Field { presence: Presence::Required, .. } = last.kind
        {
            return self.node(span, Kind::Has(chain), height);
        }
        Err(CompileError::new("`has` needs a field", inner.span.range())
            .hint("write `has(event.payload.field)`, or `\"key\" in map` for an index"))
    }

    fn turns(&mut self, name: &str, kind: LoopKind) -> Result<Tree<LinkKind>> {
        self.expect("(", "`(`")?;
        let first = self.variable()?;
        self.expect(",", "`,` after the variable")?;
        let variables = match name {
            "all" | "exists" | "exists_one" | "existsOne" if self.is_variable_next() => Variables::Two,
            "transformList" | "transformMap" | "transformMapEntry" => Variables::Two,
            _ => Variables::One,
        };
        let outer = self.locals.len();
        self.locals.push(first);
        if variables == Variables::Two {
            let second = self.variable()?;
            if self.locals[outer] == second {
                return Err(CompileError::new("the two variables have the same name", self.last.range()));
            }
            self.expect(",", "`,` after the second variable")?;
            self.locals.push(second);
        }
        let (mut body, mut height) = self.expression()?;
        let mut filter = None;
        let takes_filter = matches!(kind, LoopKind::List | LoopKind::Map | LoopKind::Entries);
        if takes_filter && self.eat(",")? {
            let (transform, transform_height) = self.expression()?;
            height = height.max(transform_height);
            filter = Some(std::mem::replace(&mut body, transform));
        }
        self.locals.truncate(outer);
        self.expect(")", "the closing `)` of this macro")?;
        Ok((LinkKind::Loop(Box::new(Loop { kind, variables, filter, body })), height + 1))
    }

    fn opt_map(&mut self, flatness: Flatness) -> Result<Tree<LinkKind>> {
        self.expect("(", "`(`")?;
        let variable = self.variable()?;
        self.expect(",", "`,` after the variable")?;
        self.locals.push(variable);
        let (body, height) = self.expression()?;
        self.locals.pop();
        self.expect(")", "the closing `)` of this macro")?;
        Ok((LinkKind::OptMap { body: Box::new(body), flatness }, height + 1))
    }

    /// Parses the one argument of `or` and `orValue`.
    fn alternative(&mut self, span: Span) -> Result<Tree<Box<Expr>>> {
        let (mut arguments, height) = self.arguments()?;
        match (arguments.pop(), arguments.is_empty()) {
            (Some(other), true) => Ok((Box::new(other), height + 1)),
            _ => Err(CompileError::new("expected exactly one argument", span.to(self.last).range())),
        }
    }

    fn is_variable_next(&self) -> bool {
        matches!(self.token, Token::Name(_)) && self.following() == Token::Mark(",")
    }

    fn variable(&mut self) -> Result<Box<str>> {
        let span = self.span;
        let is_word = |name: &str| matches!(name, "true" | "false" | "null");
        match &self.token {
            Token::Name(name) if !is_word(name) => {
                let name = self.name()?;
                if matches!(self.token, Token::Mark("," | ")")) {
                    return Ok(name);
                }
                Err(CompileError::new("a macro's variable must be a plain name", span.to(self.span).range()))
            }
            _ => Err(self.unexpected_token("the name of the macro's variable")),
        }
    }

    /// Parses the arguments of `function`, of which `given` are before the name.
    fn call(&mut self, function: &'static Function, span: Span, given: usize) -> Result<Tree<Call>> {
        let (arguments, height) = self.arguments()?;
        if !function.takes(arguments.len() + given) {
            return Err(CompileError::new(
                format!("`{}` does not accept {} arguments", function.name, arguments.len()),
                span.to(self.last).range(),
            )
            .hint(format!("write `{}`", function.usage)));
        }
        let pattern = match (function.pattern, arguments.last()) {
            (Some(syntax), Some(Expr { kind: Kind::Literal(Literal::String(text)), span }))
                if self.patterns == LiteralPatterns::Compiled =>
            {
                Some(self.pattern(text, syntax, *span)?)
            }
            _ => None,
        };
        Ok((Call { function, arguments, pattern }, height + 1))
    }

    /// Compiles a pattern that is a literal, if all patterns of the expression are not too large together.
    fn pattern(&mut self, text: &str, syntax: Syntax, span: Span) -> Result<Pattern> {
        let pattern = Pattern::compile(text, syntax).map_err(|fault| match fault.hint {
            Some(hint) => CompileError::new(fault.message, span.range()).hint(hint),
            None => CompileError::new(fault.message, span.range()),
        })?;
        self.pattern_bytes += pattern.memory();
        self.pattern_work += pattern.compile_work();
        if self.pattern_bytes > PATTERNS_BYTES_MAX {
            let message = format!("the patterns of the expression need more than {PATTERNS_BYTES_MAX} bytes of memory in total");
            return Err(
                CompileError::new(message, span.range()).hint("write `[a-z]` rather than `\\w`, or split the condition into several rules")
            );
        }
        Ok(pattern)
    }

    fn arguments(&mut self) -> Result<Tree<Vec<Expr>>> {
        self.expect("(", "`(`")?;
        let mut arguments = Vec::new();
        let mut height = 0;
        while self.token != Token::Mark(")") {
            let (argument, argument_height) = self.expression()?;
            height = height.max(argument_height);
            arguments.push(argument);
            if !self.eat(",")? {
                break;
            }
        }
        self.expect(")", "`,` or the closing `)` of this call")?;
        Ok((arguments, height))
    }
}

fn unknown_function(name: &str, span: Span) -> Box<CompileError> {
    let error = CompileError::new(format!("unknown function `{name}`"), span.range());
    if let Some(method) = functions::find(name, CallForm::Method) {
        return error.hint(format!("write `{}`", method.usage));
    }
    if let Some((_, usage)) = MACRO_METHODS.iter().find(|(known, _)| *known == name) {
        return error.hint(format!("write `{usage}`"));
    }
    let known = functions::names(CallForm::Function).chain(MACRO_FUNCTIONS.iter().map(|(name, _)| *name));
    match (name, nearest(name, known)) {
        ("now", _) => error.hint("expressions cannot read the clock; use `event.time` or `execution.started_at`"),
        (_, Some(near)) => error.hint(format!("did you mean `{near}`?")),
        (_, None) => error,
    }
}

fn unknown_method(name: &str, span: Span) -> Box<CompileError> {
    let error = CompileError::new(format!("unknown method `{name}`"), span.range());
    if let Some(function) = functions::find(name, CallForm::Function) {
        return error.hint(format!("write `{}`", function.usage));
    }
    let known = functions::names(CallForm::Method).chain(MACRO_METHODS.iter().map(|(name, _)| *name));
    match nearest(name, known) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}
