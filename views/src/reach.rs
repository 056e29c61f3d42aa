//! How far the permission of a caller reaches among the rows of a view.
//!
//! A list, a count and a single row are checked by the same limits, so they cannot differ.

use std::sync::Arc;

use ensue_engine::access::limit::{Limit, Pattern, Target};
use ensue_engine::executions::labels::{Labels, parse};
use ensue_engine::executions::scope::{ExecutionScope, place};
use ensue_engine::ids::ExecutionId;

/// What a limited permission sees of a row: where the row belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowScope {
    /// The pack, and the labels by which rights are limited, each on its own line.
    pub place: String,
    /// The action of the outermost execution, if the row belongs to an execution.
    pub root_action: Option<String>,
}

impl RowScope {
    /// Returns the scope of a row that belongs to a pack and to no execution.
    pub fn of_pack(pack: &str) -> Self {
        Self { place: place(pack, &Labels::new()), root_action: None }
    }
}

impl From<&ExecutionScope> for RowScope {
    fn from(scope: &ExecutionScope) -> Self {
        Self { place: scope.place(), root_action: Some(scope.action.as_str().to_owned()) }
    }
}

/// Which rows of a view a query may find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowReach {
    /// All of them.
    Everything,
    /// Only those that limits cover.
    Within(Arc<ReachLimits>),
}

/// The limits of a permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReachLimits {
    /// The limits: one of each inner list must cover a row.
    pub all_of: Vec<Vec<Limit>>,
    /// The names by which inquiries ask the caller; those are reached too.
    pub asked: Vec<String>,
    /// The execution that the caller is; it is reached too, but is in no list because of that.
    pub itself: Option<ExecutionId>,
}

/// What the action of the outermost execution must be, for rows of one place: one pattern of each list must match.
pub type ActionPatterns = Vec<Vec<Pattern>>;

impl ReachLimits {
    /// Returns what the actions of reached rows in a place are; an empty list for any action, and `None` if no row in the
    /// place is reached.
    pub fn actions_in(&self, place: &str) -> Option<ActionPatterns> {
        let (pack, labels) = parts(place)?;
        let target = Target { pack: Some(pack), labels: Some(&labels), ..Target::default() };
        let mut demanded = Vec::new();
        for limits in &self.all_of {
            let covering: Vec<&Limit> = limits.iter().filter(|limit| limit.covers_besides_action(&target)).collect();
            if covering.is_empty() {
                return None;
            }
            if covering.iter().all(|limit| !limit.actions().is_empty()) {
                demanded.push(covering.into_iter().flat_map(Limit::actions).cloned().collect());
            }
        }
        Some(demanded)
    }

    /// Returns true if a row is reached because of where it belongs.
    pub fn covers(&self, scope: Option<&RowScope>) -> bool {
        let Some(scope) = scope else { return false };
        let matches = |patterns: &Vec<Pattern>| {
            scope.root_action.as_ref().is_some_and(|action| patterns.iter().any(|pattern| pattern.matches(action)))
        };
        self.actions_in(&scope.place).is_some_and(|demanded| demanded.iter().all(matches))
    }
}

impl RowReach {
    /// Returns the reach of a caller that sees nothing.
    pub fn nothing() -> Self {
        Self::Within(Arc::new(ReachLimits { all_of: vec![Vec::new()], ..ReachLimits::default() }))
    }

    /// Returns the reach to the rows that both reaches include because of where they belong.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Everything, one) | (one, Self::Everything) => one.clone(),
            (Self::Within(one), Self::Within(other)) if one == other => Self::Within(one.clone()),
            (Self::Within(one), Self::Within(other)) => {
                let all_of = one.all_of.iter().chain(&other.all_of).cloned().collect();
                Self::Within(Arc::new(ReachLimits { all_of, ..ReachLimits::default() }))
            }
        }
    }

    /// Returns true if a row is reached because of where it belongs.
    pub fn covers(&self, scope: Option<&RowScope>) -> bool {
        match self {
            Self::Everything => true,
            Self::Within(within) => within.covers(scope),
        }
    }
}

