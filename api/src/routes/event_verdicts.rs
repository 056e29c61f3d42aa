//! What rules decide about an event, computed from the event and the definitions alone: for a stored event with
//! the definitions that judged it then or with the current ones, for an event in the request with the current
//! ones.
//!
//! Nothing is stored; a rule's actual decision is in its enforcement.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::{Catalog, NoNewest, Rule};
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::explain::Explain;
use ensue_engine::fact::Fact;
use ensue_engine::ids::EventId;
use ensue_engine::names::{RuleRef, TriggerRef};
use ensue_engine::record::{CatalogRevision, Position};
use ensue_engine::rules::explain::{Reason, explain, explain_briefly};
use ensue_engine::rules::judge::{EventView, Judgement, Verdict, judge_rule, judge_stored};
use ensue_engine::time::Timestamp;
use ensue_engine::vars::reads::{RuleReads, VarReads};
use ensue_engine::vars::values::SeenVars;
use ensue_expression::Document;
use ensue_views::{Column, Enforcement, Event, ListQuery, RowReach, RuleActivity, ViewName};
use thiserror::Error;

use crate::permissions::{Permission as _, RulesRead};
use crate::ports::{GivenEvent, Ports};
use crate::problem::{Missing, Problem};
use crate::query::{Query, words};
use crate::rows::read_row;
use crate::wire::verdicts::{WireDefinitions, WireExplained, WireSubject, WireVerdict};

/// The parameter that chooses the definitions by which an event is judged.
#[derive(Query)]
pub(super) struct DefinitionsQuery {
    /// Judged by the definitions at that time, or by the current ones.
    pub(super) definitions: Option<WireDefinitions>,
}

words!(WireDefinitions);

/// Why the rules' decisions on an event cannot be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
pub(super) enum EventDataGone {
    /// The definitions that judged it are no longer stored.
    #[error("the catalog of revision {0}, which judged this event, is no longer stored")]
    #[explain(
        slug = "catalog-gone",
        fault = Missing,
        hint = "use `definitions=now` to see the verdicts of the current rules; the event's enforcements show the earlier decisions"
    )]
    Catalog(CatalogRevision),
    /// The event's payload was erased.
    #[error("the payload of this event was erased")]
    #[explain(slug = "payload-erased", fault = Conflict, hint = "look at the enforcements of the event and the errors of its rules, which still exist")]
    Payload,
}

/// Why a rule did not judge an event at all.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
enum NotJudged {
    /// It handles other triggers.
    #[error("rule `{rule}` handles events of {triggers}, but this event is of `{trigger}`")]
    #[explain(slug = "trigger-differs", fault = Invalid,
        hint = "name an event of its trigger, or a rule that handles `{trigger}`: `ensue triggers show {trigger}`")]
    OtherTrigger {
        /// The rule.
        rule: RuleRef,
        /// The triggers that it names, as a phrase.
        triggers: String,
        /// The event's trigger.
        trigger: TriggerRef,
    },
    /// The event belongs to another rule's schedule.
    #[error("rule `{rule}` handles only the times of its own schedule, but this event is of the schedule of `{owner}`")]
    #[explain(slug = "trigger-differs", fault = Invalid, hint = "name the rule `{owner}`: only that rule judges this event")]
    OtherSchedule {
        /// The rule.
        rule: RuleRef,
        /// The owner of the schedule.
        owner: String,
    },
    /// It did not exist at the time.
    #[error("rule `{rule}` did not exist when this event arrived, in the catalog of revision {catalog}")]
    #[explain(slug = "rule-not-there-then", fault = Missing, hint = "use `definitions=now` to see the verdict of the current rule")]
    NotThereThen {
        /// The rule.
        rule: RuleRef,
        /// The catalog that judged the event.
        catalog: CatalogRevision,
    },
}

