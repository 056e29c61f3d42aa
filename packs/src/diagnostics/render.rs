//! A diagnostic as text for a terminal: the message, the line, a caret under the place, and the hint.
//!
//! Whether the terminal takes colour is for its owner to find out.

use super::{Diagnostic, Severity};

/// The longest part of a line that is shown, in characters.
const LINE_CHARS_MAX: usize = 160;

/// Whether a text carries colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// None: for files and pipes.
    Plain,
    /// As ANSI escape sequences (ECMA-48).
    Ansi,
}

pub(super) fn text(diagnostic: &Diagnostic, colour: Colour) -> String {
    let paint = Paint(colour);
    let severity = match diagnostic.severity {
        Severity::Error => paint.red("error"),
        Severity::Warning => paint.yellow("warning"),
        Severity::Note => paint.cyan("note"),
    };
    let slug = diagnostic.code.slug();
    let gutter = " ".repeat(diagnostic.line.to_string().len());
    let arrow = paint.blue("-->");
    let bar = paint.blue("|");
    let mut out = format!("{severity}[{slug}]: {}\n", paint.bold(&visible(&diagnostic.message)));
    out.push_str(&format!("{gutter}{arrow} {}:{}:{}\n", visible(&diagnostic.file), diagnostic.line, diagnostic.column));
    if !diagnostic.source_line.is_empty() {
        let excerpt = Excerpt::of(diagnostic);
        let number = paint.blue(&diagnostic.line.to_string());
        let carets = match diagnostic.severity {
            Severity::Error => paint.red(&excerpt.carets),
            Severity::Warning => paint.yellow(&excerpt.carets),
            Severity::Note => paint.cyan(&excerpt.carets),
        };
        out.push_str(&format!("{gutter} {bar}\n"));
        out.push_str(&format!("{number} {bar} {}\n", excerpt.line));
        out.push_str(&format!("{gutter} {bar} {}{carets}\n", " ".repeat(excerpt.indent)));
    }
    if let Some(hint) = &diagnostic.hint {
        let lines: Vec<String> = hint.lines().map(visible).collect();
        let label = paint.cyan("help");
        let equals = paint.blue("=");
        let rest = format!("\n{gutter}         ");
        out.push_str(&format!("{gutter} {equals} {label}: {}\n", lines.join(&rest)));
    }
    out
}

/// The part of the line that is shown, and where the carets stand under it.
struct Excerpt {
    line: String,
    indent: usize,
    carets: String,
}

impl Excerpt {
    fn of(diagnostic: &Diagnostic) -> Self {
        let before: Vec<char> = diagnostic.source_line.chars().take(diagnostic.column - 1).collect();
        let rest: Vec<char> = diagnostic.source_line.chars().skip(diagnostic.column - 1).collect();
        // A long line is cut from its beginning, so that the place is seen.
        let cut = before.len().saturating_sub(LINE_CHARS_MAX / 2);
        let shown_before = visible(&before[cut..].iter().collect::<String>());
        let rest = &rest[..rest.len().min(LINE_CHARS_MAX / 2)];
        let shown_rest = visible(&rest.iter().collect::<String>());
        let mut width = 0;
        let mut bytes = diagnostic.span.end.saturating_sub(diagnostic.span.start);
        for c in rest {
            if bytes < c.len_utf8() {
                break;
            }
            bytes -= c.len_utf8();
            width += visible(&c.to_string()).chars().count();
        }
        Self {
            indent: shown_before.chars().count(),
            line: format!("{shown_before}{shown_rest}").trim_end().to_owned(),
            carets: "^".repeat(width.max(1)),
        }
    }
}

/// Writes out what a terminal would obey: a pack must not be able to paint over what is said about it.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' | '\u{feff}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

struct Paint(Colour);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        match self.0 {
            Colour::Plain => text.to_owned(),
            Colour::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    fn red(&self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn yellow(&self, text: &str) -> String {
        self.with("1;33", text)
    }

    fn cyan(&self, text: &str) -> String {
        self.with("1;36", text)
    }

    fn blue(&self, text: &str) -> String {
        self.with("1;34", text)
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::{Code, Report};
    use crate::source::SourceText;

    fn one(text: &str, span: std::ops::Range<usize>) -> Diagnostic {
        let mut report = Report::default();
        let file = SourceText::new("packs/a/rules/b.yaml", text);
        report
            .error(Code::UnknownField, &file, span, "unknown field `whem`")
            .did_you_mean(Some("when"))
            .hint("a rule has `trigger`,\n`when` and `action`");
        report.into_sorted(None).remove(0)
    }

    #[test]
    fn a_diagnostic_shows_its_line_a_caret_and_a_hint() {
        insta::assert_snapshot!(one("trigger: a.b\nwhem: true\n", 13..17).render(Colour::Plain));
    }

    #[test]
    fn colours_are_added_only_when_asked_for() {
        let diagnostic = one("whem: true\n", 0..4);
        assert!(!diagnostic.render(Colour::Plain).contains('\u{1b}'));
        assert!(diagnostic.render(Colour::Ansi).contains("\u{1b}[1;31merror\u{1b}[0m"));
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        let shown = one("whem: \u{1b}[2Jx\u{202e}y\n", 0..4).render(Colour::Plain);
        assert!(shown.contains("\\u{1b}[2Jx\\u{202e}y"), "{shown}");
    }

    #[test]
    fn a_diagnostic_is_also_json() {
        let value = one("trigger: a.b\nwhem: true\n", 13..17).to_json();
        insta::assert_json_snapshot!(value);
    }

    #[test]
    fn a_long_line_is_cut_so_that_the_place_is_seen() {
        let text = format!("{}whem: {}\n", " ".repeat(500), "y".repeat(500));
        let shown = one(&text, 500..504).render(Colour::Plain);
        assert!(shown.lines().all(|line| line.chars().count() < 200) && shown.contains("^^^^"));
    }
}
