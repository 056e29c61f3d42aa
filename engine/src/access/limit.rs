//! Limits of a permission: the packs, actions and hooks that it covers.
//!
//! A pattern has `*` only at its end, so it can be decided whether one limit lies within another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The maximum number of patterns of a limit.
pub const PATTERNS_MAX: usize = 50;
/// The maximum length of a pattern, in bytes: a ref of two names.
const PATTERN_BYTES_MAX: usize = 129;

/// Why a text is not a limit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LimitError {
    /// A part has no `=`.
    #[error("`{0}` is not a limit; write `pack=<pack>`, `action=<pack>.<action>` or `hook=<pack>.<sensor>`, separated by commas")]
    Shape(String),
    /// A part names another kind of thing.
    #[error("a permission cannot be limited by `{0}`; the kinds are `pack`, `action` and `hook`")]
    Kind(String),
    /// A pattern has another form.
    #[error("`{0}` is not a pattern; use a name or a ref, or the beginning of one with `*` at its end, such as `release.*`")]
    Pattern(String),
    /// There are too many patterns.
    #[error("a limit has at most {PATTERNS_MAX} patterns")]
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

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

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
}

impl Limit {
    /// Creates a limit. Each list is of one kind of thing; an empty list does not limit that kind. Fails if all are
    /// empty, or together too long.
    pub fn new(mut packs: Vec<Pattern>, mut actions: Vec<Pattern>, mut hooks: Vec<Pattern>) -> Result<Self, LimitError> {
        let count = packs.len() + actions.len() + hooks.len();
        match count {
            0 => return Err(LimitError::Empty),
            1..=PATTERNS_MAX => {}
            _ => return Err(LimitError::TooMany),
        }
        for patterns in [&mut packs, &mut actions, &mut hooks] {
            patterns.sort();
            patterns.dedup();
        }
        Ok(Self { packs, actions, hooks })
    }

    /// Returns true if the limit covers the thing. A kind that the limit names and the thing lacks excludes the thing.
    pub fn covers(&self, target: &Target<'_>) -> bool {
        let fits = |patterns: &[Pattern], name: Option<&str>| {
            patterns.is_empty() || name.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
        };
        fits(&self.packs, target.pack) && fits(&self.actions, target.action) && fits(&self.hooks, target.hook)
    }

    /// Returns true if this limit covers everything that the other covers.
    pub fn contains(&self, other: &Self) -> bool {
        let holds = |own: &[Pattern], others: &[Pattern]| {
            own.is_empty() || (!others.is_empty() && others.iter().all(|other| own.iter().any(|pattern| pattern.contains(other))))
        };
        holds(&self.packs, &other.packs) && holds(&self.actions, &other.actions) && holds(&self.hooks, &other.hooks)
    }

    /// Returns the patterns of packs, actions and hooks.
    pub fn patterns(&self) -> [&[Pattern]; 3] {
        [&self.packs, &self.actions, &self.hooks]
    }

    fn kinds(&self) -> [(&'static str, &[Pattern]); 3] {
        [("pack", &self.packs), ("action", &self.actions), ("hook", &self.hooks)]
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (mut packs, mut actions, mut hooks) = (Vec::new(), Vec::new(), Vec::new());
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (kind, pattern) = part.split_once('=').ok_or_else(|| LimitError::Shape(part.chars().take(80).collect()))?;
            let pattern: Pattern = pattern.trim().parse()?;
            match kind.trim() {
                "pack" => packs.push(pattern),
                "action" => actions.push(pattern),
                "hook" => hooks.push(pattern),
                other => return Err(LimitError::Kind(other.chars().take(80).collect())),
            }
        }
        Self::new(packs, actions, hooks)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.kinds().into_iter().flat_map(|(kind, patterns)| patterns.iter().map(move |pattern| (kind, pattern)));
        for (number, (kind, pattern)) in parts.enumerate() {
            write!(f, "{}{kind}={pattern}", if number == 0 { "" } else { "," })?;
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
    fn malformed_limit_is_rejected_with_its_part() {
        assert_eq!("".parse::<Limit>(), Err(LimitError::Empty));
        assert_eq!("release".parse::<Limit>(), Err(LimitError::Shape("release".into())));
        assert_eq!("label=eu".parse::<Limit>(), Err(LimitError::Kind("label".into())));
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

    fn any_limit() -> impl Strategy<Value = Limit> {
        let patterns = || prop::collection::vec(pattern(), 0..3);
        (patterns(), patterns(), patterns()).prop_filter_map("empty", |(packs, actions, hooks)| Limit::new(packs, actions, hooks).ok())
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
        fn limit_covers_whatever_a_limit_within_it_covers(outer in any_limit(), inner in any_limit(), names in any_names()) {
            let target = Target { pack: names.0.as_deref(), action: names.1.as_deref(), hook: names.2.as_deref() };
            if outer.contains(&inner) && inner.covers(&target) {
                prop_assert!(outer.covers(&target), "{outer} {inner} {target:?}");
            }
        }
    }
}
