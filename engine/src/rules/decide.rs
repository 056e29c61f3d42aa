//! The commands on rules: setting their mode.

use crate::catalog::Mode;
use crate::command::{Answer, Decision};
use crate::ids::RuleId;
use crate::names::RuleRef;
use crate::record::{Actor, Draft, StreamId};
use crate::rules::facts::RuleModeSet;

pub(crate) fn set_mode(actor: &Actor, rule: &RuleRef, rule_id: RuleId, mode: Mode) -> Decision {
    let draft = Draft {
        stream: StreamId::Rule(rule.clone()),
        begins: None,
        actor: actor.clone(),
        cause: None,
        trace: None,
        fact: RuleModeSet { rule: rule.clone(), rule_id, mode }.into(),
        body: None,
    };
    Decision::Done { drafts: vec![draft], answer: Answer::Done }
}
