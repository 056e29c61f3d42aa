//! Limits of a permission: the packs, actions, hooks and labels that it covers.
//!
//! A pattern has `*` only at its end, so it can be decided whether one limit lies within another.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::executions::labels::{LabelValue, Labels, parse, render_label};
use crate::executions::scope::ExecutionScope;
use crate::names::{LabelName, PackName};

/// The maximum number of patterns of a limit.
pub const PATTERNS_MAX: usize = 50;
/// The maximum length of a pattern, in bytes: a ref of two names.
const PATTERN_BYTES_MAX: usize = 129;

/// Why a text is not a limit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LimitError {
    /// A part has no `=`.
    #[error(
        "`{0}` is not a limit; write `pack=<pack>`, `action=<pack>.<action>`, `hook=<pack>.<sensor>` or `label:<name>=<value>`, separated by commas"
    )]
    Shape(String),
    /// A part names another kind of thing.
    #[error("a permission cannot be limited by `{0}`; the kinds are `pack`, `action`, `hook` and `label:<name>`")]
    Kind(String),
    /// A pattern has another form.
    #[error("`{0}` is not a pattern; use a name or a ref, or the beginning of one with `*` at its end, such as `release.*`")]
    Pattern(String),
    /// A part is not a label.
    #[error("`{part}` {why}; write `label:<name>=<value>`, for example `label:site=eu`")]
    Label {
        /// The part.
        part: String,
        /// What is wrong.
        why: String,
    },
    /// There are too many patterns.
    #[error("a limit has at most {PATTERNS_MAX} patterns and values of labels")]
    TooMany,
    /// There is no pattern.
    #[error("the limit is empty; leave it out to cover everything")]
    Empty,
}

/// A name or a ref, or the beginning of one with `*` at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    beginning: String,
    is_open: bool,
}

impl Pattern {
    /// Returns true if the pattern matches the text.
    pub fn matches(&self, text: &str) -> bool {
        if self.is_open { text.starts_with(&self.beginning) } else { text == self.beginning }
    }

    /// Returns true if this pattern matches everything that the other matches.
    pub fn contains(&self, other: &Self) -> bool {
        if self.is_open { other.beginning.starts_with(&self.beginning) } else { self == other }
    }
}

impl FromStr for Pattern {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (beginning, is_open) = text.strip_suffix('*').map_or((text, false), |beginning| (beginning, true));
        let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.');
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX || !beginning.bytes().all(is_fine) {
            return Err(LimitError::Pattern(text.chars().take(80).collect()));
        }
        Ok(Self { beginning: beginning.to_owned(), is_open })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.beginning, if self.is_open { "*" } else { "" })
    }
}

crate::as_text::as_text!(Pattern);

/// What a permission covers: all given kinds must match, and one pattern of each is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The packs; empty if every pack is covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packs: Vec<Pattern>,
    /// The actions, by their refs; empty if every action is covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Pattern>,
    /// The webhooks, by the refs of their sensors; empty if every webhook is covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<Pattern>,
    /// The values of labels, by their names, each of which an execution must have; empty if labels do not matter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: LabelValues,
}

/// The values of labels in a limit, by their names.
pub type LabelValues = BTreeMap<LabelName, Vec<LabelValue>>;

impl Limit {
    /// Returns the limit to one pack.
    pub fn of_pack(pack: &PackName) -> Self {
        let pack = Pattern { beginning: pack.to_string(), is_open: false };
        Self { packs: vec![pack], ..Self::default() }
    }

    /// Creates a limit. Each list is of one kind of thing; an empty list does not limit that kind. Fails if all are
    /// empty, or together too long.
    pub fn new(
        mut packs: Vec<Pattern>,
        mut actions: Vec<Pattern>,
        mut hooks: Vec<Pattern>,
        mut labels: LabelValues,
    ) -> Result<Self, LimitError> {
        for (name, values) in &mut labels {
            values.sort();
            values.dedup();
            let part = || values.first().map_or_else(|| format!("label:{name}"), |value| format!("label:{}", render_label(name, value)));
            if values.is_empty() {
                return Err(LimitError::Label { part: part(), why: "has no value".to_owned() });
            }
            // A limit is written as one text, in which commas separate its parts.
            if values.iter().any(|value| value.as_str().contains(',') || value.as_str().trim() != value.as_str()) {
                return Err(LimitError::Label { part: part(), why: "has a comma in its value, or a space around it".to_owned() });
            }
        }
        let count = packs.len() + actions.len() + hooks.len() + labels.values().map(Vec::len).sum::<usize>();
        match count {
            0 => return Err(LimitError::Empty),
            1..=PATTERNS_MAX => {}
            _ => return Err(LimitError::TooMany),
        }
        for patterns in [&mut packs, &mut actions, &mut hooks] {
            patterns.sort();
            patterns.dedup();
        }
        Ok(Self { packs, actions, hooks, labels })
    }

