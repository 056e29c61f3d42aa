//! Regular expressions for the forms of texts, and an editor's message for texts that do not match.
//!
//! They are for editors: `check` reads the texts themselves and reports more. Everything that a pattern
//! rejects, `check` rejects too.

use crate::shape::Form;

/// A form as a regular expression (ECMA 262, with `u`), and its description for people.
pub(super) struct FormPattern {
    pub(super) regex: String,
    pub(super) is: &'static str,
}

/// A text that is exactly one expression.
pub(super) const ONE_EXPRESSION: &str = r"^\$\{\{[\s\S]*\}\}$";

/// The pattern of values that can become the value of a label, with its description for people.
pub(super) const LABEL: (&str, &str) =
    (r"^[^\u0000-\u001f\u007f-\u009f]{1,256}$|\$\{\{", "The value of a label is one line of 1 to 256 bytes, or computed by expressions.");

const NAME: &str = "[a-z][a-z0-9_]{0,63}";
const NOT_RESERVED: &str = "(?!(?:in|true|false|null)$)";

/// The types of the short form, each with the pattern of its default.
const TYPES: [(&str, &str); 8] = [
    ("any", JSON),
    ("string", JSON_STRING),
    ("integer", JSON_NUMBER),
    ("number", JSON_NUMBER),
    ("boolean", "(?:true|false)"),
    ("object", r"\{[\s\S]*\}"),
    ("connection<http>", JSON_STRING),
    ("connection<smtp>", JSON_STRING),
];
const JSON_STRING: &str = r#""(?:[^"\\]|\\.)*""#;
const JSON_NUMBER: &str = r"-?[0-9][0-9.eE+-]*";
const JSON_LIST: &str = r"\[[\s\S]*\]";
const JSON: &str = r#"(?:null|true|false|-?[0-9][0-9.eE+-]*|"(?:[^"\\]|\\.)*"|\[[\s\S]*\]|\{[\s\S]*\})"#;

/// What precedes the pattern of a duration that is longer than zero.
const NOT_ZERO: &str = "(?=.*[1-9])";

/// The nesting limit of lists in a text.
const LISTS_MAX: usize = 4;

/// Returns the pattern of durations, as `parse_duration` reads them, of any length.
fn duration() -> String {
    const NUMBER: &str = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)";
    // Only the last number may have a fraction.
    const PART: &str = r"(?:[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?=[A-Z]$))";
    let in_units = format!("(?:{NUMBER}(?:[dhms]|[mun]s|[µμ]s))+");
    let standard = format!("P(?=[0-9.T])(?:{PART}W)?(?:{PART}D)?(?:T(?=[0-9.])(?:{PART}H)?(?:{PART}M)?(?:{PART}S)?)?");
    format!("(?:{in_units}|{standard})")
}

