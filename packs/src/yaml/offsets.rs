//! Maps a place in a scalar's value back to where it was written: through quotes, escapes, folding and
//! indentation.
//!
//! It relies on one property of all five styles: non-blank characters have the same order in the file as in
//! the value.

use std::ops::Range;

use serde_saphyr::granit_parser::ScalarStyle;

/// Where each character of a scalar's value was written.
pub(crate) struct Offsets {
    /// For each non-blank character: its place in the value, and its span in the file.
    marks: Vec<(usize, Range<usize>)>,
    start: usize,
}

impl Offsets {
    /// Aligns a scalar's value with its text, which begins at `start` in the file.
    pub(crate) fn align(value: &str, written: &str, style: ScalarStyle, start: usize) -> Self {
        let units = match style {
            ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => plain_units(written),
            ScalarStyle::SingleQuoted => single_quoted_units(written),
            ScalarStyle::DoubleQuoted => double_quoted_units(written),
        };
        let marks = value
            .char_indices()
            .filter(|(_, c)| !is_blank(*c))
            .zip(units)
            .map(|((at, _), unit)| (at, start + unit.start..start + unit.end))
            .collect();
        Self { marks, start }
    }

    /// Returns where a span of the value was written.
    pub(crate) fn of(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.start_of(span.start);
        let last = self.marks[..self.marks.partition_point(|(at, _)| *at < span.end)].last();
        let end = last.map_or(start, |(_, written)| written.end);
        start..end.max(start)
    }

    fn start_of(&self, offset: usize) -> usize {
        let next = self.marks.partition_point(|(at, _)| *at < offset);
        match (self.marks.get(next), next.checked_sub(1).map(|before| &self.marks[before])) {
            (Some((at, written)), _) if *at == offset => written.start,
            // A blank, or the end: right after the character before it.
            (_, Some((at, written))) => written.end + (offset - at).saturating_sub(1).min(1) * usize::from(next < self.marks.len()),
            (_, None) => self.start,
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn plain_units(written: &str) -> Vec<Range<usize>> {
    written.char_indices().filter(|(_, c)| !is_blank(*c)).map(|(at, c)| at..at + c.len_utf8()).collect()
}

fn single_quoted_units(written: &str) -> Vec<Range<usize>> {
    let mut units = Vec::new();
    let mut chars = written.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\'' {
            match chars.peek() {
                Some((_, '\'')) => {
                    chars.next();
                    units.push(at..at + 2);
                }
                Some(_) | None => break,
            }
        } else if !is_blank(c) {
            units.push(at..at + c.len_utf8());
        }
    }
    units
}

fn double_quoted_units(written: &str) -> Vec<Range<usize>> {
    let mut units = Vec::new();
    let mut chars = written.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => break,
            '\\' => {
                let Some((_, escape)) = chars.next() else { break };
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                let hex: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                let decoded = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                let is_blank = match escape {
                    'n' | 't' | 'r' | ' ' | '\t' | '\n' | '\r' => true,
                    _ => decoded.is_some_and(is_blank),
                };
                if !is_blank {
                    units.push(at..at + 1 + escape.len_utf8() + digits);
                }
            }
            c if is_blank(c) => {}
            c => units.push(at..at + c.len_utf8()),
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Report;
    use crate::source::SourceText;
    use crate::yaml::{Content, parse};

    /// Finds `needle` in the value of `a`, and returns the text of the file at the place it is mapped to.
    fn written_at(text: &str, needle: &str) -> String {
        let file = SourceText::new("a.yaml", text);
        let root = parse(&file, &mut Report::default()).unwrap();
        let node = root.at("/a").unwrap();
        let Content::Text { value, style } = &node.content else { panic!("not a text: {node:?}") };
        let at = value.find(needle).unwrap();
        let offsets = Offsets::align(value, file.slice(&node.span), *style, node.span.start);
        file.slice(&offsets.of(&(at..at + needle.len()))).to_owned()
    }

    #[test]
    fn place_is_found_in_every_yaml_style() {
        assert_eq!(written_at("a: x.y == 1\n", "== 1"), "== 1");
        assert_eq!(written_at("a: x\n  && y\n", "&& y"), "&& y");
        assert_eq!(written_at("a: 'x == ''q'' && y'\n", "&& y"), "&& y");
        assert_eq!(written_at("a: 'x == ''q'' && y'\n", "'q'"), "''q''");
        assert_eq!(written_at("a: \"x == \\\"q\\\"\\n&& \\u0079 == z\"\n", "y =="), "\\u0079 ==");
        assert_eq!(written_at("a: |\n    x\n      && ä.y\n    == z\n", "ä.y"), "ä.y");
        assert_eq!(written_at("a: >-\n  x\n  && y\n\n  || z\n", "|| z"), "|| z");
        assert_eq!(written_at("a: |  # a comment\n  x == y\n", "== y"), "== y");
    }
}
