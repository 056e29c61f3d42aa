//! Writes JSON documents as YAML: blocks by indentation, and quotes only if a YAML 1.1 or 1.2 reader needs
//! them.
//!
//! It does not parse YAML; `ensue_packs` does.

use serde_json::Value;
use serde_saphyr::SerializerOptions;

/// Returns a document as YAML that ends with a line break.
pub(crate) fn document(value: &Value) -> String {
    let mut options = SerializerOptions::default();
    options.compact_list_indent = false;
    let mut text = String::new();
    match serde_saphyr::to_fmt_writer_with_options(&mut text, value, options) {
        Ok(()) => text,
        // Every JSON document is valid YAML 1.2.
        Err(_) => format!("{value:#}\n"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_output_is_as_readable_as_a_pack() {
        let list = json!({
            "items": [
                { "id": "019c", "matched": 2, "payload": { "n": 1.5, "tags": ["a", []] }, "note": null },
                { "id": "x", "payload": {} },
            ],
            "next": "",
        });
        insta::assert_snapshot!(document(&list), @r#"
        items:
          - id: 019c
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
    fn yaml_output_parses_to_the_same_document() {
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
            "one\n\ntwo  \n   three\n\n\n",
            "\n leading and trailing\n ",
            "a\r\nb",
            "tab\tin a\n\tline",
        ];
        let long: Vec<String> = ["word ", " word", "two  spaces  ", "x", "line\n", "{\"a\": [1, 2], \"b\": \"c\"} ", "日本語 ", "# a: - "]
            .map(|part| part.repeat(200))
            .into();
        let named: serde_json::Map<String, Value> = texts.iter().map(|text| ((*text).to_owned(), json!(text))).collect();
        let documents = [
            json!(named),
            json!(texts.as_slice()),
            json!({ "long": long, "deeper": [{ "long": long }] }),
            json!([[[1, -2, 1.5e300, true, null], { "a": [{ "b": [] }, {}] }]]),
            json!("alone"),
            json!(null),
            json!({}),
        ];
        for written in documents {
            let text = document(&written);
            let read: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(read, written, "{text}");
            assert!(!text.chars().any(|character| character.is_control() && !matches!(character, '\n' | '\t')), "{text}");
        }
    }
}
