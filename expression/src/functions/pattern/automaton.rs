//! Prepares regular expressions: the memory that one may need is known before it is compiled, and the cost of
//! a match before it runs.
//!
//! The cost of a pattern depends only on the pattern and the length of the text, whichever way it runs: how
//! full a cache happens to be must not decide whether a rule fails.

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::{Input, meta};
use regex_syntax::ast::{self, Ast, ClassPerlKind, ClassSetItem};
use regex_syntax::hir::translate::Translator;
use regex_syntax::hir::{Hir, HirKind};

use crate::error::{ErrorKind, Fault, fault};

/// The maximum size of a compiled pattern, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = 1 << 18;
/// The maximum memory of a running pattern, in bytes.
const PATTERN_CACHE_BYTES_MAX: usize = 1 << 16;
/// The maximum size of a pattern's whole automaton, in bytes.
const WHOLE_BYTES_MAX: usize = 1 << 13;
/// The maximum nesting of groups in a pattern.
const PATTERN_DEPTH_MAX: u32 = 50;
/// The maximum number of characters that the classes of a pattern may span. They are spelled out before the
/// pattern's size is known.
const CLASS_CHARACTERS_MAX: u64 = 1_200_000;
/// The work of compiling the smallest pattern, in bytes.
const COMPILE_WORK_MIN: usize = 4 << 10;
/// The number of characters in classes that are as much work to compile as a byte of a compiled pattern.
const CHARACTERS_PER_BYTE: u64 = 8;
/// The weight of a class of letters, which has hundreds of ranges.
const LETTERS: u64 = 30_000;
/// The weight of a class of digits or spaces.
const DIGITS: u64 = 3_000;
/// The number of bytes that a whole automaton processes for one step.
const WHOLE_BYTES_PER_STEP: u64 = 32;
/// The number of bytes of text, times the places in the pattern that may all be reached at once, for one
/// step.
const PLACES_PER_STEP: u64 = 8;
/// The number of bytes of a pattern that is run state by state, for one step of each match.
const MEMORY_PER_STEP: usize = 2 << 10;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub(super) struct Regex {
    runs: Runs,
    /// The number of places in the pattern that a text may have reached at once.
    places: u64,
    /// The number of characters that its classes span.
    span: u64,
}

#[derive(Clone, Debug)]
enum Runs {
    /// Every state was built in advance: each byte of the text takes one look-up.
    Whole(std::sync::Arc<dense::DFA<Vec<u32>>>),
    /// The states are built while it runs. If there are too many of them, all places are followed at once.
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
        // Only whether a text matches is needed, so the positions of groups are not searched for.
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
        Ok(Self { runs, places, span })
    }

    /// Returns how much memory it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        match &self.runs {
            Runs::Whole(whole) => whole.memory_usage(),
            Runs::Step(regex) => regex.memory_usage(),
        }
    }

    /// Returns how much work it was to compile it, in bytes that were written for it.
    pub(super) fn compile_work(&self) -> usize {
        self.memory().max(COMPILE_WORK_MIN).saturating_add(usize::try_from(self.span / CHARACTERS_PER_BYTE).unwrap_or(usize::MAX))
    }

    /// Returns the cost of matching a text of `len` bytes, in steps.
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

/// Returns how many places in a pattern a text may have reached at once: its characters, as often as they are
/// repeated.
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