/// Returns the pack and the labels of a place.
fn parts(place: &str) -> Option<(&str, Labels)> {
    let mut lines = place.split('\n');
    let pack = lines.next()?;
    Some((pack, lines.map(|line| parse(line).ok()).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn within(lists: &[&[&str]]) -> ReachLimits {
        let list = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        ReachLimits { all_of: lists.iter().map(list).collect(), ..ReachLimits::default() }
    }

    #[test]
    fn row_without_a_scope_is_reached_only_without_limits() {
        assert!(RowReach::Everything.covers(None));
        assert!(!RowReach::Within(within(&[&["pack=*"]]).into()).covers(None));
    }

    #[test]
    fn row_of_two_reaches_is_within_the_limits_of_both() {
        let reach = |limit: &str| RowReach::Within(within(&[&[limit]]).into());
        let (pack, site) = (reach("pack=release"), reach("label:site=eu"));
        let covers = |reach: &RowReach, place: &str| {
            reach.covers(Some(&RowScope { place: place.to_owned(), root_action: Some("release.ship".to_owned()) }))
        };
        for both in [pack.and(&site), site.and(&pack)] {
            assert!(covers(&both, "release\nsite=eu"));
            assert!(!covers(&both, "release") && !covers(&both, "garden\nsite=eu") && !covers(&both, "garden"));
        }
        for one in [pack.and(&RowReach::Everything), RowReach::Everything.and(&pack), pack.and(&pack)] {
            assert_eq!(one, pack);
        }
        for none in [pack.and(&RowReach::nothing()), RowReach::nothing().and(&pack)] {
            assert!(!covers(&none, "release\nsite=eu"));
        }
    }

    #[test]
    fn two_reaches_have_in_common_only_where_rows_belong() {
        let asked = ReachLimits { asked: vec!["ana".to_owned()], ..within(&[&["pack=release"]]) };
        let execution = ExecutionId(Id::root(Timestamp::from_micros(0), 1));
        let itself = ReachLimits { itself: Some(execution), ..within(&[&["pack=garden"]]) };
        let (asked, itself) = (RowReach::Within(asked.into()), RowReach::Within(itself.into()));
        for both in [asked.and(&itself), itself.and(&asked)] {
            let RowReach::Within(both) = both else { panic!("both are limited") };
            assert_eq!((both.all_of.len(), both.asked.len(), both.itself), (2, 0, None));
        }
    }

    #[test]
    fn action_is_demanded_only_where_every_covering_limit_names_one() {
        let within = within(&[&["pack=release", "action=core.*,label:site=eu"]]);
        assert_eq!(within.actions_in("release\nsite=eu"), Some(Vec::new()));
        assert_eq!(within.actions_in("garden\nsite=eu").map(|demanded| demanded.len()), Some(1));
        assert_eq!(within.actions_in("garden"), None);
    }

    proptest! {
        #[test]
        fn row_is_reached_as_its_limits_cover_its_target(
            lists in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![
                "pack=a", "pack=a*", "pack=b", "action=a.x", "action=a.*,pack=b", "label:s=x", "label:s=x,label:s=y,pack=a", "hook=a.h",
                "label:s=y,action=b.*",
            ]), 0..4), 0..3),
            pack in prop::sample::select(vec!["a", "ab", "b"]),
            action in prop::sample::select(vec!["a.x", "a.y", "b.x"]),
            label in prop::option::of(prop::sample::select(vec!["s=x", "s=y", "t=x"])),
        ) {
            let within = within(&lists.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let labels = label.iter().map(|label| parse(label).unwrap()).collect();
            let scope = ExecutionScope { pack: pack.parse().unwrap(), action: action.parse().unwrap(), labels };
            let expected = within.all_of.iter().all(|limits| limits.iter().any(|limit| limit.covers(&Target::of_execution(&scope))));
            prop_assert_eq!(within.covers(Some(&RowScope::from(&scope))), expected);
        }
    }
}
