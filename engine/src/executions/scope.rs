//! The scope of an execution: the pack, the outermost action and the labels by which a right can be limited to it.
//!
//! It is recorded when the execution is requested, and everything inside the execution has the scope of the outermost one.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::executions::labels::{Labels, render_label};
use crate::names::{ActionRef, LabelName, PackName, RuleRef};

/// The maximum number of names of labels by which rights can be limited.
pub const SCOPE_LABELS_MAX: usize = 4;

/// The scope of an execution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionScope {
    /// The pack of the rule that requested the outermost execution, or of its action if no rule did.
    pub pack: PackName,
    /// The action of the outermost execution.
    pub action: ActionRef,
    /// The labels of the outermost execution that the operator chose for rights.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl ExecutionScope {
    /// Returns the scope of an execution whose request records none.
    pub fn of_request(rule: Option<&RuleRef>, action: &ActionRef) -> Self {
        Self { pack: rule.map_or_else(|| action.pack(), RuleRef::pack), action: action.clone(), labels: Labels::new() }
    }

    /// Returns the scope of an outermost execution. Of its labels, only those with the chosen names count.
    pub fn of_root(rule: Option<&RuleRef>, action: &ActionRef, labels: &Labels, chosen: &BTreeSet<LabelName>) -> Self {
        let chosen = labels.iter().filter(|(name, _)| chosen.contains(*name)).take(SCOPE_LABELS_MAX);
        let labels = chosen.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { labels, ..Self::of_request(rule, action) }
    }

    /// Returns the scope as the request of an execution records it: `None` if the rule and the action say it.
    pub fn into_recorded(self, rule: Option<&RuleRef>, action: &ActionRef) -> Option<Box<Self>> {
        (self != Self::of_request(rule, action)).then(|| Box::new(self))
    }

    /// Returns the pack and the labels as text, each on its own line: neither contains a line break.
    pub fn place(&self) -> String {
        place(self.pack.as_str(), &self.labels)
    }
}

/// Returns a pack and labels as text, each on its own line.
pub fn place(pack: &str, labels: &Labels) -> String {
    let labels = labels.iter().map(|(name, value)| format!("\n{}", render_label(name, value)));
    std::iter::once(pack.to_owned()).chain(labels).collect()
}

impl fmt::Display for ExecutionScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pack={},action={}", self.pack, self.action)?;
        self.labels.iter().try_for_each(|(name, value)| write!(f, ",label:{}", render_label(name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executions::labels::parse;

    fn labels(texts: &[&str]) -> Labels {
        texts.iter().map(|text| parse(text).unwrap()).collect()
    }

    #[test]
    fn scope_has_the_pack_of_the_rule_and_only_the_chosen_labels() {
        let (rule, action) = ("garden.dry".parse().unwrap(), "core.http".parse().unwrap());
        let chosen = ["site".parse().unwrap()].into();
        let scope = ExecutionScope::of_root(Some(&rule), &action, &labels(&["site=eu", "team=web"]), &chosen);
        assert_eq!(scope.to_string(), "pack=garden,action=core.http,label:site=eu");
        assert_eq!(scope.place(), "garden\nsite=eu");
        assert!(scope.into_recorded(Some(&rule), &action).is_some());
        let by_hand = ExecutionScope::of_root(None, &action, &labels(&["team=web"]), &chosen);
        assert_eq!(by_hand, ExecutionScope::of_request(None, &action));
        assert_eq!(by_hand.into_recorded(None, &action), None, "the action says it");
    }
}
