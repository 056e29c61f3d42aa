//! Rules: list, look at one, and say what becomes of its matches.

use std::sync::Arc;

use ensue_engine::catalog::{Mode, Rule};
use ensue_engine::command::Ask;
use ensue_engine::names::RuleRef;
use ensue_views::RuleActivity;

use crate::api::read_row;
use crate::auth::Allowed;
use crate::call::{Call, Nothing};
use crate::listing;
use crate::permissions::{Permission as _, RulesRead, RulesWrite};
use crate::ports::Ports;
use crate::problem::{Missing, Outcome, Problem};
use crate::respond::{self, Written};
use crate::wire::rules::{WireRule, WireRuleMode};

/// Lists rules with what they have been doing.
pub(super) async fn list(allowed: Allowed<RulesRead>, call: Call) -> Outcome {
    let query = call.query(&["pack", "trigger", "action", "limit", "cursor"])?;
    let catalog = call.api().ports.installed.current();
    let filter = |name: &str| query.text(name).map(str::to_owned);
    let (pack, trigger, action) = (filter("pack"), filter("trigger"), filter("action"));
    let fits = |rule: &&Arc<Rule>| {
        pack.as_ref().is_none_or(|pack| rule.name.pack().as_str() == pack)
            && trigger.as_ref().is_none_or(|trigger| rule.triggers.iter().any(|one| one.as_str() == trigger))
            && action.as_ref().is_none_or(|action| rule.action.name.as_str() == action)
    };
    let listed = listing::of_catalog(&call, &allowed, query, catalog.rules().values().filter(fits), |rule| rule.name.to_string())?;
    call.see().await?;
    let rules: Vec<Arc<Rule>> = listed.items.into_iter().cloned().collect();
    let items = call.api().blocking(move |ports| rules.iter().map(|rule| shown(ports, rule)).collect::<Result<Vec<_>, _>>()).await??;
    call.answer_page(items, listed.next.as_deref(), &listed.page, &listed.query)
}

/// Shows a rule with what it has been doing.
pub(super) async fn get(_: Allowed<RulesRead>, call: Call) -> Outcome {
    call.no_query()?;
    let rule = rule_of(&call)?;
    call.see().await?;
    respond::json(&call.api().blocking(move |ports| shown(ports, &rule)).await??)
}

fn rule_of(call: &Call) -> Result<Arc<Rule>, Problem> {
    let name: RuleRef = call.named("ref", RulesRead::THING)?;
    let catalog = call.api().ports.installed.current();
    catalog.rules().get(&name).cloned().ok_or_else(|| Missing::new(RulesRead::THING, name.as_str()).into())
}

/// Shows a rule. Blocking.
fn shown(ports: &Ports, rule: &Rule) -> Result<WireRule, Problem> {
    Ok(WireRule::new(rule, read_row::<RuleActivity>(ports, &rule.id.to_string())?))
}

/// Has a rule's matches acted on.
pub(super) async fn enable(allowed: Allowed<RulesWrite>, call: Call) -> Outcome {
    set(allowed, call, Mode::Enabled).await
}

/// Has a rule not looked at.
pub(super) async fn disable(allowed: Allowed<RulesWrite>, call: Call) -> Outcome {
    set(allowed, call, Mode::Disabled).await
}

/// Has a rule's matches recorded, and not acted on.
pub(super) async fn shadow(allowed: Allowed<RulesWrite>, call: Call) -> Outcome {
    set(allowed, call, Mode::Shadow).await
}

async fn set(allowed: Allowed<RulesWrite>, mut call: Call, mode: Mode) -> Outcome {
    call.no_query()?;
    let rule = rule_of(&call)?;
    let Nothing {} = call.json_or_nothing().await?;
    let ask = Ask::SetRuleMode { rule: rule.name.clone(), rule_id: rule.id, mode };
    let committed = call.api().submit(allowed.on_behalf(call.context()), ask).await?;
    respond::written(Written::Done, committed.position, &WireRuleMode { r#ref: rule.name.clone(), mode })
}
