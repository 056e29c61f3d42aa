//! Query parameters: closed lists, whose parameters are each given at most once unless they can have several values.
//!
//! It does not know what a parameter means: structs that derive [`Query`](ensue_derive::Query) declare them.

mod parameter;

use std::collections::BTreeMap;
use std::str::FromStr;

pub(crate) use ensue_derive::Query;
use ensue_engine::explain::Explain;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::problem::quote;

pub(crate) use parameter::{ColumnText, FromQuery, Multiplicity, Parameter, QueryField, QueryValue, VALUES_MAX, Word, words};

/// Groups of parameters.
pub(crate) type ParameterGroups = &'static [&'static [Parameter]];

/// Why a request's parameters are rejected.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Malformed)]
pub(crate) enum ParameterRefusal {
    /// The path does not have this parameter.
    #[error("unknown parameter `{name}`; {}", known_ones(.known))]
    #[explain(slug = "unknown-parameter")]
    Unknown {
        /// The given name.
        name: String,
        /// The known names.
        known: Vec<&'static str>,
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
    /// Parses a query; every parameter must be a known one.
    pub(crate) fn parse(raw: Option<&str>, known: ParameterGroups) -> Result<Self, ParameterRefusal> {
        let mut query = Self::default();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode_component(name).unwrap_or_else(|| name.to_owned());
            let Some(parameter) = known.iter().copied().flatten().find(|known| known.name == name) else {
                return Err(ParameterRefusal::Unknown { name: quote(&name), known: names(known).collect() });
            };
            let count = counts.entry(parameter.name).or_default();
            *count += 1;
            match parameter.multiplicity {
                Multiplicity::Once | Multiplicity::List if *count > 1 => return Err(ParameterRefusal::Doubled(quote(&name))),
                Multiplicity::Repeated(most) if *count > most => {
                    return Err(bad(parameter.name, format!("is given more than {most} times, which is the limit")));
                }
                Multiplicity::Once | Multiplicity::List | Multiplicity::Repeated(_) | Multiplicity::Several(_) => {}
            }
            let value = decode_component(value).filter(|value| !value.contains('\0'));
            let value = value.ok_or_else(|| bad(parameter.name, "is not UTF-8 text without NUL"))?;
            if let Multiplicity::Several(most) = parameter.multiplicity {
                if *count > most {
                    return Err(bad(parameter.name, format!("is given more than {most} times; separate its values by commas")));
                }
                if value.split(',').count() > most {
                    let why = format!("has more than {most} values separated by commas; repeat the parameter for the others");
                    return Err(bad(parameter.name, why));
                }
            }
            match parameter.multiplicity {
                Multiplicity::Once | Multiplicity::Repeated(_) => query.values.push((parameter.name, value)),
                Multiplicity::List | Multiplicity::Several(_) => {
                    query.values.extend(value.split(',').map(|value| (parameter.name, value.to_owned())));
                }
            }
        }
        Ok(query)
    }

    /// Returns a parameter's text.
    fn text(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Returns all values of a parameter.
    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the name of the first of these parameters that the request has.
    pub(crate) fn first_of(&self, groups: ParameterGroups) -> Option<&'static str> {
        names(groups).find(|name| self.text(name).is_some())
    }

    /// Parses a parameter's value; `what` ends the sentence "the parameter is not …".
    pub(crate) fn parse_value<T: FromStr>(&self, name: &'static str, what: &str) -> Result<Option<T>, ParameterRefusal> {
        self.text(name).map(|text| text.parse().map_err(|_| parameter::refuse(name, text, what))).transpose()
    }

    /// Returns all parameters in the order of the known names, except those in `without`: the text that a
    /// cursor is bound to.
    pub(crate) fn canonical(&self, without: &[Parameter]) -> String {
        let mut values: Vec<_> = self.values.iter().filter(|(name, _)| without.iter().all(|other| other.name != *name)).collect();
        values.sort();
        values.iter().map(|(name, value)| format!("{name}={}:{value}\n", value.len())).collect()
    }

    /// Returns all parameters as they are written in a URL, except the one named `without`.
    pub(crate) fn encode_without(&self, without: &str) -> String {
        let pairs = self.values.iter().filter(|(name, _)| *name != without);
        pairs.map(|(name, value)| format!("{name}={}", encode_component(value))).collect::<Vec<_>>().join("&")
    }
}