    /// Returns true if the limit covers the thing. A kind that the limit names and the thing lacks excludes the thing.
    pub fn covers(&self, target: &Target<'_>) -> bool {
        fits(&self.actions, target.action) && self.covers_besides_action(target)
    }

    fn covers_labels(&self, labels: Option<&Labels>) -> bool {
        let value = |name: &LabelName| labels.and_then(|labels| labels.get(name));
        self.labels.iter().all(|(name, values)| value(name).is_some_and(|value| values.contains(value)))
    }

    /// Returns true if this limit covers everything that the other covers.
    pub fn contains(&self, other: &Self) -> bool {
        let holds = |own: &[Pattern], others: &[Pattern]| {
            own.is_empty() || (!others.is_empty() && others.iter().all(|other| own.iter().any(|pattern| pattern.contains(other))))
        };
        let of_other = |name: &LabelName| other.labels.get(name);
        let mut labels = self.labels.iter();
        holds(&self.packs, &other.packs)
            && holds(&self.actions, &other.actions)
            && holds(&self.hooks, &other.hooks)
            && labels.all(|(name, own)| of_other(name).is_some_and(|others| others.iter().all(|value| own.contains(value))))
    }

    /// Returns the values of labels, by their names.
    pub fn labels(&self) -> &LabelValues {
        &self.labels
    }

    /// Returns the patterns of actions; none if any action is covered.
    pub fn actions(&self) -> &[Pattern] {
        &self.actions
    }

    /// Returns true if the limit covers the thing, should its action match.
    pub fn covers_besides_action(&self, target: &Target<'_>) -> bool {
        fits(&self.packs, target.pack) && fits(&self.hooks, target.hook) && self.covers_labels(target.labels)
    }

    /// Returns the patterns of packs, actions and hooks.
    pub fn patterns(&self) -> [&[Pattern]; 3] {
        [&self.packs, &self.actions, &self.hooks]
    }

