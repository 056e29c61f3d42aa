//! Diagnostics of a pack that let its author fix it: a code, a place, the text under a caret, and what to
//! write.
//!
//! This module neither finds errors nor prints them: the command line and the API show the diagnostics.

mod code;
mod render;

use std::ops::Range;
use std::sync::Arc;

use ensue_engine::names::{Names, PackName};
use ensue_expression::{CheckBudget, StopCheck};
use serde_json::{Value, json};

pub use code::Code;
pub use render::{Colour, excerpt};

use crate::source::SourceText;

/// The most diagnostics kept for one pack.
pub const DIAGNOSTICS_MAX: usize = 1_000;
/// The most work of compiling the patterns of one pack, in bytes that are written for them.
const PATTERN_WORK_MAX: usize = 64 << 20;
/// The same for a pack that an earlier release may have installed.
const INSTALLED_PATTERN_WORK_MAX: usize = 4 * PATTERN_WORK_MAX;
/// What an expression counts that does not compile: its patterns may have been the reason.
const UNCOMPILED_WORK: usize = 64 << 10;

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Names)]
pub enum Severity {
    /// The pack is rejected.
    Error,
    /// The pack is accepted, but probably does not do what its author means.
    Warning,
    /// Information only.
    Note,
}

/// One finding for the author of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its severity.
    pub severity: Severity,
    /// The kind of the finding.
    pub code: Code,
    /// The pack it is about; `None` if not even its name is known.
    pub pack: Option<PackName>,
    /// The file, as its reader named it: `packs/release/rules/ship.yaml`.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The line where it ends, from 1.
    pub end_line: usize,
    /// The column after its last character, from 1.
    pub end_column: usize,
    /// Its place, in bytes of the file.
    pub span: Range<usize>,
    /// What is wrong, as a fragment that names the thing.
    pub message: String,
    /// How to fix it; may have several lines, ready to paste.
    pub hint: Option<String>,
    /// The text that replaces the span, if that alone fixes it.
    pub suggestion: Option<String>,
    /// The line of the file; empty if the diagnostic is about a whole file. Diagnostics about one line share
    /// it.
    pub source_line: Arc<str>,
}

impl Diagnostic {
    pub(crate) fn new(severity: Severity, code: Code, file: &SourceText, span: Range<usize>, message: impl Into<String>) -> Self {
        // The YAML reader may name a place after the end of the file.
        let span = file.within(&span);
        let place = file.place(span.start);
        let end = file.place(span.end);
        Self {
            severity,
            code,
            pack: None,
            file: file.path().to_owned(),
            line: place.line,
            column: place.column,
            end_line: end.line,
            end_column: end.column,
            source_line: file.slice(&file.line_span(span.start)).into(),
            span,
            message: message.into(),
            hint: None,
            suggestion: None,
        }
    }

    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the nearest of the known names in the message, as a replacement for the span.
    pub(crate) fn did_you_mean(&mut self, nearest: Option<&str>) -> &mut Self {
        if let Some(nearest) = nearest {
            self.message.push_str(&format!("; did you mean `{nearest}`?"));
            self.suggestion = Some(nearest.to_owned());
        }
        self
    }

    /// Returns the diagnostic as text of several lines, in the style of `rustc`.
    pub fn render(&self, colour: Colour) -> String {
        render::text(self, colour)
    }

    /// Returns the diagnostic as JSON, for editors and the API.
    pub fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.as_str(),
            "code": self.code.slug(),
            "pack": self.pack,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "end_line": self.end_line,
            "end_column": self.end_column,
            "span": { "start": self.span.start, "end": self.span.end },
            "message": self.message,
            "hint": self.hint,
            "suggestion": self.suggestion,
            "page": self.code.page(),
        })
    }
}

/// Collects the diagnostics of one pack, and counts the work of checking it.
#[derive(Debug)]
pub(crate) struct Report {
    found: Vec<Diagnostic>,
    /// The budget for determining the values of its expressions.
    pub(crate) budget: CheckBudget,
    /// The work of compiling its patterns so far, in bytes.
    pattern_work: usize,
    subject: Subject,
}

/// What a report is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// A pack that is about to be installed.
    Offered,
    /// A pack that an earlier release may have installed, which must go on working.
    Installed,
}

impl Default for Report {
    fn default() -> Self {
        Self { found: Vec::new(), budget: CheckBudget::default(), pattern_work: 0, subject: Subject::Offered }
    }
}

impl Report {
    /// Returns a report on a check that is given up once `is_stopped` returns true.
    pub(crate) fn until(is_stopped: StopCheck) -> Self {
        Self { budget: CheckBudget::until(is_stopped), ..Self::default() }
    }

    /// Returns a report on a pack that is installed.
    pub(crate) fn of_installed() -> Self {
        Self { subject: Subject::Installed, ..Self::default() }
    }

