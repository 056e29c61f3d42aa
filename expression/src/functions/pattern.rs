//! Patterns: regular expressions in linear time, and globs, which are translated into them.
//!
//! A literal pattern is compiled with its expression. Any other is compiled once in an evaluation, which
//! costs steps.

mod automaton;

use super::signature::{BOOL, Gives, STRING, takes};
use super::{Arguments, CallForm, Function};
use crate::error::{ErrorKind, Fault, fault};
use crate::value::Value;
use automaton::{PATTERN_BYTES_MAX, Regex};

/// The maximum size of all compiled literal patterns of one expression, in bytes.
pub(crate) const PATTERNS_BYTES_MAX: usize = 1 << 20;
/// The maximum length of a pattern that is not a literal, in bytes.
const PATTERN_LENGTH_MAX: usize = 1 << 10;
/// The cost of compiling a pattern during an evaluation, in steps.
const COMPILE_STEPS: u64 = 2_000;
/// The number of patterns that one evaluation keeps.
const PATTERNS_KEPT_MAX: usize = 8;
/// The number of bytes of a compiled pattern that cost one step when it is compiled in an evaluation.
const COMPILED_BYTES_PER_STEP: usize = 16;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(CallForm::Either, "matches", "text.matches(regular_expression)", &[takes(&[STRING, STRING], Gives::A(BOOL))], matches)
        .with_pattern(Syntax::Regex),
    Function::new(CallForm::Either, "glob", "text.glob(\"src/**/*.rs\")", &[takes(&[STRING, STRING], Gives::A(BOOL))], matches)
        .with_pattern(Syntax::Glob),
];

/// The language of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// RE2's, without back-references and look-around.
    Regex,
    /// `*` and `?` within a segment of a path, `**` across segments, `[a-z]`, `{one,other}`. The whole text
    /// must match.
    Glob,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
}

impl Pattern {
    pub(crate) fn compile(text: &str, syntax: Syntax) -> Result<Self, Fault> {
        let regex = match syntax {
            Syntax::Regex => Regex::compile(text)?,
            Syntax::Glob => Regex::compile(&regex_of_glob(text)?)?,
        };
        Ok(Self { regex })
    }

    /// Returns how much memory it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.regex.memory()
    }

    /// Returns how much work it was to compile it, in bytes that were written for it.
    pub(crate) fn compile_work(&self) -> usize {
        self.regex.compile_work()
    }
}

/// The patterns that this evaluation compiled, latest last.
#[derive(Default)]
pub(crate) struct PatternCache {
    kept: Vec<(String, Syntax, Pattern)>,
}

fn matches<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.read_text(0)?;
    let pattern = match arguments.pattern {
        Some(pattern) => pattern.clone(),
        None => cached_pattern(arguments)?,
    };
    arguments.budget.charge(pattern.regex.steps(text.len()))?;
    Ok(Value::Bool(pattern.regex.is_match(&text)))
}

/// Returns the pattern of the last argument, compiled at most once in this evaluation.
fn cached_pattern(arguments: &mut Arguments<'_, '_>) -> Result<Pattern, Fault> {
    let source = arguments.read_text(1)?;
    let syntax = arguments.function.pattern.unwrap_or(Syntax::Regex);
    let kept = &arguments.patterns.kept;
    if let Some((.., pattern)) = kept.iter().find(|(text, of, _)| **text == *source && *of == syntax) {
        return Ok(pattern.clone());
    }
    if source.len() > PATTERN_LENGTH_MAX {
        return Err(arguments.invalid(format_args!("the pattern is longer than {PATTERN_LENGTH_MAX} bytes")));
    }
    arguments.budget.charge(COMPILE_STEPS + 20 * source.len() as u64)?;
    let pattern = Pattern::compile(&source, syntax);
    let size = pattern.as_ref().map_or(PATTERN_BYTES_MAX, Pattern::memory);
    arguments.budget.charge((size / COMPILED_BYTES_PER_STEP) as u64)?;
    let pattern = pattern?;
    let kept = &mut arguments.patterns.kept;
    if kept.len() == PATTERNS_KEPT_MAX {
        kept.remove(0);
    }
    kept.push((source.to_string(), syntax, pattern.clone()));
    Ok(pattern)
}

/// Returns the regular expression that is equivalent to the glob.
fn regex_of_glob(glob: &str) -> Result<String, Fault> {
    let invalid = |what: &str| fault(ErrorKind::Invalid, format!("invalid glob `{glob}`: {what}"));
    let mut out = String::from("(?s)^");
    let mut characters = glob.chars().peekable();
    let mut open = 0_u32;
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.next_if_eq(&'*').is_some() => {
                if characters.next_if_eq(&'/').is_some() {
                    out.push_str("(?:.*/)?");
                } else {
                    out.push_str(".*");
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => {
                out.push('[');
                if characters.next_if(|&next| matches!(next, '!' | '^')).is_some() {
                    out.push('^');
                }
                let mut members = 0;
                loop {
                    match characters.next() {
                        Some(']') if members > 0 => break,
                        Some('-') => out.push('-'),
                        Some(member) => push_literal(&mut out, member),
                        None => return Err(invalid("`[` is not closed")),
                    }
                    members += 1;
                }
                out.push(']');
            }
            '{' => {
                open += 1;
                out.push_str("(?:");
            }
            '}' if open > 0 => {
                open -= 1;
                out.push(')');
            }
            ',' if open > 0 => out.push('|'),
            '\\' => match characters.next() {
                Some(escaped) => push_literal(&mut out, escaped),
                None => return Err(invalid("it ends with a backslash")),
            },
            other => push_literal(&mut out, other),
        }
    }
    if open > 0 {
        return Err(invalid("`{` is not closed"));
    }
    out.push('$');
    Ok(out)
}

/// Adds a character that stands for itself, also in brackets.
fn push_literal(out: &mut String, character: char) {
    if character.is_ascii_punctuation() && !matches!(character, '_' | '<' | '>') {
        out.push('\\');
    }
    out.push(character);
}

/// Returns the obvious common prefix of all texts that the pattern matches.
pub(crate) fn certain_start(pattern: &str, syntax: Syntax) -> String {
    match syntax {
        Syntax::Regex => start_of_regex(pattern),
        Syntax::Glob => start_of_glob(pattern),
    }
}

fn start_of_regex(regex: &str) -> String {
    let Some(anchored) = regex.strip_prefix('^').filter(|rest| !rest.contains('|')) else {
        return String::new();
    };
    let mut start = String::new();
    let mut characters = anchored.chars();
    loop {
        match characters.next() {
            Some('\\') => match characters.next() {
                Some(escaped) if ".+*?()[]{}^$/-\\".contains(escaped) => start.push(escaped),
                _ => return start,
            },
            Some(plain) if plain.is_alphanumeric() || "/_-:,@ ".contains(plain) => start.push(plain),
            Some('*' | '+' | '?' | '{') => {
                // This says how often the last character occurs, which may be zero times.
                start.pop();
                return start;
            }
            _ => return start,
        }
    }
}

fn start_of_glob(glob: &str) -> String {
    let mut start = String::new();
    let mut characters = glob.chars();
    loop {
        match characters.next() {
            Some('\\') => start.extend(characters.next()),
            None | Some('*' | '?' | '[' | '{') => return start,
            Some(plain) => start.push(plain),
        }
    }
}
