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
