//! Keeps texts within the bounds of a document.

/// Truncates a text so that it takes at most `bytes_max` bytes as the content of a JSON string, at a
/// character boundary and with a marker.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    const MARK: &str = " … (cut)";
    let mut escaped = 0;
    let mut end_with_mark = 0;
    for (at, character) in text.char_indices() {
        if escaped + MARK.len() <= bytes_max {
            end_with_mark = at;
        }
        escaped += escaped_bytes(character);
        if escaped > bytes_max {
            return format!("{}{MARK}", &text[..end_with_mark]);
        }
    }
    text.to_owned()
}

fn escaped_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_within_the_limit_is_unchanged() {
        assert_eq!(cut("exactly ten", 11), "exactly ten");
    }

    #[test]
    fn truncated_text_is_marked() {
        assert_eq!(cut("a message that is too long", 19), "a message … (cut)".to_owned());
    }

    proptest! {
        #[test]
        fn truncated_text_fits_its_limit_as_json(text in ".{0,200}|[\\x00-\\x1f\"\\\\]{0,200}", bytes_max in 16usize..200) {
            let kept = cut(&text, bytes_max);
            let json = serde_json::to_string(&kept).unwrap();
            prop_assert!(json.len() - 2 <= bytes_max, "{json}");
            prop_assert!(kept == text || kept.ends_with("(cut)"));
        }
    }
}
