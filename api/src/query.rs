//! Query parameters: closed lists of names, each used at most once except for the repeated ones.
//!
//! It does not know what a parameter means; each reader parses its own.

use std::str::FromStr;

use ensue_engine::executions::labels::LABELS_MAX;
use ensue_engine::explain::Explain;
use ensue_engine::time::Timestamp;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::problem::{Problem, quote};

/// The parameters that can be repeated, and whose values must all apply, each with the maximum number of its repetitions.
const REPEATED: [(&str, usize); 1] = [("label", LABELS_MAX)];

/// The parameters that can have several values, one of which must apply: repeated, or separated by commas. Each
/// with the maximum number of its repetitions, and of the values in one of them.
pub(crate) const SEVERAL: [(&str, usize); 10] = [
    ("id", IDS_MAX),
    ("by", VALUES_MAX),
    ("kind", VALUES_MAX),
    ("status", VALUES_MAX),
    ("outcome", VALUES_MAX),
    ("action", VALUES_MAX),
    ("rule", VALUES_MAX),
    ("trigger", VALUES_MAX),
    ("what", VALUES_MAX),
    ("verdict", VALUES_MAX),
];

/// The maximum number of repetitions of `id`, and of the ids in one of them.
pub(crate) const IDS_MAX: usize = 200;
/// The maximum number of repetitions of another filter, and of the values in one of them.
pub(crate) const VALUES_MAX: usize = 20;

/// Why a request's parameters are rejected.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Malformed)]
pub(crate) enum ParameterRefusal {
    /// The path does not have this parameter.
    #[error("there is no parameter `{name}` here; {}", known_ones(.known))]
    #[explain(slug = "unknown-parameter")]
    Unknown {
        /// The given name.
        name: String,
        /// The known names.
        known: &'static [&'static str],
    },
    /// It is given more than once.
    #[error("the parameter `{0}` is given more than once")]
    #[explain(slug = "doubled-parameter", hint = "give it once")]
    Doubled(String),
    /// Its value is invalid.
    #[error("the parameter `{name}` {why}")]
    #[explain(slug = "bad-parameter")]
    Bad {
        /// The name.
        name: &'static str,
        /// What is wrong, as the rest of the sentence.
        why: String,
    },
}