/// An event with the definitions that judge it and every rule's decision.
pub(super) struct EventVerdicts {
    /// The event's id; an id that was never issued if the event is not stored.
    id: EventId,
    trigger: TriggerRef,
    source: String,
    time: Timestamp,
    /// The version of the stored payload.
    version: TriggerVersion,
    /// The payload as it came.
    stored: Document,
    /// The payload in the newest form, or why it cannot be upcast. In that case every rule errs.
    newest: Result<Document, NoNewest>,
    /// The only rule that judges it, if it belongs to a rule's schedule.
    only: Option<RuleRef>,
    definitions: WireDefinitions,
    catalog: Arc<Catalog>,
    judgement: Arc<Judgement>,
    /// The vars that its rules read, as of its arrival.
    vars: SeenVars,
}

impl EventVerdicts {
    /// Loads a stored event and its definitions, and judges it again. Blocking.
    pub(super) fn from_stored(ports: &Ports, event: &Event, definitions: WireDefinitions) -> Result<Self, Problem> {
        let catalog = match definitions {
            WireDefinitions::Then => ports.installed.at(event.catalog).ok_or(EventDataGone::Catalog(event.catalog))?,
            WireDefinitions::Now => ports.installed.current(),
        };
        Self::stored_by(ports, event, (definitions, catalog))
    }

    /// Loads a stored event, and judges it with a catalog. Blocking.
    pub(super) fn stored_by(
        ports: &Ports,
        event: &Event,
        (definitions, catalog): (WireDefinitions, Arc<Catalog>),
    ) -> Result<Self, Problem> {
        let handle = event.payload.ok_or(EventDataGone::Payload)?;
        let payload = ports.log.body(handle.position)?.ok_or(EventDataGone::Payload)?;
        // The body in the log was valid JSON when it was accepted.
        let payload = Document::parse(payload).map_err(|why| Problem::bug(&why))?;
        let Event { id, trigger, version, source, time, rule: only, .. } = event;
        let view = EventView { id: *id, trigger, source, time: *time, payload: &payload, only: only.as_ref() };
        let judgement = match definitions {
            WireDefinitions::Then => judge_stored(&catalog, &view, *version).as_recorded(event.matched + event.erred),
            WireDefinitions::Now => judge_stored(&catalog, &view, *version),
        };
        let vars = vars_read(ports, &judgement, event.position)?;
        let judgement = Arc::new(judgement);
        let newest = catalog.newest(trigger, *version, &payload);
        let (id, trigger, source, time, only) = (*id, trigger.clone(), source.clone(), *time, only.clone());
        Ok(Self { id, trigger, source, time, version: *version, stored: payload, newest, only, definitions, catalog, judgement, vars })
    }

    /// Judges an event as if it arrived now; it is not stored. Blocking.
    pub(super) fn from_given(ports: &Ports, given: GivenEvent) -> Result<Self, Problem> {
        let observed =
            ports.event_maker.observe(given).map_err(|declined| Problem::from_port(declined, |part| format!("/event/payload{part}")))?;
        let revision = observed.judgement.catalog;
        let catalog = ports.installed.at(revision).ok_or(EventDataGone::Catalog(revision))?;
        let judgement = observed.judgement;
        let vars = vars_read(ports, &judgement, ports.log.head()?.position)?;
        let newest = catalog.newest(&observed.trigger, observed.version, &observed.payload);
        Ok(Self {
            id: observed.id,
            trigger: observed.trigger,
            source: observed.source,
            time: observed.occurred_at,
            version: observed.version,
            stored: observed.payload,
            newest,
            only: None,
            definitions: WireDefinitions::Now,
            catalog,
            judgement,
            vars,
        })
    }

    /// Judges the same event with a changed catalog instead. Blocking.
    pub(super) fn by(self, ports: &Ports, catalog: Arc<Catalog>) -> Result<Self, Problem> {
        let stored = EventView { payload: &self.stored, ..self.view() };
        let judgement = Arc::new(judge_stored(&catalog, &stored, self.version));
        let newest = catalog.newest(&self.trigger, self.version, &self.stored);
        let vars = vars_read(ports, &judgement, ports.log.head()?.position)?;
        Ok(Self { catalog, judgement, newest, vars, ..self })
    }

