//! Rules: list them, show one, explain its decision on an event, and set its mode.

mod past_rule;
mod versions;

use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::access::limit::Target;
use ensue_engine::catalog::{Catalog, DefinitionRef, Mode, Rule};
use ensue_engine::command::Ask;
use ensue_engine::ids::EventId;
use ensue_engine::names::RuleRef;
use ensue_engine::schedule::facts::ScheduleOwner;
use ensue_engine::vars::reads::RuleReads;
use ensue_views::{Event, RuleActivity};

use super::Routes;
use super::event_verdicts::DefinitionsQuery;
use super::installed_packs::PackQuery;
use crate::as_of::AsOfQuery;
use crate::auth::{AllowedCaller, Proof as _, Secrecy};
use crate::body;
use crate::call::{Call, Nothing};
use crate::cloudevents::SOURCE_OF_OURS;
use crate::listing;
use crate::operation::{Conditional, Operation, Takes, WRITTEN};
use crate::paging::PageQuery;
use crate::permissions::{EventsRead, Permission, RulesRead, RulesWrite, VarsRead};
use crate::ports::{FileText, GivenEvent, Ports};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{Query, bad};
use crate::respond::{self, WriteOutcome};
use crate::routes::event_verdicts::EventVerdicts;
use crate::routes::timers;
use crate::rows::read_row;
use crate::wire::rules::{WireRule, WireRuleMode, WireRuleVersions};
use crate::wire::verdicts::{WireDefinitions, WireExplain, WireExplained, WireImagined};

/// Describes an operation that changes whether a rule's matches are acted on.
const fn mode(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .can_be_tried()
        .takes(Takes::Empty)
        .gives::<WireRuleMode>(200, "The mode is set.", WRITTEN)
        .honors_conditions(Conditional::Change)
}

/// The parameters that select rules by what they refer to.
#[derive(Query)]
struct RuleQuery {
    /// Only those with one of these names.
    trigger: Vec<String>,
    /// Only those with one of these names.
    action: Vec<String>,
}