    fn kinds(&self) -> [(&'static str, &[Pattern]); 3] {
        [("pack", &self.packs), ("action", &self.actions), ("hook", &self.hooks)]
    }
}

/// Returns true if one of the patterns matches the name, or if the list is empty.
fn fits(patterns: &[Pattern], name: Option<&str>) -> bool {
    patterns.is_empty() || name.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (mut packs, mut actions, mut hooks, mut labels) = (Vec::new(), Vec::new(), Vec::new(), LabelValues::new());
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (kind, pattern) = part.split_once('=').ok_or_else(|| LimitError::Shape(part.chars().take(80).collect()))?;
            if let Some(label) = part.strip_prefix("label:") {
                let why = |why: String| LimitError::Label { part: part.chars().take(80).collect(), why };
                let (name, value) = parse(label).map_err(why)?;
                labels.entry(name).or_default().push(value);
                continue;
            }
            let pattern: Pattern = pattern.trim().parse()?;
            match kind.trim() {
                "pack" => packs.push(pattern),
                "action" => actions.push(pattern),
                "hook" => hooks.push(pattern),
                other => return Err(LimitError::Kind(other.chars().take(80).collect())),
            }
        }
        Self::new(packs, actions, hooks, labels)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.kinds().into_iter().flat_map(|(kind, patterns)| patterns.iter().map(move |pattern| (kind, pattern)));
        let labels =
            self.labels.iter().flat_map(|(name, values)| values.iter().map(move |value| format!("label:{}", render_label(name, value))));
        let parts = parts.map(|(kind, pattern)| format!("{kind}={pattern}")).chain(labels);
        for (number, part) in parts.enumerate() {
            write!(f, "{}{part}", if number == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// A thing that a request is about, as far as limits see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its pack.
    pub pack: Option<&'a str>,
    /// The ref of its action.
    pub action: Option<&'a str>,
    /// The ref of its webhook's sensor.
    pub hook: Option<&'a str>,
    /// The labels of its scope.
    pub labels: Option<&'a Labels>,
}

impl<'a> Target<'a> {
    /// Returns the target of a pack itself.
    pub fn of_pack(pack: &'a str) -> Self {
        Self { pack: Some(pack), ..Self::default() }
    }

    /// Returns the target of a thing in a pack, such as a rule, by its ref.
    pub fn in_pack_of(name: &'a str) -> Self {
        Self { pack: name.split_once('.').map(|(pack, _)| pack), ..Self::default() }
    }

    /// Returns the target of an action, by its ref.
    pub fn of_action(name: &'a str) -> Self {
        Self { action: Some(name), ..Self::in_pack_of(name) }
    }

    /// Returns the target of an execution, or of something that belongs to one.
    pub fn of_execution(scope: &'a ExecutionScope) -> Self {
        Self { pack: Some(scope.pack.as_str()), action: Some(scope.action.as_str()), hook: None, labels: Some(&scope.labels) }
    }

    /// Returns the target of a webhook, by the ref of its sensor.
    pub fn of_hook(name: &'a str) -> Self {
        Self { hook: Some(name), ..Self::in_pack_of(name) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(text: &str) -> Limit {
        text.parse().unwrap()
    }

    #[test]
    fn all_kinds_must_match_and_one_pattern_of_each_is_enough() {
        let limit = limit("pack=release,pack=shop,action=release.*,action=core.echo");
        assert!(limit.covers(&Target::of_action("release.build")));
        assert!(!limit.covers(&Target::of_action("core.echo")));
        assert!(!limit.covers(&Target::of_pack("release")), "a pack is no action");
    }

    #[test]
    fn limit_by_labels_covers_only_what_has_all_of_them() {
        let limit = limit("label:site=eu,label:site=us,label:team=web");
        let scope = |labels: &[&str]| ExecutionScope {
            labels: labels.iter().map(|label| parse(label).unwrap()).collect(),
            ..ExecutionScope::of_request(None, &"release.ship".parse().unwrap())
        };
        assert!(limit.covers(&Target::of_execution(&scope(&["site=us", "team=web"]))));
        assert!(!limit.covers(&Target::of_execution(&scope(&["site=us"]))));
        assert!(!limit.covers(&Target::of_execution(&scope(&["site=asia", "team=web"]))));
        assert!(!limit.covers(&Target::of_action("release.ship")), "an action has no labels");
    }

    #[test]
    fn malformed_limit_is_rejected_with_its_part() {
        assert_eq!("".parse::<Limit>(), Err(LimitError::Empty));
        assert_eq!("release".parse::<Limit>(), Err(LimitError::Shape("release".into())));
        assert_eq!("label=eu".parse::<Limit>(), Err(LimitError::Kind("label".into())));
        for bad in ["label:site=", "label:=eu", "label:Site=eu", "label:site= eu"] {
            assert!(matches!(bad.parse::<Limit>(), Err(LimitError::Label { .. })), "{bad}");
        }
        for bad in ["a*b", "**", "Release", "a b", "é", "*.ship"] {
            assert_eq!(format!("pack={bad}").parse::<Limit>(), Err(LimitError::Pattern(bad.into())), "{bad}");
        }
        let many = (0..=PATTERNS_MAX).map(|number| format!("pack=p{number}")).collect::<Vec<_>>().join(",");
        assert_eq!(many.parse::<Limit>(), Err(LimitError::TooMany));
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        ("[ab]{0,3}", any::<bool>())
            .prop_filter("an empty name matches nothing", |(beginning, is_open)| *is_open || !beginning.is_empty())
            .prop_map(|(beginning, is_open)| Pattern { beginning, is_open })
    }

    fn any_labels() -> impl Strategy<Value = Labels> {
        let label = ("[ab]", "[xy]").prop_map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        prop::collection::vec(label, 0..3).prop_map(|labels| labels.into_iter().collect())
    }

    fn any_limit() -> impl Strategy<Value = Limit> {
        let patterns = || prop::collection::vec(pattern(), 0..3);
        let values = prop::collection::vec("[xy]".prop_map(|value| value.parse().unwrap()), 1..3);
        let labels = prop::collection::btree_map("[ab]".prop_map(|name| name.parse().unwrap()), values, 0..3);
        let all = (patterns(), patterns(), patterns(), labels);
        all.prop_filter_map("empty", |(packs, actions, hooks, labels)| Limit::new(packs, actions, hooks, labels).ok())
    }

    fn any_names() -> impl Strategy<Value = (Option<String>, Option<String>, Option<String>)> {
        let name = || prop::option::of("[ab]{1,4}");
        (name(), name(), name())
    }

    proptest! {
        #[test]
        fn limit_is_read_back_as_it_was_written(limit in any_limit()) {
            prop_assert_eq!(limit.to_string().parse::<Limit>(), Ok(limit.clone()));
            prop_assert_eq!(serde_json::from_str::<Limit>(&serde_json::to_string(&limit).unwrap()).unwrap(), limit);
        }

        #[test]
        fn limit_covers_whatever_a_limit_within_it_covers(outer in any_limit(), inner in any_limit(), names in any_names(), labels in any_labels()) {
            let labels = Some(&labels);
            let target = Target { pack: names.0.as_deref(), action: names.1.as_deref(), hook: names.2.as_deref(), labels };
            if outer.contains(&inner) && inner.covers(&target) {
                prop_assert!(outer.covers(&target), "{outer} {inner} {target:?}");
            }
        }
    }
}
