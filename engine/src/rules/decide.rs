//! The commands on rules: setting their mode.

use crate::catalog::Mode;
use crate::command::{Answer, Decision};
use crate::ids::RuleId;
use crate::names::RuleRef;
use crate::record::{Actor, Draft, StreamId};
use crate::rules::facts::RuleModeSet;

pub(crate) fn set_mode(actor: &Actor, rule: &RuleRef, rule_id: RuleId, mode: Mode) -> Decision {
    let draft = Draft::new(StreamId::Rule(rule.clone()), actor, RuleModeSet { rule: rule.clone(), rule_id, mode });
    Decision::Done { drafts: vec![draft], answer: Answer::Done }
}
