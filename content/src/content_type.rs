//! The header `Content-Type`.

/// What a `Content-Type` header says (RFC 9110 §8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    essence: String,
    charset: Option<String>,
    boundary: Option<String>,
}

impl ContentType {
    /// Reads a header. What it does not understand in it is left out, because senders write much that the standard does
    /// not have.
    pub fn parse(header: &str) -> Self {
        let (essence, rest) = header.split_once(';').unwrap_or((header, ""));
        let mut read = Self { essence: essence.trim().to_ascii_lowercase(), charset: None, boundary: None };
        for (name, value) in parameters(rest) {
            let (slot, value) = match name.as_str() {
                // No charset has this quote in its name, and some senders put it around. A boundary may begin with it.
                "charset" => (&mut read.charset, value.trim_matches('\'').to_owned()),
                "boundary" => (&mut read.boundary, value),
                _ => continue,
            };
            if slot.is_none() && !value.is_empty() {
                *slot = Some(value);
            }
        }
        read
    }

    /// Returns the type without its parameters, in lower case: `text/html`.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// Returns the parameter `charset`, as it is written.
    pub fn charset(&self) -> Option<&str> {
        self.charset.as_deref()
    }

    /// Returns the parameter `boundary` of a multipart type.
    pub fn boundary(&self) -> Option<&str> {
        self.boundary.as_deref()
    }

    /// Returns true for `application/json`, its older names, and each type with the suffix `+json`.
    pub fn is_json(&self) -> bool {
        matches!(self.essence.as_str(), "application/json" | "text/json" | "application/x-json" | "text/x-json")
            || self.essence.ends_with("+json")
    }

    /// Returns true for types of documents that can declare their charset at their beginning: HTML and XML. A missing type
    /// is one of them, because it says nothing else.
    pub fn declares_charset_itself(&self) -> bool {
        matches!(self.essence.as_str(), "" | "text/html" | "text/xml" | "application/xml") || self.essence.ends_with("+xml")
    }

    /// Returns true for types whose bytes are text in a charset: `text/*`, XML, forms, scripts and their kin. JSON is
    /// none of them.
    pub fn is_text(&self) -> bool {
        if self.is_json() {
            return false;
        }
        let essence = self.essence.as_str();
        essence.starts_with("text/")
            || essence.ends_with("+xml")
            || essence.ends_with("+yaml")
            || matches!(
                essence.strip_prefix("application/").unwrap_or_default(),
                "xml"
                    | "xml-dtd"
                    | "x-www-form-urlencoded"
                    | "javascript"
                    | "x-javascript"
                    | "ecmascript"
                    | "yaml"
                    | "x-yaml"
                    | "toml"
                    | "sql"
                    | "graphql"
                    | "x-ndjson"
                    | "jsonl"
                    | "json-seq"
                    | "pgp-signature"
                    | "pem-certificate-chain"
                    | "x-pem-file"
                    | "x-sh"
            )
    }
}

/// Returns the parameters of a header, which are behind its first `;`: each name in lower case, with its value.
///
/// In a quoted value, a backslash escapes only `"` and `\`: browsers write the names of files of Windows as they are.
pub fn parameters(text: &str) -> impl Iterator<Item = (String, String)> {
    Parameters(text)
}

/// The parameters of a header: `name=value`, or `name="a quoted \"value\""`.
struct Parameters<'a>(&'a str);

impl Iterator for Parameters<'_> {
    type Item = (String, String);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = self.0.trim_start_matches([';', ' ', '\t']);
            if text.is_empty() {
                return None;
            }
            let end = text.find(['=', ';']).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            let Some(rest) = rest.strip_prefix('=') else {
                self.0 = rest;
                continue;
            };
            let rest = rest.trim_start();
            let quoted = rest.strip_prefix('"').map(unquote);
            let (quoted, rest) = quoted.map_or((None, rest), |(value, rest)| (Some(value), rest));
            // What is between a closing quote and the next parameter belongs to neither.
            let (bare, rest) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            self.0 = rest;
            return Some((name.trim().to_ascii_lowercase(), quoted.unwrap_or_else(|| bare.trim().to_owned())));
        }
    }
}