    /// Returns true if the pack is installed. What earlier releases accepted must then not become an error.
    pub(crate) fn is_of_installed(&self) -> bool {
        self.subject == Subject::Installed
    }

    fn pattern_work_max(&self) -> usize {
        match self.subject {
            Subject::Offered => PATTERN_WORK_MAX,
            Subject::Installed => INSTALLED_PATTERN_WORK_MAX,
        }
    }

    /// Returns true if nothing more is compiled: the check was given up, or the patterns are too many.
    pub(crate) fn is_over(&self) -> bool {
        self.pattern_work > self.pattern_work_max() || self.budget.is_stopped()
    }

    /// Counts the work of an expression that did not compile.
    pub(crate) fn count_uncompiled(&mut self, file: &SourceText, span: Range<usize>) {
        self.count_patterns(UNCOMPILED_WORK, file, span);
    }

    /// Counts the work of compiling patterns. Reports patterns that are too much work together, once.
    pub(crate) fn count_patterns(&mut self, work: usize, file: &SourceText, span: Range<usize>) {
        let most = self.pattern_work_max();
        let was_over = self.pattern_work > most;
        self.pattern_work = self.pattern_work.saturating_add(work);
        if self.pattern_work > most && !was_over {
            let message = format!("the regular expressions of the pack need more than {} MiB together", most >> 20);
            self.error(Code::TooManyPatterns, file, span, message)
                .hint("write `[a-z]` rather than `\\w` or `\\p{L}`, compare with `in` where texts are fixed, or split the pack");
        }
    }

    pub(crate) fn error(&mut self, code: Code, file: &SourceText, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Diagnostic::new(Severity::Error, code, file, span, message))
    }

    pub(crate) fn warning(&mut self, code: Code, file: &SourceText, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Diagnostic::new(Severity::Warning, code, file, span, message))
    }

    pub(crate) fn note(&mut self, code: Code, file: &SourceText, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Diagnostic::new(Severity::Note, code, file, span, message))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|one| one.severity == Severity::Error)
    }

    /// Returns the diagnostics, ordered by file and line. If there are more than [`DIAGNOSTICS_MAX`], returns
    /// the most severe ones and how many are left out.
    pub(crate) fn into_sorted(mut self, pack: Option<&PackName>) -> Vec<Diagnostic> {
        let left_out = self.found.len().saturating_sub(DIAGNOSTICS_MAX);
        self.found.sort_by_key(|one| one.severity);
        self.found.truncate(DIAGNOSTICS_MAX);
        self.found.sort_by(|a, b| (&a.file, a.span.start).cmp(&(&b.file, b.span.start)));
        if let (1.., Some(last)) = (left_out, self.found.last()) {
            let file = SourceText::new(last.file.as_str(), "");
            self.found.push(Diagnostic::new(
                Severity::Note,
                Code::MoreLeftOut,
                &file,
                0..0,
                format!("{left_out} more diagnostics are not shown"),
            ));
        }
        for one in &mut self.found {
            one.pack = pack.cloned();
        }
        self.found
    }

    /// Reports whether a part of a file has a diagnostic.
    pub(crate) fn has_within(&self, file: &SourceText, span: &Range<usize>) -> bool {
        self.found.iter().any(|one| one.file == file.path() && one.span.start < span.end && span.start <= one.span.start)
    }

    /// Turns the errors of one code into warnings.
    pub(crate) fn lower(&mut self, code: Code) {
        for one in self.found.iter_mut().filter(|one| one.code == code) {
            one.severity = Severity::Warning;
        }
    }

    /// Adds the diagnostics of another report on the same pack.
    pub(crate) fn take_over(&mut self, other: Self) {
        self.found.extend(other.found);
        self.pattern_work = self.pattern_work.saturating_add(other.pattern_work);
    }

    fn add(&mut self, mut diagnostic: Diagnostic) -> &mut Diagnostic {
        // A file may be a single line of a mebibyte with thousands of errors on it.
        if let Some(last) = self.found.last()
            && last.line == diagnostic.line
            && last.source_line == diagnostic.source_line
        {
            diagnostic.source_line = last.source_line.clone();
        }
        self.found.push(diagnostic);
        self.found.last_mut().expect("it was pushed just now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_line_of_several_diagnostics_is_stored_once() {
        let file = SourceText::new("a.yaml", "a: b, c: d\ne: f\n");
        let mut report = Report::default();
        for span in [0..1, 6..7, 11..12] {
            report.error(Code::UnknownField, &file, span, "unknown");
        }
        let found = report.into_sorted(None);
        assert!(Arc::ptr_eq(&found[0].source_line, &found[1].source_line));
        assert_eq!(&*found[2].source_line, "e: f");
    }
}