    /// Returns the rules that handle the event, in the order of their refs.
    pub(super) fn rules(&self) -> &[Arc<Rule>] {
        match &self.only {
            Some(rule) => self.catalog.rules().get(rule).map_or(&[], std::slice::from_ref),
            None => self.catalog.index().of_trigger(&self.trigger),
        }
    }

    /// Returns a rule that judged the event.
    pub(super) fn rule(&self, ports: &Ports, name: &RuleRef) -> Result<&Arc<Rule>, Problem> {
        let Some(rule) = self.catalog.rules().get(name) else {
            if ports.installed.current().rules().contains_key(name) {
                return Err(NotJudged::NotThereThen { rule: name.clone(), catalog: self.catalog.revision() }.into());
            }
            return Err(Missing::new(RulesRead::THING, name.as_str()).into());
        };
        if self.only.is_some() && !self.rules().iter().any(|one| one.id == rule.id) {
            return Err(NotJudged::OtherSchedule { rule: name.clone(), owner: self.source.clone() }.into());
        }
        if !rule.triggers.contains(&self.trigger) {
            let triggers: Vec<String> = rule.triggers.iter().map(|trigger| format!("`{trigger}`")).collect();
            let (rule, triggers, trigger) = (name.clone(), triggers.join(", "), self.trigger.clone());
            return Err(NotJudged::OtherTrigger { rule, triggers, trigger }.into());
        }
        Ok(rule)
    }

    /// Returns a short explanation of one rule's decision, where many are explained; `enforcement` is its
    /// decision at the time. All of them share `steps_left`.
    pub(super) fn briefly(&self, rule: &Rule, enforcement: Option<&Enforcement>, steps_left: &mut u64) -> WireVerdict {
        let verdict = self.verdict(rule);
        let is_told = self.is_told(verdict.as_ref());
        let reason = is_told.then(|| explain_briefly(rule, &self.view(), &self.vars, steps_left)).flatten();
        WireVerdict::new(rule, verdict.as_ref(), reason.as_ref(), enforcement)
    }

    /// Returns a short explanation of one rule's decision, and the parts of its condition that decided, as they are written.
    pub(super) fn brief_verdict(&self, rule: &Rule, steps_left: &mut u64) -> (WireVerdict, Vec<String>) {
        let verdict = self.verdict(rule);
        let is_told = self.is_told(verdict.as_ref());
        let reason = is_told.then(|| explain_briefly(rule, &self.view(), &self.vars, steps_left)).flatten();
        let when = reason.as_ref().and_then(|reason| reason.when.as_ref());
        let decisive = when.map(|when| when.decisive().iter().map(|part| part.source.clone()).collect()).unwrap_or_default();
        (WireVerdict::new(rule, verdict.as_ref(), reason.as_ref(), None), decisive)
    }

    /// Returns the full explanation of one rule and a stored event. Blocking.
    pub(super) fn wholly(&self, ports: &Ports, rule: &Rule) -> Result<WireExplained, Problem> {
        let enforcement = enforcement_of(ports, self.id, rule)?;
        self.explain_rule(ports, rule, Some(self.id), enforcement.as_ref())
    }

    /// Returns the full explanation of one rule and an event in the request. Blocking.
    pub(super) fn wholly_given(&self, ports: &Ports, rule: &Rule) -> Result<WireExplained, Problem> {
        self.explain_rule(ports, rule, None, None)
    }