/// Reads a quoted text up to its closing quote. Returns it and what follows.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' if text[at + 1..].starts_with(['"', '\\']) => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn type_has_its_essence_charset_and_boundary() {
        let read = ContentType::parse("Application/JSON ; Charset = \"UTF-8\"; q=1");
        assert_eq!((read.essence(), read.charset()), ("application/json", Some("UTF-8")));
        assert_eq!(ContentType::parse("text/xml;charset=utf8").charset(), Some("utf8"));
        assert_eq!(ContentType::parse("text/xml; charset='latin1'").charset(), Some("latin1"), "as some senders quote it");
        assert_eq!(ContentType::parse(r#"multipart/form-data; boundary="a;\"b""#).boundary(), Some("a;\"b"));
    }

    #[test]
    fn single_quotes_are_part_of_a_boundary() {
        assert_eq!(ContentType::parse("multipart/form-data; boundary='a'b'").boundary(), Some("'a'b'"));
    }

    #[test]
    fn parameters_of_a_header_have_the_names_of_files_as_browsers_write_them() {
        let read = |text: &str| parameters(text).collect::<Vec<_>>();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read(r#"; Name="doc"; filename="C:\new\a \"b\";c.txt" x; size = 3"#),
            [pair("name", "doc"), pair("filename", r#"C:\new\a "b";c.txt"#), pair("size", "3")]
        );
        assert_eq!(read(r#"a=""; b"#), [pair("a", "")]);
        assert_eq!(read(r#"a="\\"; b=c"#), [pair("a", "\\"), pair("b", "c")]);
    }

    proptest! {
        #[test]
        fn any_quoted_value_is_read_back(value in any::<String>()) {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let read: Vec<_> = parameters(&format!("form-data; a=\"{quoted}\"; b=c")).collect();
            prop_assert_eq!(read, [("a".to_owned(), value), ("b".to_owned(), "c".to_owned())]);
        }
    }

    #[test]
    fn parameters_that_are_odd_do_not_hide_the_others() {
        assert_eq!(ContentType::parse("text/plain;;; x; =; charset=a; charset=b").charset(), Some("a"));
        assert_eq!(ContentType::parse("text/plain; charset=\"a").charset(), Some("a"));
        assert_eq!(ContentType::parse("text/plain; charset=").charset(), None);
        assert_eq!(ContentType::parse("").essence(), "");
    }

    #[test]
    fn html_and_xml_declare_their_charset_and_other_texts_do_not() {
        for document in ["text/html", "Text/XML; q=1", "application/xml", "application/xhtml+xml", "image/svg+xml", ""] {
            assert!(ContentType::parse(document).declares_charset_itself(), "{document}");
        }
        for other in ["text/plain", "text/csv", "application/json", "application/x-www-form-urlencoded", "application/yaml", "image/png"] {
            assert!(!ContentType::parse(other).declares_charset_itself(), "{other}");
        }
    }

    #[test]
    fn types_of_json_and_of_text_are_known() {
        let is = |header: &str| (ContentType::parse(header).is_json(), ContentType::parse(header).is_text());
        for json in ["application/json", "text/json", "application/problem+json", "application/x-json"] {
            assert_eq!(is(json), (true, false), "{json}");
        }
        for text in
            ["text/plain", "text/csv; header=present", "application/atom+xml", "application/xml", "application/x-www-form-urlencoded"]
        {
            assert_eq!(is(text), (false, true), "{text}");
        }
        for bytes in ["application/octet-stream", "image/png", "", "application/pdf", "jsonish"] {
            assert_eq!(is(bytes), (false, false), "{bytes}");
        }
    }
}