/// Returns the names of the parameters of these groups, as an error lists them.
pub(crate) fn list_names(groups: ParameterGroups) -> String {
    names(groups).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the names of the parameters of these groups.
fn names(groups: ParameterGroups) -> impl Iterator<Item = &'static str> {
    groups.iter().copied().flatten().map(|parameter| parameter.name)
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

    /// Parameters with one value, with several, and with some that must all apply.
    #[derive(Debug, Query)]
    struct ExampleQuery {
        /// The maximum number.
        #[query(what = "a number of items")]
        limit: Option<u64>,
        /// The source.
        source: Option<String>,
        /// The triggers.
        trigger: Vec<String>,
        /// The ids.
        #[query(several = 200)]
        id: Vec<String>,
        /// The labels.
        #[query(repeated = 16)]
        label: Vec<String>,
        /// The colours.
        #[query(list)]
        colour: Vec<Colour>,
        /// Whether it is open.
        open: bool,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Colour {
        Red,
        Blue,
    }

    words!(Colour ["red" => Self::Red, "blue" => Self::Blue]);

    const KNOWN: ParameterGroups = &[ExampleQuery::PARAMETERS];

    fn read(raw: &str) -> Result<ExampleQuery, ParameterRefusal> {
        ExampleQuery::read(&Query::parse(Some(raw), KNOWN)?)
    }

    #[test]
    fn unknown_parameter_error_lists_the_known_ones() {
        let refusal = Query::parse(Some("limit=1&size=3"), KNOWN).unwrap_err();
        let known = "`limit`, `source`, `trigger`, `id`, `label`, `colour`, `open`";
        assert_eq!(refusal.to_string(), format!("unknown parameter `size`; the parameters are {known}"));
        assert_eq!(Query::parse(Some("a"), &[]).unwrap_err().to_string(), "unknown parameter `a`; this path has no parameters");
    }

    #[test]
    fn duplicate_parameter_is_rejected() {
        for twice in ["limit=10&limit=1000", "limit=1&%6cimit=1"] {
            assert!(matches!(Query::parse(Some(twice), KNOWN), Err(ParameterRefusal::Doubled(_))), "{twice}");
        }
    }

    #[test]
    fn repeatable_parameter_may_occur_several_times() {
        let query = Query::parse(Some("label=site%3Deu&limit=1&label=team=web"), KNOWN).unwrap();
        assert_eq!(query.texts("label").collect::<Vec<_>>(), ["site=eu", "team=web"]);
        let other = Query::parse(Some("label=team=web&label=site=eu&limit=1"), KNOWN).unwrap();
        assert_eq!(query.canonical(&[]), other.canonical(&[]));
        let labels = |count: usize| vec!["label=site=eu,us"; count].join("&");
        assert_eq!(Query::parse(Some(&labels(16)), KNOWN).unwrap().texts("label").count(), 16);
        let refused = Query::parse(Some(&labels(16 + 1)), KNOWN).unwrap_err();
        assert_eq!(refused.to_string(), "the parameter `label` is given more than 16 times, which is the limit");
    }

    #[test]
    fn several_values_are_repeated_or_separated_by_commas() {
        let apart = Query::parse(Some("trigger=b&trigger=a"), KNOWN).unwrap();
        let together = Query::parse(Some("trigger=a%2Cb"), KNOWN).unwrap();
        assert_eq!(apart.texts("trigger").collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(apart.canonical(&[]), together.canonical(&[]));
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
            assert_eq!(Query::parse(Some(&listed(name, most)), KNOWN).unwrap().texts(name).count(), most);
            let refused = Query::parse(Some(&listed(name, most + 1)), KNOWN).unwrap_err();
            let why = format!("has more than {most} values separated by commas; repeat the parameter for the others");
            assert_eq!(refused.to_string(), format!("the parameter `{name}` {why}"));
            assert_eq!(Query::parse(Some(&repeated(name, "a,b", most)), KNOWN).unwrap().texts(name).count(), 2 * most);
        }
    }

    #[test]
    fn list_is_given_once() {
        assert_eq!(read("colour=blue,red").unwrap().colour, [Colour::Blue, Colour::Red]);
        assert!(matches!(read("colour=blue&colour=red"), Err(ParameterRefusal::Doubled(_))));
        let refused = read("colour=blue,green").unwrap_err();
        assert_eq!(refused.to_string(), "the parameter `colour` is `green`; it must be one of `red`, `blue`");
    }

    #[test]
    fn fields_have_the_values_of_their_parameters() {
        let given = read("limit=3&source=&trigger=a,b&id=1&label=site%3Deu,us&open=true").unwrap();
        assert_eq!((given.limit, given.source.as_deref(), given.open), (Some(3), Some(""), true));
        assert_eq!((given.trigger, given.id, given.label), (vec!["a".into(), "b".into()], vec!["1".into()], vec!["site=eu,us".into()]));
        let none = read("").unwrap();
        assert_eq!((none.limit, none.source, none.open, none.colour), (None, None, false, vec![]));
        let refused = read("limit=-1").unwrap_err();
        assert_eq!(refused.to_string(), "the parameter `limit` is `-1`, which is not a number of items");
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