/// Declares the routes that show rules.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<RulesRead>(
        "/rules",
        list,
        Operation::lists::<WireRule>(
            "rule_list",
            "Lists rules with their recent activity",
            &[PackQuery::PARAMETERS, RuleQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
    routes.get::<RulesRead>(
        "/rules/{ref}",
        get,
        Operation::shows::<WireRule>("rule_get", "Returns a rule with its recent activity")
            .with_query(&[AsOfQuery::PARAMETERS])
            .refuses(&[(410, "catalog_gone")])
            .sees_views(),
    );
    routes.get::<RulesRead>(
        "/rules/{ref}/versions",
        list_versions,
        Operation::shows::<WireRuleVersions>(
            "rule_version_list",
            "Lists the versions of a rule: each change of its file, the newest first",
        ),
    );
}

/// Declares the routes that test, explain and switch rules.
pub(super) fn declare_judging(routes: &mut Routes) {
    routes.post::<RulesRead>(
        "/rules/{ref}/explain",
        explain,
        Operation::new("rule_explain", "Explains the verdict of a rule on an event")
            .with_query(&[DefinitionsQuery::PARAMETERS])
            .passes_keys_over()
            .takes_json::<WireExplain>(r#"{"event": {"trigger": "demo.hello", "payload": {"name": "ana"}}}"#)
            .gives::<WireExplained>(200, "The verdict with its explanation.", &[])
            .refuses(&[
                (404, "rule_not_there_then"),
                (410, "catalog_gone"),
                (409, "payload_erased"),
                (422, "payload_invalid"),
                (422, "rule_invalid"),
                (422, "trigger_differs"),
                (422, "trigger_not_found"),
                (422, "trigger_version_unknown"),
            ])
            .sees_views(),
    );
    routes.post::<RulesWrite>("/rules/{ref}/enable", enable, mode("rule_enable", "Enables a rule, which also ends a suspension"));
    routes.post::<RulesWrite>("/rules/{ref}/disable", disable, mode("rule_disable", "Disables a rule"));
    routes.post::<RulesWrite>(
        "/rules/{ref}/shadow",
        shadow,
        mode("rule_shadow", "Puts a rule in shadow mode: its matches are recorded but not acted on"),
    );
}

/// Lists rules with their recent activity.
pub(super) async fn list(allowed: AllowedCaller<RulesRead>, call: Call) -> Outcome {
    let PackQuery { pack } = call.parameters()?;
    let RuleQuery { trigger: triggers, action: actions } = call.parameters()?;
    let catalog = call.api().ports.installed.current();
    let is_among = |wanted: &[String], name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let fits = |rule: &&Arc<Rule>| {
        pack.as_ref().is_none_or(|pack| rule.name.pack().as_str() == pack)
            && (triggers.is_empty() || rule.triggers.iter().any(|trigger| is_among(&triggers, trigger.as_str())))
            && is_among(&actions, rule.action.name.as_str())
    };
    let fitting = catalog.rules().values().filter(fits).filter(|rule| allowed.includes(&Target::in_pack_of(rule.name.as_str())));
    let listed = listing::of_catalog(&call, &allowed, fitting, |rule| rule.name.to_string())?;
    let rules: Vec<Arc<Rule>> = listed.items.into_iter().cloned().collect();
    let items =
        call.api().threads.blocking(move |ports| rules.iter().map(|rule| to_wire(ports, rule)).collect::<Result<Vec<_>, _>>()).await??;
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a rule with its recent activity.
pub(super) async fn get(allowed: AllowedCaller<RulesRead>, call: Call) -> Outcome {
    if let Some(at) = call.as_of() {
        let name: RuleRef = call.parse_part("ref", RulesRead::THING)?;
        allowed.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
        return respond::json(&call.api().threads.explaining(move |ports| past_rule::rule_at(ports, &name, at)).await??);
    }
    let rule = rule_of(&allowed, &call)?;
    respond::json(&call.api().threads.blocking(move |ports| to_wire(ports, &rule)).await??)
}

/// Lists the versions of a rule, also of one that was removed.
pub(super) async fn list_versions(allowed: AllowedCaller<RulesRead>, call: Call) -> Outcome {
    let name: RuleRef = call.parse_part("ref", RulesRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
    respond::json(&call.api().threads.blocking(move |ports| versions::list(ports, &name)).await??)
}

/// Explains what a rule decides about an event, stored or in the request:
/// `{"event": <id> or {"trigger", "payload"}}`.
pub(super) async fn explain(allowed: AllowedCaller<RulesRead>, mut call: Call) -> Outcome {
    let DefinitionsQuery { definitions } = call.parameters()?;
    let name: RuleRef = call.parse_part("ref", RulesRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
    let asked: WireExplain = call.json().await?;
    let text = asked.event.get();
    let is_stored = text.starts_with('"');
    if definitions == Some(WireDefinitions::Then) && (asked.file.is_some() || !is_stored) {
        let what = if is_stored { "a changed file" } else { "an event that was never sent" };
        return Err(bad("definitions", format!("is `then`, but {what} goes only with the current definitions")).into());
    }
    if asked.file.is_some() {
        // Checking a file is work, so that is for callers that may write the rule.
        let writes = AllowedCaller::<RulesWrite>::demand(&*call.api().ports.access, call.request(), &Secrecy::Open)?;
        writes.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
    }
    let changed = asked.file.map(|file| ChangedRule {
        file: file.into(),
        vars: AllowedCaller::<VarsRead>::demand_whole(&*call.api().ports.access, call.request()).map(drop),
    });
    if !is_stored {
        let given: WireImagined = body::parse_part("/event", text)?;
        let payload = Bytes::from(String::from(Box::<str>::from(given.payload)));
        let source = given.source.unwrap_or_else(|| SOURCE_OF_OURS.to_owned());
        let given = GivenEvent { trigger: given.trigger, payload, source, occurred_at: None, trace: None, dedupe: None, rule: None };
        let explained = call.api().threads.explaining(move |ports| {
            // A missing rule is reported before any error in the event.
            if !ports.installed.current().rules().contains_key(&name) {
                return Err(Missing::new(RulesRead::THING, name.as_str()).into());
            }
            let judged = EventVerdicts::from_given(ports, given)?;
            let judged = match changed {
                Some(changed) => judged.by(ports, changed.catalog(ports, &name)?)?,
                None => judged,
            };
            judged.wholly_given(ports, judged.rule(ports, &name)?)
        });
        return respond::json(&explained.await??);
    }
    // A caller that may see rules may not see every payload.
    let sees = AllowedCaller::<EventsRead>::demand(&*call.api().ports.access, call.request(), &Secrecy::Open)?;
    let id: String = body::parse_text("/event", text)?;
    let id: EventId = id.parse().map_err(|_| Missing::new(EventsRead::THING, &id))?;
    let event: Event = call.api().row(id.to_string(), EventsRead::THING, sees.rows()).await?;
    let explained = call.api().threads.explaining(move |ports| {
        let judged = match changed {
            Some(changed) => EventVerdicts::stored_by(ports, &event, (WireDefinitions::Now, changed.catalog(ports, &name)?))?,
            None => EventVerdicts::from_stored(ports, &event, definitions.unwrap_or_default())?,
        };
        judged.wholly(ports, judged.rule(ports, &name)?)
    });
    respond::json(&explained.await??)
}

/// A changed file of a rule, which its caller wrote.
struct ChangedRule {
    file: FileText,
    /// Whether the caller may read vars: an explanation shows what the rule reads.
    vars: Result<(), Problem>,
}

impl ChangedRule {
    /// Returns the catalog with the file, in which the rule reads only what its author may read. Blocking.
    fn catalog(self, ports: &Ports, name: &RuleRef) -> Result<Arc<Catalog>, Problem> {
        let catalog = ports.installed.with_file(name, &self.file)?;
        if catalog.rules().get(name).is_some_and(|rule| RuleReads::of(rule).is_some()) {
            self.vars?;
        }
        Ok(catalog)
    }
}

/// Returns the rule in the path, if the permission covers it.
pub(super) fn rule_of<P: Permission>(allowed: &AllowedCaller<P>, call: &Call) -> Result<Arc<Rule>, Problem> {
    let name: RuleRef = call.parse_part("ref", RulesRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
    let catalog = call.api().ports.installed.current();
    catalog.rules().get(&name).cloned().ok_or_else(|| Missing::new(RulesRead::THING, name.as_str()).into())
}

/// Shows a rule. Blocking.
fn to_wire(ports: &Ports, rule: &Rule) -> Result<WireRule, Problem> {
    let waiting = match rule.schedule {
        Some(_) => timers::of(ports, &ScheduleOwner::Rule(rule.name.clone(), rule.id))?,
        None => None,
    };
    let catalog = ports.installed.current();
    let place = catalog.places().get(&DefinitionRef::Rule(rule.name.clone()));
    Ok(WireRule::new(rule, place, read_row::<RuleActivity>(ports, &rule.id.to_string())?, waiting))
}

/// Reads what [`get`] shows. Blocking.
fn read(ports: &Ports, name: &str) -> Result<Option<WireRule>, Problem> {
    let catalog = ports.installed.current();
    let rule = name.parse::<RuleRef>().ok().and_then(|name| catalog.rules().get(&name).cloned());
    rule.map(|rule| to_wire(ports, &rule)).transpose()
}

/// Enables a rule: its matches are acted on.
pub(super) async fn enable(allowed: AllowedCaller<RulesWrite>, call: Call) -> Outcome {
    set(allowed, call, Mode::Enabled).await
}

/// Disables a rule: it is not evaluated.
pub(super) async fn disable(allowed: AllowedCaller<RulesWrite>, call: Call) -> Outcome {
    set(allowed, call, Mode::Disabled).await
}

/// Shadows a rule: its matches are recorded, but not acted on.
pub(super) async fn shadow(allowed: AllowedCaller<RulesWrite>, call: Call) -> Outcome {
    set(allowed, call, Mode::Shadow).await
}

async fn set(allowed: AllowedCaller<RulesWrite>, mut call: Call, mode: Mode) -> Outcome {
    let name: RuleRef = call.parse_part("ref", RulesRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
    if let Some((before, _)) = call.before().await? {
        return respond::answer_write(WriteOutcome::Done, before.position, &WireRuleMode { r#ref: name, mode });
    }
    let Nothing {} = call.json_or_nothing().await?;
    let lock = call.lock::<RulesRead, _>(name.as_str(), read).await?;
    let rule = rule_of(&allowed, &call)?;
    let ask = Ask::SetRuleMode { rule: rule.name.clone(), rule_id: rule.id, mode };
    if call.is_dry_run()? {
        return call.check(call.on_behalf(&allowed)?, ask).await;
    }
    let committed = call.api().submit_locked(lock, call.on_behalf(&allowed)?, ask).await?;
    respond::answer_write(WriteOutcome::Done, committed.position, &WireRuleMode { r#ref: rule.name.clone(), mode })
}