fn known_ones(known: &[&str]) -> String {
    match known {
        [] => "this path has no parameters".to_owned(),
        [one] => format!("the only parameter is `{one}`"),
        [_, _, ..] => format!("the parameters are `{}`", known.join("`, `")),
    }
}

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query {
    values: Vec<(&'static str, String)>,
}

impl Query {
    /// Parses a query; every name must be a known one.
    pub(crate) fn parse(raw: Option<&str>, known: &'static [&'static str]) -> Result<Self, ParameterRefusal> {
        let mut query = Self::default();
        let mut repetitions = [0; SEVERAL.len()];
        let mut all = [0; REPEATED.len()];
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode_component(name).unwrap_or_else(|| name.to_owned());
            let Some(known_name) = known.iter().copied().find(|known| *known == name) else {
                return Err(ParameterRefusal::Unknown { name: quote(&name), known });
            };
            let several = SEVERAL.iter().zip(&mut repetitions).find(|((name, _), _)| *name == known_name);
            let repeated = REPEATED.iter().zip(&mut all).find(|((name, _), _)| *name == known_name);
            if query.text(known_name).is_some() && several.is_none() && repeated.is_none() {
                return Err(ParameterRefusal::Doubled(quote(&name)));
            }
            if let Some(((_, most), count)) = repeated {
                *count += 1;
                if *count > *most {
                    return Err(bad(known_name, format!("is given more than {most} times, which is the limit")));
                }
            }
            let value = decode_component(value).filter(|value| !value.contains('\0'));
            let value = value.ok_or_else(|| bad(known_name, "is not UTF-8 text without NUL"))?;
            let Some(((_, most), repeated)) = several else {
                query.values.push((known_name, value));
                continue;
            };
            *repeated += 1;
            if *repeated > *most {
                return Err(bad(known_name, format!("is given more than {most} times; separate its values by commas")));
            }
            if value.split(',').count() > *most {
                return Err(bad(
                    known_name,
                    format!("has more than {most} values separated by commas; repeat the parameter for the others"),
                ));
            }
            query.values.extend(value.split(',').map(|value| (known_name, value.to_owned())));
        }
        Ok(query)
    }

    /// Returns a parameter's text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Returns all values of a parameter.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Parses a parameter's value; `what` ends the sentence "the parameter is not …".
    pub(crate) fn parse_value<T: FromStr>(&self, name: &'static str, what: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(bad(name, format!("is `{}`, which is not {what}", quote(text))).into()),
        }
    }

    /// Parses a parameter that is a time.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Problem> {
        self.parse_value(name, "a time such as 2026-03-28T09:00:00Z")
    }

    /// Returns the value of a parameter that must be one of a closed list.
    pub(crate) fn one_of<T: Copy>(&self, name: &'static str, values: &[(&'static str, T)]) -> Result<Option<T>, Problem> {
        Ok(self.text(name).map(|text| one_of(name, text, values)).transpose()?)
    }

    /// Returns the values of a parameter, each of which must be one of a closed list.
    pub(crate) fn each_of<T: Copy>(&self, name: &'static str, values: &[(&'static str, T)]) -> Result<Vec<T>, ParameterRefusal> {
        self.texts(name).map(|text| one_of(name, text, values)).collect()
    }

    /// Returns the values of a parameter that can be given once, with its values separated by commas. Each must be one
    /// of a closed list.
    pub(crate) fn list_of<T: Copy>(&self, name: &'static str, values: &[(&'static str, T)]) -> Result<Vec<T>, ParameterRefusal> {
        self.text(name).into_iter().flat_map(|texts| texts.split(',')).map(|text| one_of(name, text, values)).collect()
    }

    /// Returns all parameters in the order of the known names, except those in `without`: the text that a
    /// cursor is bound to.
    pub(crate) fn canonical(&self, without: &[&str]) -> String {
        let mut values: Vec<_> = self.values.iter().filter(|(name, _)| !without.contains(name)).collect();
        values.sort();
        values.iter().map(|(name, value)| format!("{name}={}:{value}\n", value.len())).collect()
    }

    /// Returns all parameters as they are written in a URL, except those in `without`.
    pub(crate) fn encode_without(&self, without: &[&str]) -> String {
        let pairs = self.values.iter().filter(|(name, _)| !without.contains(name));
        pairs.map(|(name, value)| format!("{name}={}", encode_component(value))).collect::<Vec<_>>().join("&")
    }
}

fn one_of<T: Copy>(name: &'static str, text: &str, values: &[(&'static str, T)]) -> Result<T, ParameterRefusal> {
    match values.iter().find(|(known, _)| *known == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let known: Vec<&str> = values.iter().map(|(known, _)| *known).collect();
            Err(bad(name, format!("is `{}`; it must be one of `{}`", quote(text), known.join("`, `"))))
        }
    }
}

/// Returns the error for an invalid value; `why` continues the sentence "the parameter `x`".
pub(crate) fn bad(name: &'static str, why: impl Into<String>) -> ParameterRefusal {
    ParameterRefusal::Bad { name, why: why.into() }
}