    fn explain_rule(
        &self,
        ports: &Ports,
        rule: &Rule,
        event: Option<EventId>,
        enforcement: Option<&Enforcement>,
    ) -> Result<WireExplained, Problem> {
        let verdict = self.verdict(rule);
        let is_told = self.is_told(verdict.as_ref());
        let reason = if is_told { explain(rule, &self.view(), &self.vars) } else { Reason::default() };
        let activity = read_row::<RuleActivity>(ports, &rule.id.to_string())?;
        let newest = self.catalog.triggers().get(&self.trigger).map(|trigger| trigger.version);
        let subject = WireSubject {
            event,
            trigger: self.trigger.clone(),
            version: self.version.number(),
            upcast_to: newest.filter(|newest| self.version < *newest).map(TriggerVersion::number),
            definitions: self.definitions,
            catalog: self.catalog.revision(),
            mode: activity.and_then(|activity| activity.mode).unwrap_or(rule.mode),
        };
        Ok(WireExplained::new(subject, rule, verdict.as_ref(), &reason, enforcement))
    }

    /// Returns the rule's decision on the event; none if the rule does not match it. A rule that was left
    /// undecided judges the event here, unless it reads `vars` as a whole.
    fn verdict(&self, rule: &Rule) -> Option<Verdict> {
        let verdict = self.judgement.verdicts.iter().find(|one| one.rule.id == rule.id).map(|one| &one.verdict)?;
        let reads_all = || RuleReads::of(rule).is_some_and(|reads| reads.all == VarReads::All);
        if !matches!(verdict, Verdict::Undecided) || reads_all() {
            return Some(verdict.clone());
        }
        judge_rule(rule, &self.view(), &self.vars)
    }

    /// Returns true if the decision can be explained. If the vars of that time are unknown, or the payload has no newest form,
    /// a reason would be made up.
    fn is_told(&self, verdict: Option<&Verdict>) -> bool {
        self.newest.is_ok() && !matches!(verdict, Some(Verdict::Undecided))
    }

    fn view(&self) -> EventView<'_> {
        EventView {
            id: self.id,
            trigger: &self.trigger,
            source: &self.source,
            time: self.time,
            payload: self.newest.as_ref().unwrap_or(&self.stored),
            only: self.only.as_ref(),
        }
    }
}

/// Returns the vars that the undecided rules of a judgement read, as of a position. Blocking.
fn vars_read(ports: &Ports, judgement: &Judgement, at: Position) -> Result<SeenVars, Problem> {
    let undecided = judgement.verdicts.iter().filter(|one| matches!(one.verdict, Verdict::Undecided));
    let named: Vec<_> = undecided
        .filter_map(|one| match RuleReads::of(&one.rule)?.all {
            VarReads::Named(names) => Some(names),
            VarReads::Nothing | VarReads::All => None,
        })
        .collect();
    if named.is_empty() {
        return Ok(SeenVars::default());
    }
    let mut values = BTreeMap::new();
    for names in named {
        for name in names {
            if values.contains_key(&name) {
                continue;
            }
            let record = ports.log.var_at(&name, at)?.filter(|record| matches!(record.fact, Fact::VarSet(_)));
            let value = record.map(|record| ports.log.body(record.position)).transpose()?.flatten();
            if let Some(value) = value.and_then(|value| Document::parse(value).ok()) {
                values.insert(name, value);
            }
        }
    }
    Ok(SeenVars::from_values(values))
}

/// Reads a rule's decision on an event. Blocking.
pub(super) fn enforcement_of(ports: &Ports, event: EventId, rule: &Rule) -> Result<Option<Enforcement>, Problem> {
    let query = ListQuery::newest(ViewName::Enforcements, RowReach::Everything)
        .with(Column::Event, event.to_string())
        .with(Column::Rule, rule.name.as_str());
    let rows = ports.views.list(&query)?;
    let all: Vec<Enforcement> = rows.iter().map(ensue_views::Row::read).collect::<Result<_, _>>()?;
    // A rule that was deleted and created again has the same ref, but is a different rule.
    Ok(all.into_iter().find(|enforcement| enforcement.rule_id == rule.id))
}
