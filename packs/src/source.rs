//! The text of one file with its places: bytes to lines and columns, and values to where they were written.
//!
//! The meaning of the text is not interpreted here.

use std::ops::Range;
use std::sync::Arc;

/// The text of a file, and the name shown to users. A clone shares both.
#[derive(Clone, Debug)]
pub(crate) struct SourceText {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: String,
    text: String,
    line_starts: Vec<usize>,
}

/// A place in a text: line and column, both from 1. The column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineColumn {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl SourceText {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { inner: Arc::new(Inner { path: path.into(), text, line_starts }) }
    }

    pub(crate) fn path(&self) -> &str {
        &self.inner.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.inner.text
    }

    pub(crate) fn slice(&self, span: &Range<usize>) -> &str {
        self.inner.text.get(span.clone()).unwrap_or("")
    }

    /// Returns the part of a span that lies in the text, widened to whole characters.
    pub(crate) fn within(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.inner.text.floor_char_boundary(span.start);
        let end = self.inner.text.ceil_char_boundary(span.end.min(self.inner.text.len()));
        start..end.max(start)
    }

    pub(crate) fn place(&self, offset: usize) -> LineColumn {
        let offset = self.inner.text.floor_char_boundary(offset);
        let line = self.inner.line_starts.partition_point(|start| *start <= offset);
        let start = self.inner.line_starts[line - 1];
        LineColumn { line, column: self.inner.text[start..offset].chars().count() + 1 }
    }

    /// Returns the span of the line that holds `offset`, without its line break.
    pub(crate) fn line_span(&self, offset: usize) -> Range<usize> {
        let line = self.place(offset).line;
        let start = self.inner.line_starts[line - 1];
        let end = self.inner.line_starts.get(line).map_or(self.inner.text.len(), |next| next - 1);
        let text = &self.inner.text[start..end];
        start..start + text.trim_end_matches('\r').len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_a_line_and_a_column_in_characters() {
        let text = SourceText::new("a.yaml", "a: 1\nä: x\n");
        assert_eq!(text.place(0), LineColumn { line: 1, column: 1 });
        assert_eq!(text.place(9), LineColumn { line: 2, column: 4 });
        assert_eq!(text.slice(&text.line_span(6)), "ä: x");
    }

    #[test]
    fn place_after_the_end_is_the_end() {
        let text = SourceText::new("a.yaml", "a");
        assert_eq!(text.place(99), LineColumn { line: 1, column: 2 });
    }
    #[test]
    fn span_is_limited_to_the_text_and_to_whole_characters() {
        let text = SourceText::new("a.yaml", "aé");
        assert_eq!(text.within(&(3..4)), 3..3);
        assert_eq!(text.within(&(2..2)), 1..3);
        assert_eq!(text.within(&(7..9)), 3..3);
        assert_eq!(text.within(&(1..3)), 1..3);
    }
}
