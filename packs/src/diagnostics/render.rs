//! Renders a diagnostic as text for a terminal: the message, the line, a caret under the place, and the hint.
//!
//! Callers determine whether the terminal supports color.

use std::ops::Range;

use super::{Diagnostic, Severity};
use crate::source::SourceText;

/// The longest part of a line that is shown, in characters.
const LINE_CHARS_MAX: usize = 160;

/// Whether text is colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// No color: for files and pipes.
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
    let gutter = gutter(diagnostic.line);
    let mut out = format!("{severity}[{}]: {}\n", diagnostic.code.slug(), paint.bold(&visible(&diagnostic.message)));
    let excerpt = Excerpt::of(&diagnostic.source_line, diagnostic.column, diagnostic.span.len());
    let carets = match diagnostic.severity {
        Severity::Error => paint.red(&excerpt.carets),
        Severity::Warning => paint.yellow(&excerpt.carets),
        Severity::Note => paint.cyan(&excerpt.carets),
    };
    let drawn = excerpt.render_lines(&diagnostic.file, diagnostic.line, diagnostic.column, &carets, &paint);
    // For a file without text, only its name can be shown.
    for line in if diagnostic.source_line.is_empty() { &drawn[..1] } else { &drawn[..] } {
        out.push_str(&format!("{line}\n"));
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

/// Renders the source line in which a span begins, with carets under the span, without colors; `name` names
/// the source.
pub fn excerpt(name: &str, source: &str, span: Range<usize>) -> Vec<String> {
    let text = SourceText::new(name, source);
    let span = text.within(&span);
    let place = text.place(span.start);
    let excerpt = Excerpt::of(text.slice(&text.line_span(span.start)), place.column, span.len());
    excerpt.render_lines(name, place.line, place.column, &excerpt.carets, &Paint(Colour::Plain)).into()
}

fn gutter(line: usize) -> String {
    " ".repeat(line.to_string().len())
}

/// The shown part of the line, and the position of the carets under it.
struct Excerpt {
    line: String,
    indent: usize,
    carets: String,
}

impl Excerpt {
    /// Returns the part of a line to show around a column (from 1) where a span of `bytes` bytes begins.
    fn of(line: &str, column: usize, mut bytes: usize) -> Self {
        let before: Vec<char> = line.chars().take(column - 1).collect();
        let rest: Vec<char> = line.chars().skip(column - 1).collect();
        // A long line is cut at its beginning, so that the place is visible.
        let cut = before.len().saturating_sub(LINE_CHARS_MAX / 2);
        let shown_before = visible(&before[cut..].iter().collect::<String>());
        let rest = &rest[..rest.len().min(LINE_CHARS_MAX / 2)];
        let shown_rest = visible(&rest.iter().collect::<String>());
        let mut width = 0;
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

    /// Renders four lines: the location, a bar, the line, and the carets, which may be colored.
    fn render_lines(&self, name: &str, line: usize, column: usize, carets: &str, paint: &Paint) -> [String; 4] {
        let gutter = gutter(line);
        let (arrow, bar, number) = (paint.blue("-->"), paint.blue("|"), paint.blue(&line.to_string()));
        [
            format!("{gutter}{arrow} {}:{line}:{column}", visible(name)),
            format!("{gutter} {bar}"),
            format!("{number} {bar} {}", self.line),
            format!("{gutter} {bar} {}{carets}", " ".repeat(self.indent)),
        ]
    }
}

/// Escapes control characters: a pack must not be able to overwrite its own diagnostics on the terminal.
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
    fn diagnostic_shows_its_line_a_caret_and_a_hint() {
        insta::assert_snapshot!(one("trigger: a.b\nwhem: true\n", 13..17).render(Colour::Plain));
    }

    #[test]
    fn colors_are_added_only_on_request() {
        let diagnostic = one("whem: true\n", 0..4);
        assert!(!diagnostic.render(Colour::Plain).contains('\u{1b}'));
        assert!(diagnostic.render(Colour::Ansi).contains("\u{1b}[1;31merror\u{1b}[0m"));
    }

    #[test]
    fn control_characters_are_escaped() {
        let shown = one("whem: \u{1b}[2Jx\u{202e}y\n", 0..4).render(Colour::Plain);
        assert!(shown.contains("\\u{1b}[2Jx\\u{202e}y"), "{shown}");
    }

    #[test]
    fn diagnostic_can_be_written_as_json() {
        let value = one("trigger: a.b\nwhem: true\n", 13..17).to_json();
        insta::assert_json_snapshot!(value);
    }

    #[test]
    fn long_line_is_cut_around_the_place() {
        let text = format!("{}whem: {}\n", " ".repeat(500), "y".repeat(500));
        let shown = one(&text, 500..504).render(Colour::Plain);
        assert!(shown.lines().all(|line| line.chars().count() < 200) && shown.contains("^^^^"));
    }

    #[test]
    fn place_in_any_source_is_drawn_below_its_line() {
        let source = "event.payload.ok\n  && event.payload.größe == 1";
        let start = source.find(".größe").unwrap();
        insta::assert_snapshot!(excerpt("when", source, start..start + ".größe".len()).join("\n"), @r"
         --> when:2:19
          |
        2 |   && event.payload.größe == 1
          |                   ^^^^^^
        ");
    }

    #[test]
    fn invalid_place_is_drawn_at_the_end() {
        assert_eq!(excerpt("expression", "ä", 1..9).len(), 4);
        assert_eq!(excerpt("expression", "", 0..0)[3], "  | ^");
    }
}
