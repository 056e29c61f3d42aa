//! Regular expressions made ready to run: what one may need is known before it is made, and what a match takes before it runs.
//!
//! What a pattern costs is a function of the pattern and the length of the text alone, whichever way it is run: how full a
//! cache happens to be must not decide whether a rule errs.

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::{Input, meta};
use regex_syntax::ast::{self, Ast, ClassPerlKind, ClassSetItem};
use regex_syntax::hir::translate::Translator;
use regex_syntax::hir::{Hir, HirKind};

use crate::error::{ErrorKind, Fault, fault};

/// How large a compiled pattern may be, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = 1 << 18;
/// How large the memory of a running pattern may grow, in bytes.
const PATTERN_CACHE_BYTES_MAX: usize = 1 << 16;
/// How large a pattern's whole automaton may be, in bytes.
const WHOLE_BYTES_MAX: usize = 1 << 13;
/// How deep groups may nest in a pattern.
const PATTERN_DEPTH_MAX: u32 = 50;
/// How many characters the classes of a pattern may span: they are spelt out before the pattern's size is known.
const CLASS_CHARACTERS_MAX: u64 = 1_200_000;
/// What a class of letters counts for, which has hundreds of ranges.
const LETTERS: u64 = 30_000;
/// What a class of digits or spaces counts for.
const DIGITS: u64 = 3_000;
/// Bytes that a whole automaton passes for one step.
const WHOLE_BYTES_PER_STEP: u64 = 32;
/// Bytes of text, times places in the pattern that may all be reached at once, for one step.
const PLACES_PER_STEP: u64 = 8;
/// Bytes of a pattern that is run state by state for one step of each match.
const MEMORY_PER_STEP: usize = 2 << 10;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub(super) struct Regex {
    runs: Runs,
    /// How many places in the pattern a text may have reached at once.
    places: u64,
}

#[derive(Clone, Debug)]
enum Runs {
    /// Every state there is was made beforehand: each byte of the text takes one look.
    Whole(std::sync::Arc<dense::DFA<Vec<u32>>>),
    /// The states are made while it runs; where there are too many of them, all places are followed at once.
    Step(meta::Regex),
}

impl Regex {
    pub(super) fn compile(pattern: &str) -> Result<Self, Fault> {
        let tree =
            ast::parse::ParserBuilder::new().nest_limit(PATTERN_DEPTH_MAX).build().parse(pattern).map_err(|error| unfit(error.kind()))?;
        let span = ast::visit(&tree, Classes::default())?;
        if span > CLASS_CHARACTERS_MAX {
            return Err(fault(ErrorKind::Invalid, "the character classes of the pattern contain too many characters in total")
                .hint("list the characters that you need, as in `[a-z]`"));
        }
        let hir = Translator::new().translate(pattern, &tree).map_err(|error| unfit(error.kind()))?;
        let places = places(&hir).max(1);
        // It is only asked whether a text matches, so the places of groups are not looked for.
        let nfa = NFA::compiler()
            .configure(thompson::Config::new().nfa_size_limit(Some(PATTERN_BYTES_MAX)).which_captures(WhichCaptures::None))
            .build_from_hir(&hir)
            .map_err(|_| too_large())?;
        let whole = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(WHOLE_BYTES_MAX))
            .determinize_size_limit(Some(WHOLE_BYTES_MAX));
        let runs = match dense::Builder::new().configure(whole).build_from_nfa(&nfa) {
            Ok(whole) => Runs::Whole(whole.into()),
            Err(_) => Runs::Step(stepwise(&hir)?),
        };
        Ok(Self { runs, places })
    }

    /// How much memory it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        match &self.runs {
            Runs::Whole(whole) => whole.memory_usage(),
            Runs::Step(regex) => regex.memory_usage(),
        }
    }

    /// What it costs to match a text of `len` bytes, in steps.
    pub(super) fn steps(&self, len: usize) -> u64 {
        let len = len as u64;
        match &self.runs {
            Runs::Whole(_) => 1 + len / WHOLE_BYTES_PER_STEP,
            Runs::Step(regex) => 1 + (regex.memory_usage() / MEMORY_PER_STEP) as u64 + len.saturating_mul(self.places) / PLACES_PER_STEP,
        }
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        match &self.runs {
            Runs::Whole(whole) => {
                let found = whole.try_search_fwd(&Input::new(text).earliest(true));
                found.expect("an automaton with all its states neither quits nor gives up").is_some()
            }
            Runs::Step(regex) => regex.is_match(text),
        }
    }
}

fn stepwise(hir: &Hir) -> Result<meta::Regex, Fault> {
    let config = meta::Config::new()
        .nfa_size_limit(Some(PATTERN_BYTES_MAX))
        .hybrid_cache_capacity(PATTERN_CACHE_BYTES_MAX)
        .which_captures(WhichCaptures::None)
        .onepass(false)
        .dfa(false);
    meta::Regex::builder().configure(config).build_from_hir(hir).map_err(|_| too_large())
}

/// How many places in a pattern a text may have reached at once: its characters, as often as they are repeated.
fn places(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) | HirKind::Look(_) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.max(1));
            places(&repetition.sub).saturating_mul(u64::from(times))
        }
        HirKind::Capture(capture) => places(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(places).fold(0, u64::saturating_add),
    }
}

/// Counts how many characters the classes of a pattern span.
#[derive(Default)]
struct Classes {
    span: u64,
}

impl ast::Visitor for Classes {
    type Output = u64;
    type Err = Fault;

    fn finish(self) -> Result<u64, Fault> {
        Ok(self.span)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Fault> {
        self.span += match ast {
            Ast::ClassUnicode(_) => LETTERS,
            Ast::ClassPerl(class) => of_perl(&class.kind),
            _ => 0,
        };
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Fault> {
        self.span += match item {
            ClassSetItem::Unicode(_) => LETTERS,
            ClassSetItem::Perl(class) => of_perl(&class.kind),
            ClassSetItem::Range(range) => u64::from(u32::from(range.end.c).saturating_sub(u32::from(range.start.c))),
            ClassSetItem::Empty(_)
            | ClassSetItem::Literal(_)
            | ClassSetItem::Ascii(_)
            | ClassSetItem::Bracketed(_)
            | ClassSetItem::Union(_) => 0,
        };
        Ok(())
    }
}

fn of_perl(kind: &ClassPerlKind) -> u64 {
    match kind {
        ClassPerlKind::Word => LETTERS,
        ClassPerlKind::Digit | ClassPerlKind::Space => DIGITS,
    }
}

fn unfit(why: impl std::fmt::Display) -> Fault {
    fault(ErrorKind::Invalid, format!("invalid pattern: {why}"))
}

fn too_large() -> Fault {
    fault(ErrorKind::Invalid, format!("the pattern needs more than {PATTERN_BYTES_MAX} bytes of memory; use smaller repetition counts"))
}