/// Encodes a value for a URL's query.
pub(crate) fn encode_component(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Decodes a name or value of a query; returns `None` if it is not UTF-8.
pub(crate) fn decode_component(text: &str) -> Option<String> {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["limit", "source", "trigger"];

    #[test]
    fn unknown_parameter_error_lists_the_known_ones() {
        let refusal = Query::parse(Some("limit=1&colour=red"), KNOWN).unwrap_err();
        assert_eq!(refusal.to_string(), "there is no parameter `colour` here; the parameters are `limit`, `source`, `trigger`");
        assert_eq!(Query::parse(Some("a"), &[]).unwrap_err().to_string(), "there is no parameter `a` here; this path has no parameters");
    }

    #[test]
    fn duplicate_parameter_is_rejected() {
        for twice in ["limit=10&limit=1000", "limit=1&%6cimit=1"] {
            assert!(matches!(Query::parse(Some(twice), KNOWN), Err(ParameterRefusal::Doubled(_))), "{twice}");
        }
    }

    #[test]
    fn repeatable_parameter_may_occur_several_times() {
        let query = Query::parse(Some("label=site%3Deu&limit=1&label=team=web"), &["label", "limit"]).unwrap();
        assert_eq!(query.texts("label").collect::<Vec<_>>(), ["site=eu", "team=web"]);
        let other = Query::parse(Some("label=team=web&label=site=eu&limit=1"), &["label", "limit"]).unwrap();
        assert_eq!(query.canonical(&[]), other.canonical(&[]));
        let labels = |count: usize| vec!["label=site=eu,us"; count].join("&");
        assert_eq!(Query::parse(Some(&labels(LABELS_MAX)), &["label"]).unwrap().texts("label").count(), LABELS_MAX);
        let refused = Query::parse(Some(&labels(LABELS_MAX + 1)), &["label"]).unwrap_err();
        assert_eq!(refused.to_string(), "the parameter `label` is given more than 16 times, which is the limit");
    }

    #[test]
    fn several_values_are_repeated_or_separated_by_commas() {
        let known: &[&str] = &["id", "status"];
        let apart = Query::parse(Some("status=failed&status=queued"), known).unwrap();
        let together = Query::parse(Some("status=queued%2Cfailed"), known).unwrap();
        assert_eq!(apart.texts("status").collect::<Vec<_>>(), ["failed", "queued"]);
        assert_eq!(apart.canonical(&[]), together.canonical(&[]));
        assert_eq!(apart.each_of("status", &[("failed", 1), ("queued", 2)]), Ok(vec![1, 2]));
        let refused = apart.each_of("status", &[("failed", 1)]).unwrap_err();
        assert_eq!(refused.to_string(), "the parameter `status` is `queued`; it must be one of `failed`");
    }

    #[test]
    fn commas_in_a_value_do_not_count_as_repetitions() {
        let repeated = |name: &str, value: &str, count: usize| vec![format!("{name}={value}"); count].join("&");
        let twenty = format!("{}&trigger=a,b", repeated("trigger", "a", 19));
        assert_eq!(Query::parse(Some(&twenty), KNOWN).unwrap().texts("trigger").count(), 21);
        let refused = Query::parse(Some(&format!("{twenty}&trigger=c")), KNOWN).unwrap_err();
        assert_eq!(refused.to_string(), "the parameter `trigger` is given more than 20 times; separate its values by commas");
        let listed = |name: &str, count: usize| format!("{name}={}", vec!["a"; count].join("%2C"));
        for (name, most) in [("trigger", 20), ("id", 200)] {
            let known: &[&str] = &["id", "trigger"];
            assert_eq!(Query::parse(Some(&listed(name, most)), known).unwrap().texts(name).count(), most);
            let refused = Query::parse(Some(&listed(name, most + 1)), known).unwrap_err();
            let why = format!("has more than {most} values separated by commas; repeat the parameter for the others");
            assert_eq!(refused.to_string(), format!("the parameter `{name}` {why}"));
            assert_eq!(Query::parse(Some(&repeated(name, "a,b", most)), known).unwrap().texts(name).count(), 2 * most);
        }
    }

    #[test]
    fn values_are_decoded_and_must_be_text() {
        let query = Query::parse(Some("source=a%2Eb+c&limit="), KNOWN).unwrap();
        assert_eq!((query.text("source"), query.text("limit")), (Some("a.b c"), Some("")));
        for bytes in ["limit=%ff", "limit=%00"] {
            assert!(matches!(Query::parse(Some(bytes), KNOWN), Err(ParameterRefusal::Bad { .. })), "{bytes}");
        }
    }

    #[test]
    fn canonical_form_is_unambiguous_and_independent_of_the_order() {
        let one = Query::parse(Some("trigger=a&limit=1"), KNOWN).unwrap();
        let other = Query::parse(Some("limit=1&trigger=a"), KNOWN).unwrap();
        assert_eq!(one.canonical(&[]), other.canonical(&[]));
        let forged = Query::parse(Some("limit=1%0Atrigger%3D1%3Aa"), KNOWN).unwrap();
        assert_ne!(one.canonical(&[]), forged.canonical(&[]));
    }
}
