//! Texts for records: shortening, and the message of a failed expression.

use ensue_expression::{ErrorKind, EvaluationError};

/// Cuts a text to at most `bytes_max` bytes, at a character boundary and with a marker.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    const MARK: &str = " … (cut)";
    if text.len() > bytes_max {
        let mut end = bytes_max - MARK.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

pub(crate) fn describe(error: &EvaluationError) -> String {
    match (&error.hint, error.kind) {
        (_, ErrorKind::Budget) => format!("budget: {}", error.message),
        (Some(hint), _) => format!("{} (hint: {hint})", error.message),
        (None, _) => error.message.clone(),
    }
}

/// Returns the end of a text that has at most so many bytes as a JSON string without its quotes.
pub(crate) fn end_of(text: &str, bytes_max: usize) -> &str {
    let mut bytes: usize = 0;
    for (at, letter) in text.char_indices().rev() {
        bytes = bytes.saturating_add(match letter {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            _ => letter.len_utf8(),
        });
        if bytes > bytes_max {
            return &text[at + letter.len_utf8()..];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_text_fits_as_json_and_is_as_long_as_possible() {
        for text in ["plain text", "quoted \"text\"\n", "\u{1b}[31mred\u{1b}[0m", "ä€😀 ends", ""] {
            for bytes_max in 0..60 {
                let end = end_of(text, bytes_max);
                let bytes = |text: &str| serde_json::to_string(text).unwrap().len() - 2;
                assert!(text.ends_with(end) && bytes(end) <= bytes_max, "{end:?}");
                let more = text.char_indices().rev().map(|(at, _)| &text[at..]).find(|more| more.len() > end.len());
                assert!(more.is_none_or(|more| bytes(more) > bytes_max), "{end:?}, {more:?}");
            }
        }
    }
}