/// Returns the pattern of a form; `None` if it accepts any text.
pub(super) fn pattern(form: Form) -> Option<FormPattern> {
    let (regex, is) = match form {
        Form::Any => return None,
        Form::Name => (format!("^{NAME}$"), "A name begins with a-z, continues with a-z, 0-9 and _, and has at most 64 characters."),
        Form::OwnName => (
            format!("^{NOT_RESERVED}{NAME}$"),
            "A name begins with a-z, continues with a-z, 0-9 and _, and has at most 64 characters. It is not in, true, false or null.",
        ),
        Form::KeyName => (format!("^(?:{NAME}\\.)?{NAME}$"), "The name of a key of this pack, for example webhook_secret."),
        Form::Permission => (
            r"^\s*(?:actions:execute|events:write)\s*(?: on [\s\S]+)?$".to_owned(),
            "A permission, perhaps with a limit, for example actions:execute on action=core.http.",
        ),
        Form::VarName => {
            ("^[a-z0-9_][a-z0-9_.-]{0,127}$".to_owned(), "A var's name consists of a-z, 0-9, _, . and -, and has at most 128 characters.")
        }
        Form::Ref => (format!("^{NAME}\\.{NAME}$"), "A ref is <pack>.<name>, for example github.push."),
        Form::VersionedRef => (
            format!("^{NAME}\\.{NAME}(?:@[1-9][0-9]{{0,9}})?$"),
            "A ref is <pack>.<name>, for example github.push. A version of the payload may follow: shop.ordered@1.",
        ),
        Form::OlderVersion => ("^[1-9][0-9]?$".to_owned(), "The number of an older version, from 1."),
        Form::Version => (
            r"^(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$".to_owned(),
            "A version has three numbers, for example 1.4.0.",
        ),
        Form::VersionRange => (
            r"^\s*(?:=|>=?|<=?|~|\^)?\s*[0-9*xX][0-9A-Za-z.*+-]*\s*(?:,\s*(?:=|>=?|<=?|~|\^)?\s*[0-9*xX][0-9A-Za-z.*+-]*\s*)*$".to_owned(),
            "A version range, for example ^1, >=0.1, or >=1.2, <2.",
        ),
        Form::Duration => (format!("^{}$", duration()), "A duration: 250ms, 90s, 1h30m, 2d, PT1H."),
        Form::SomeTime => (format!("^{NOT_ZERO}{}$", duration()), "A duration longer than zero: 250ms, 90s, 1h30m, 2d, PT1H."),
        Form::Wait => {
            (format!(r"^{}$|\$\{{\{{", duration()), "A duration: 250ms, 90s, 1h30m, 2d, PT1H; or an expression that returns one.")
        }
        Form::Period => (
            format!(r"^{NOT_ZERO}{}$|\$\{{\{{", duration()),
            "A duration longer than zero: 250ms, 90s, 1h30m, 2d, PT1H; or an expression that returns one, or a number of seconds.",
        ),
        Form::Header => ("^[A-Za-z0-9_-]+$".to_owned(), "The name of a header: letters, digits and -."),
        Form::ContentType => (
            "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+$".to_owned(),
            "A content type without parameters, for example application/csp-report.",
        ),
        Form::Variable => (
            "^(?!ENSUE_)[A-Za-z_][A-Za-z0-9_]*$".to_owned(),
            "The name of a variable: letters, digits and _. It does not begin with a digit or with ENSUE_.",
        ),
        Form::Method => (
            r"^(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$|\$\{\{".to_owned(),
            "An HTTP method in capitals: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS; or an expression that returns one.",
        ),
        Form::AnswerForm => (
            r"^(?:json|text|base64|artifact)$|\$\{\{".to_owned(),
            "What the body of an answer is read as: json, text, base64 or artifact; or an expression that returns one.",
        ),
        Form::Url => (
            // After the first `/`, `?` or `#` anything is allowed. Before it, expressions, user names and
            // passwords are not.
            r"^\$\{\{|^https?://(?![^/?#]*(?:@|\$\{\{))[^/?#]|^/(?!/)".to_owned(),
            "A URL begins with https:// or http:// and a host, both written out; or the whole URL is one expression. Below a connection, it is a path that begins with /.",
        ),
        Form::Connection => (
            format!(r"^{NAME}$|^\s*\$\{{\{{\s*(?:params|config)\.{NAME}\s*\}}\}}\s*$"),
            "The name of a connection, or exactly one parameter or setting that names one.",
        ),
        Form::Script => (
            format!(r"^(?:[^$]|\$(?!\{{\{{)|\$\$\{{\{{)*$|^\s*\$\{{\{{\s*params\.{NAME}\s*\}}\}}\s*$"),
            "Code cannot contain expressions; pass values through env. The only exception is a single parameter that is declared as code.",
        ),
        Form::Argument => (r"^(?:[^$]|\$(?!\{\{)|\$\$\{\{)*$".to_owned(), "A command is fixed; it cannot contain expressions."),
        Form::FileChange => (r"^(?:created|modified|removed)$".to_owned(), "A change of a file: created, modified or removed."),
        Form::Address => (r"^(?:[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$".to_owned(), "An address and a port, for example 127.0.0.1:3678."),
    };
    Some(FormPattern { regex, is })
}

