//! JSON documents written as YAML 1.2, which every JSON document is already: blocks by indentation, and quotes only where they are needed.
//!
//! It reads no YAML; `ensue_packs` does.

use std::fmt::Write as _;

use serde_json::Value;

/// Words that a reader of YAML, of version 1.1 too, does not take for text.
const WORDS: &[&str] = &["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// Writes a document, its last line ended.
pub(crate) fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => push_items(&mut text, items, 0),
        Value::Object(fields) if !fields.is_empty() => push_fields(&mut text, fields, 0),
        flat => push_flat(&mut text, flat),
    }
    text
}

fn push_fields(text: &mut String, fields: &serde_json::Map<String, Value>, depth: usize) {
    for (index, (name, value)) in fields.iter().enumerate() {
        // The first field of an item stands behind its dash.
        if index > 0 || text.is_empty() || text.ends_with('\n') {
            text.push_str(&"  ".repeat(depth));
        }
        push_text(text, name);
        text.push(':');
        match value {
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                push_items(text, items, depth + 1);
            }
            Value::Object(fields) if !fields.is_empty() => {
                text.push('\n');
                push_fields(text, fields, depth + 1);
            }
            flat => {
                text.push(' ');
                push_flat(text, flat);
            }
        }
    }
}

fn push_items(text: &mut String, items: &[Value], depth: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || text.is_empty() || text.ends_with('\n') {
            text.push_str(&"  ".repeat(depth));
        }
        text.push_str("- ");
        match item {
            Value::Array(items) if !items.is_empty() => push_items(text, items, depth + 1),
            Value::Object(fields) if !fields.is_empty() => push_fields(text, fields, depth + 1),
            flat => push_flat(text, flat),
        }
    }
}

fn push_flat(text: &mut String, value: &Value) {
    match value {
        Value::String(plain) => push_text(text, plain),
        // Numbers, truths, null and what is empty are the same in both languages.
        other => {
            let _ = write!(text, "{other}");
        }
    }
    text.push('\n');
}

/// Writes text plainly where nobody can take it for anything else, and in double quotes otherwise.
fn push_text(text: &mut String, plain: &str) {
    let is_word = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | '/');
    let is_plain = plain.starts_with(|first: char| first.is_ascii_alphabetic())
        && plain.split(' ').all(|word| !word.is_empty() && word.chars().all(is_word))
        && !WORDS.contains(&plain.to_ascii_lowercase().as_str());
    if is_plain {
        return text.push_str(plain);
    }
    text.push('"');
    for character in plain.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            // What YAML does not print, and what breaks a line in it.
            hidden if hidden.is_control() || matches!(hidden, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                let _ = write!(text, "\\u{:04X}", u32::from(hidden));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_read_as_easily_as_a_pack() {
        let list = json!({
            "items": [
                { "id": "019c", "matched": 2, "payload": { "n": 1.5, "tags": ["a", []] }, "note": null },
                { "id": "x", "payload": {} },
            ],
            "next": "",
        });
        insta::assert_snapshot!(document(&list), @r#"
        items:
          - id: "019c"
            matched: 2
            note: null
            payload:
              "n": 1.5
              tags:
                - a
                - []
          - id: x
            payload: {}
        next: ""
        "#);
    }

    #[test]
    fn what_is_written_is_read_as_the_same_document() {
        let texts = [
            "",
            " ",
            "plain",
            "two words",
            " led",
            "trailing ",
            "yes",
            "No",
            "NULL",
            "~",
            "1",
            "1e3",
            "0x10",
            "-1",
            ".5",
            ".inf",
            "1:2",
            "a: b",
            "a:",
            "#c",
            "a #c",
            "- a",
            "-",
            "?",
            "[",
            "{}",
            "*a",
            "&a",
            "!t",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "'q'",
            "\"q\"",
            "back\\slash",
            "two\nlines",
            "tab\t",
            "\r",
            "\u{1b}[2J",
            "\u{7f}\u{85}\u{a0}",
            "\u{2028}\u{2029}",
            "\u{feff}",
            "ä",
            "日本",
            "😀",
            "---",
            "...",
            "2026-03-28",
            "a/b.c-d_e",
            "=",
            "<<",
        ];
        let named: serde_json::Map<String, Value> = texts.iter().map(|text| ((*text).to_owned(), json!(text))).collect();
        let documents = [
            json!(named),
            json!(texts.as_slice()),
            json!([[[1, -2, 1.5e300, true, null], { "a": [{ "b": [] }, {}] }]]),
            json!("alone"),
            json!(null),
            json!({}),
        ];
        for written in documents {
            let text = document(&written);
            let read: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(read, written, "{text}");
            assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text}");
        }
    }
}
