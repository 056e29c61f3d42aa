//! A place in an expression, drawn with a caret under it, as `ensue check` draws places in files.
//!
//! What is wrong there is said by who asks.

use std::ops::Range;

/// The most characters of a line that are shown on each side of the place.
const SIDE_CHARS_MAX: usize = 80;

/// Draws the line of a source in which a span begins, with carets under it. `name` says what the source is.
pub(crate) fn excerpt(name: &str, source: &str, span: Range<usize>) -> Vec<String> {
    let start = floor(source, span.start.min(source.len()));
    let end = floor(source, span.end.clamp(start, source.len()));
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let line = source[..line_start].matches('\n').count() + 1;
    let before: Vec<char> = source[line_start..start].chars().collect();
    let after: Vec<char> = source[start..line_end].chars().collect();
    let marked = source[start..end.min(line_end)].chars().count();
    // A long line is cut so that the place is seen.
    let shown_before: String = before[before.len().saturating_sub(SIDE_CHARS_MAX)..].iter().map(visible).collect();
    let shown_after: String = after[..after.len().min(SIDE_CHARS_MAX)].iter().map(visible).collect();
    let gutter = " ".repeat(line.to_string().len());
    let indent = " ".repeat(shown_before.chars().count());
    let carets = "^".repeat(marked.clamp(1, SIDE_CHARS_MAX));
    vec![
        format!("{gutter}--> {name}:{line}:{}", before.len() + 1),
        format!("{gutter} |"),
        format!("{line} | {}", format!("{shown_before}{shown_after}").trim_end()),
        format!("{gutter} | {indent}{carets}"),
    ]
}

/// One character for each, so that the carets stand under the place.
fn visible(character: &char) -> char {
    match character {
        control if control.is_control() => ' ',
        other => *other,
    }
}

fn floor(source: &str, mut at: usize) -> usize {
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_stands_under_its_line() {
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
    fn a_place_that_is_none_is_drawn_at_the_end() {
        assert_eq!(excerpt("expression", "ä", 1..9).len(), 4);
        assert_eq!(excerpt("expression", "", 0..0)[3], "  | ^");
    }
}
