//! Patterns: regular expressions in linear time, and globs, which are translated into them.
//!
//! A literal pattern is compiled with its expression; any other once in an evaluation, and that costs steps.

use regex::{Regex, RegexBuilder};

use super::{Arguments, Form, Function};
use crate::error::{ErrorKind, Fault, fault};
use crate::value::Value;

/// How large a compiled pattern may be, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 18;
/// How large the memory of a running pattern may grow, in bytes.
const PATTERN_CACHE_BYTES_MAX: usize = 1 << 20;
/// How deep groups may nest in a pattern.
const PATTERN_DEPTH_MAX: u32 = 50;
/// How long a pattern may be that is not a literal, in bytes.
const PATTERN_LENGTH_MAX: usize = 1 << 10;
/// What compiling a pattern during an evaluation costs, in steps.
const COMPILE_STEPS: u64 = 2_000;
/// How many patterns one evaluation keeps.
const PATTERNS_KEPT_MAX: usize = 8;
/// Bytes of text times bytes of pattern that cost one step.
const WORK_PER_STEP: u64 = 512;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(Form::Either, "matches", "text.matches(regular_expression)", (2, 2), matches).with_pattern(Syntax::Regex),
    Function::new(Form::Either, "glob", "text.glob(\"src/**/*.rs\")", (2, 2), matches).with_pattern(Syntax::Glob),
];

/// The language of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// RE2's, without back-references and look-around.
    Regex,
    /// `*` and `?` within a path's part, `**` across parts, `[a-z]`, `{one,other}`; the whole text must match.
    Glob,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    len: usize,
}

impl Pattern {
    pub(crate) fn compile(text: &str, syntax: Syntax) -> Result<Self, Fault> {
        let translated = match syntax {
            Syntax::Regex => text.to_owned(),
            Syntax::Glob => regex_of_glob(text)?,
        };
        let regex = RegexBuilder::new(&translated)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_CACHE_BYTES_MAX)
            .nest_limit(PATTERN_DEPTH_MAX)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => fault(
                    ErrorKind::Invalid,
                    format!("the pattern needs more than {PATTERN_BYTES_MAX} bytes; make its repetitions smaller"),
                ),
                other => {
                    // The last line says what is wrong; those before draw the pattern once more.
                    let text = other.to_string();
                    let reason = text.lines().last().unwrap_or(&text).trim();
                    fault(ErrorKind::Invalid, format!("the pattern is not valid: {}", reason.trim_start_matches("error: ")))
                }
            })?;
        Ok(Self { regex, len: text.len() })
    }
}

/// The patterns that this evaluation compiled, the latest last.
#[derive(Default)]
pub(crate) struct PatternCache {
    kept: Vec<(String, Syntax, Pattern)>,
}

fn matches<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.read_text(0)?;
    let pattern = match arguments.pattern {
        Some(pattern) => pattern.clone(),
        None => compiled(arguments)?,
    };
    let work = (text.len() as u64).saturating_mul(pattern.len as u64);
    arguments.budget.charge(1 + work / WORK_PER_STEP)?;
    Ok(Value::Bool(pattern.regex.is_match(&text)))
}

/// The pattern of the last argument, compiled at most once in this evaluation.
fn compiled(arguments: &mut Arguments<'_, '_>) -> Result<Pattern, Fault> {
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
    let pattern = Pattern::compile(&source, syntax)?;
    let kept = &mut arguments.patterns.kept;
    if kept.len() == PATTERNS_KEPT_MAX {
        kept.remove(0);
    }
    kept.push((source.to_string(), syntax, pattern.clone()));
    Ok(pattern)
}

/// The regular expression that matches what the glob matches.
fn regex_of_glob(glob: &str) -> Result<String, Fault> {
    let invalid = |what: &str| fault(ErrorKind::Invalid, format!("the glob `{glob}` is not valid: {what}"));
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
                        Some(member) => out.push_str(&regex::escape(&member.to_string())),
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
                Some(escaped) => out.push_str(&regex::escape(&escaped.to_string())),
                None => return Err(invalid("it ends in a backslash")),
            },
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    if open > 0 {
        return Err(invalid("`{` is not closed"));
    }
    out.push('$');
    Ok(out)
}