/// A type alone: `string`, `dev | prod`, `[string]`.
pub(super) fn kind() -> FormPattern {
    FormPattern {
        regex: format!(r"^\s*{}\s*$", nested_regex(&any_kind(), LISTS_MAX)),
        is: "A type: string, integer, number, boolean, object, any, one of several strings as dev | prod, or a list as [string].",
    }
}

/// A type with its presence: `string`, `integer?`, `integer = 3`.
pub(super) fn declaration() -> FormPattern {
    let list = format!(r"\[\s*{}\s*\]", nested_regex(&any_kind(), LISTS_MAX - 1));
    let each = TYPES
        .iter()
        .map(|(name, default)| (name.to_string(), *default))
        .chain([(one_of(), JSON_STRING), (list, JSON_LIST)])
        .map(|(kind, default)| format!(r"{kind}\s*(?:\?|=\s*{default})?"));
    FormPattern {
        regex: format!(r"^\s*(?:{})\s*$", each.collect::<Vec<_>>().join("|")),
        is: "A type, followed by ? if it is optional, or by = and a default as JSON: string, integer?, integer = 3, dev | prod, [string].",
    }
}

fn any_kind() -> String {
    let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
    format!("(?:{}|{})", names.join("|"), one_of())
}

/// Words separated by `|`, none of which is a type.
fn one_of() -> String {
    let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
    let word = format!(r"(?!(?:{})\s*(?:[|?=\]]|$))[A-Za-z0-9_.\/+-]+", names.join("|"));
    format!(r"{word}(?:\s*\|\s*{word})+")
}

/// A kind, or nested lists of it up to a depth.
fn nested_regex(kind: &str, depth: usize) -> String {
    (0..depth).fold(kind.to_owned(), |inner, _| format!(r"(?:{kind}|\[\s*{inner}\s*\])"))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use ensue_engine::time::parse_duration;
    use jsonschema::Validator;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn validator(form: Form) -> Validator {
        jsonschema::validator_for(&json!({ "pattern": pattern(form).unwrap().regex })).unwrap()
    }

    static ANY: LazyLock<Validator> = LazyLock::new(|| validator(Form::Duration));
    static LONGER: LazyLock<Validator> = LazyLock::new(|| validator(Form::SomeTime));

    #[test]
    fn pattern_of_durations_refuses_other_forms() {
        for bad in ["", "0", "10", "1 day", "1y", "-1s", "+1s", "P", "PT", "P1DT", "P1M", "P1H", "PT1D", "PT1S1M", "P1.5DT1H", "1..5s"] {
            assert!(!ANY.is_valid(&json!(bad)), "{bad}");
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        for zero in ["0s", "PT0S", "0h0m"] {
            assert!(ANY.is_valid(&json!(zero)) && !LONGER.is_valid(&json!(zero)), "{zero}");
        }
    }

    proptest! {
        #[test]
        fn pattern_of_durations_takes_the_forms_that_check_takes(
            text in prop_oneof![
                "P?([0-9.]{1,3}(d|h|m|s|ms|us|µs|ns|W|D|H|M|S|T)?){0,4}",
                "[-+]?[0-9.]{0,2}(d|h|m|s)",
                "P([0-9]W)?([0-9.]{1,2}D)?T?([0-9.]{1,2}H)?([0-9]M)?([0-9.]{1,3}S)?",
            ],
        ) {
            // `check` also refuses parts of a millisecond and more than a year, which no pattern can tell.
            let has_form = !text.starts_with(['+', '-']) && text != "0" && ensue_expression::parse_duration(&text).is_ok();
            prop_assert_eq!(ANY.is_valid(&json!(text)), has_form, "{}", text);
            if let Some(duration) = parse_duration(&text) {
                prop_assert!(has_form, "{}", text);
                prop_assert_eq!(LONGER.is_valid(&json!(text)), !duration.is_zero(), "{}", text);
            }
        }
    }
}
