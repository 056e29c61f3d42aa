//! Runs a rule over past events and reports what it would have done, flow control included, to compare with
//! what happened.
//!
//! The rule is the only one in an in-memory core, where it runs in shadow mode. The core decides on matches that the
//! rule's flow control holds, drops or counts; any other match is acted on. The core's clock follows the
//! times at which the events were received. Whether the rule matches an event depends only on the event, unless
//! it reads vars, so a [`Judge`] finds that out on any thread, in any order. Only the matches are in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::batch::{BatchInputs, OfferOutcome, Sequencing};
use ensue_engine::catalog::{Catalog, Catalogs, Definitions, Mode, Rule};
use ensue_engine::command::{Ask, Bodies, Command, DedupeEntry, DedupeKey, Moment, ObservedEvent, PackChange, SeenKeys, SeenVar, Settings};
use ensue_engine::engine::Engine;
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EnforcementId, EventId, Id, LogId};
use ensue_engine::names::{RuleRef, TriggerRef, VarName};
use ensue_engine::record::{Actor, Body, BodyHandle, CatalogRevision, Epoch, Head, Position, Record, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::rules::flow::facts::Release;
use ensue_engine::rules::judge::{EventView, Judgement, Plan, Verdict, judge_rule, judge_stored};
use ensue_engine::time::Timestamp;
use ensue_engine::vars::reads::{RuleReads, VarReads};
use ensue_engine::vars::values::NotSeen;
use ensue_expression::Document;

use crate::RehearsalError;

/// What a rule does, or did, with an event that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Would {
    /// It acts on the event.
    Act,
    /// Flow control prevents it; the outcome.
    Not(&'static str),
    /// It would act, but the action cannot be run like that. Only the first [`REASONS_MAX`] carry the reason.
    Rejected(Option<String>),
    /// Its condition cannot be evaluated. Only the first [`REASONS_MAX`] carry the reason.
    Erred(Option<String>),
}

/// How many error texts are kept.
pub const REASONS_MAX: usize = 100;

/// The outcomes of a rule's matches, computed from its records.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    came_to: BTreeMap<EventId, Would>,
    /// The events of the held enforcements.
    held: BTreeMap<EnforcementId, EventId>,
    reasons: usize,
}

impl Matches {
    /// Applies a record of the rule. Other records are ignored.
    pub fn note(&mut self, record: &Record) {
        let StreamId::Enforcement(id) = &record.stream else { return };
        match &record.fact {
            Fact::EnforcementMade(made) => {
                if matches!(made.outcome, Outcome::Held { .. }) {
                    self.held.insert(*id, made.event);
                }
                let would = self.of(&made.outcome);
                self.came_to.insert(made.event, would);
            }
            Fact::EnforcementReleased(released) => {
                let would = match &released.outcome {
                    Release::Executed { .. } | Release::Shadowed | Release::Skipped { .. } => Would::Act,
                    Release::Rejected { error } => Would::Rejected(self.reason(error)),
                };
                self.let_go(*id, would);
            }
            Fact::EnforcementSuperseded(_) => self.let_go(*id, Would::Not("superseded")),
            _ => {}
        }
    }

    /// Returns the outcome for each event that the rule matches or errs on.
    pub fn came_to(&self) -> &BTreeMap<EventId, Would> {
        &self.came_to
    }

    fn let_go(&mut self, id: EnforcementId, would: Would) {
        if let Some(event) = self.held.remove(&id) {
            self.came_to.insert(event, would);
        }
    }

    /// Returns the reason for an error if fewer than the limit are kept.
    fn reason(&mut self, error: &str) -> Option<String> {
        self.reasons += 1;
        (self.reasons <= REASONS_MAX).then(|| error.to_owned())
    }

    fn of(&mut self, outcome: &Outcome) -> Would {
        match outcome {
            // A rule in shadow mode cannot know whether other executions are open at that time, so an event
            // that is skipped because of them counts as acted on.
            Outcome::Executed { .. } | Outcome::Shadowed | Outcome::Skipped { .. } => Would::Act,
            Outcome::Held { .. } => Would::Not("held"),
            Outcome::Deduplicated { .. } => Would::Not("deduplicated"),
            Outcome::Throttled => Would::Not("throttled"),
            Outcome::Rejected { error } => Would::Rejected(self.reason(error)),
        }
    }
}

impl Would {
    /// Returns the name of the outcome.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Act => "executed",
            Self::Not(outcome) => outcome,
            Self::Rejected(_) => "rejected",
            Self::Erred(_) => "erred",
        }
    }
}

/// The payloads of past events.
pub trait Payloads: Send + Sync {
    /// Returns the payload of the event at a position of its log, or `None` if it is not available.
    fn at(&self, position: Position) -> Option<Bytes>;
}

/// A past event.
#[derive(Clone, Debug)]
pub struct PastEvent<'a> {
    /// Its position in its log.
    pub position: Position,
    /// Its id.
    pub id: EventId,
    /// Its trigger.
    pub trigger: &'a TriggerRef,
    /// The source that observed it.
    pub source: &'a str,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was received.
    pub received_at: Timestamp,
    /// The version of its payload.
    pub version: TriggerVersion,
    /// Its payload as it came.
    pub payload: Document,
}

impl PastEvent<'_> {
    /// Returns the event with its payload as it came.
    pub fn view(&self) -> EventView<'_> {
        EventView { id: self.id, trigger: self.trigger, source: self.source, time: self.occurred_at, payload: &self.payload, only: None }
    }
}

/// The parts of a backtest's rule that depend only on the event.
#[derive(Clone)]
pub struct Judge {
    catalog: Arc<Catalog>,
}

impl Judge {
    /// Returns the rule's judgement of an event with a payload of a version, or `None` if the rule does not match it whatever
    /// the vars are. Events of other triggers never match.
    pub fn judge(&self, event: &EventView<'_>, version: TriggerVersion) -> Option<Judgement> {
        let judgement = judge_stored(&self.catalog, event, version);
        (!judgement.verdicts.is_empty()).then_some(judgement)
    }
}

/// A rule that is run over past events, one after the other.
pub struct Backtest {
    catalog: Arc<Catalog>,
    rule: Arc<Rule>,
    reads: VarReads,
    sequencing: Sequencing,
    world: BacktestWorld,
    now: Timestamp,
    moments: u128,
    matches: Matches,
    judged: u64,
}

impl Backtest {
    /// Creates a backtest of a rule of a catalog.
    ///
    /// # Errors
    /// If the catalog has no such rule, or the core rejects it.
    pub fn of(catalog: &Catalog, rule: &RuleRef, payloads: Arc<dyn Payloads>) -> Result<Self, RehearsalError> {
        let Some(found) = catalog.rules().get(rule) else { return Err(RehearsalError::Refused(format!("there is no rule `{rule}`"))) };
        let watching = Arc::new(Rule { mode: Mode::Shadow, ..Rule::clone(found) });
        let reads = RuleReads::of(&watching).map(|reads| reads.all).unwrap_or_default();
        if reads == VarReads::All {
            return Err(RehearsalError::Refused(format!(
                "`{rule}` reads all of `vars`: write out their names, such as `vars[\"sync.cursor\"]`, so that the rule can be tested with past events"
            )));
        }
        let definitions = Definitions {
            packs: catalog.packs().clone(),
            actions: catalog.actions().clone(),
            triggers: catalog.triggers().clone(),
            sensors: BTreeMap::new(),
            rules: BTreeMap::from([(rule.clone(), watching.clone())]),
            places: BTreeMap::new(),
        };
        let log = LogId(Id::root(Timestamp::from_micros(0), 1));
        let catalog = Arc::new(Catalog::new(CatalogRevision(1), definitions));
        let mut backtest = Self {
            catalog: catalog.clone(),
            rule: watching,
            reads,
            sequencing: Sequencing::new(Engine::new(log), Head::default(), Epoch(1)),
            world: BacktestWorld {
                catalog,
                payloads,
                past: BTreeMap::new(),
                recent: BTreeMap::new(),
                values: BTreeMap::new(),
                settings: Settings::default(),
            },
            now: Timestamp::from_micros(0),
            moments: 0,
            matches: Matches::default(),
            judged: 0,
        };
        let install = |pack: &Arc<ensue_engine::catalog::Pack>| PackChange::Install {
            name: pack.name.clone(),
            version: pack.version.clone(),
            digest: pack.digest,
            manifest: Body::json(&b"{}"[..]),
        };
        let base = backtest.sequencing.engine().catalog_revision();
        let permit = |pack: &Arc<ensue_engine::catalog::Pack>| {
            let permissions = pack.permissions.clone()?;
            Some(PackChange::Permit { name: pack.name.clone(), permissions: Some(permissions) })
        };
        let packs = backtest.catalog.packs();
        let changes = packs.values().map(install).chain(packs.values().filter_map(permit)).collect();
        backtest.ask(Ask::ChangePacks { base, changes })?;
        Ok(backtest)
    }

    /// Returns the judge of the rule, for other threads.
    pub fn judge(&self) -> Judge {
        Judge { catalog: self.catalog.clone() }
    }

    /// Lets the rule judge an event. Events of other triggers are ignored. Events must come in the order in
    /// which they were received.
    ///
    /// # Errors
    /// If the core cannot compute the consequences, which is an internal error.
    pub fn event(&mut self, past: &PastEvent<'_>) -> Result<(), RehearsalError> {
        match self.judge().judge(&past.view(), past.version) {
            Some(judgement) => self.judged_event(past, judgement),
            None => {
                self.pass_over(1);
                Ok(())
            }
        }
    }

    /// Counts events that the rule does not match, according to its [`Judge`].
    pub fn pass_over(&mut self, events: u64) {
        self.judged += events;
    }

    /// Does the same as [`event`](Self::event) for an event that the rule's [`Judge`] has judged.
    ///
    /// # Errors
    /// As for [`event`](Self::event).
    pub fn judged_event(&mut self, past: &PastEvent<'_>, judgement: Judgement) -> Result<(), RehearsalError> {
        let (id, view) = (past.id, past.view());
        self.judged += 1;
        let verdict = match judgement.verdicts.first().map(|judged| &judged.verdict) {
            Some(Verdict::Undecided) => match self.sequencing.engine().vars().collect_values(&self.reads, &self.world) {
                Ok(vars) => match self.catalog.newest(past.trigger, past.version, &past.payload) {
                    Ok(newest) => judge_rule(&self.rule, &EventView { payload: &newest, ..view }, &vars),
                    Err(why) => Some(Verdict::Erred { message: why.to_string() }),
                },
                Err(NotSeen::TooLarge(message)) => Some(Verdict::Erred { message }),
                Err(NotSeen::Missing(_)) => {
                    return Err(RehearsalError::PutAside("the value of a var that it reads is no longer stored".to_owned()));
                }
            },
            decided => decided.cloned(),
        };
        let would = match &verdict {
            None => return Ok(()),
            Some(Verdict::Erred { message }) => Some(Would::Erred(self.matches.reason(message))),
            Some(Verdict::Matched(Plan::Reject { error })) => Some(Would::Rejected(self.matches.reason(error))),
            // Without flow control nothing but the event decides, so the core would only record it.
            Some(Verdict::Matched(Plan::Run { .. })) => Some(Would::Act),
            Some(Verdict::Matched(Plan::Controlled { .. }) | Verdict::Undecided) => None,
        };
        if let Some(would) = would {
            self.matches.came_to.insert(id, would);
            return Ok(());
        }
        self.pass_time(past.received_at)?;
        let event = ObservedEvent::from_view(&view, judgement).came_as(past.version, &past.payload);
        let here = self.sequencing.committed_head().position.next();
        self.world.past.insert(here, past.position);
        self.ask(Ask::ReceiveEvents(vec![event]))?;
        if self.matches.came_to.get(&id) != Some(&Would::Not("held")) {
            // Nothing needs its payload again.
            self.world.past.remove(&here);
        }
        Ok(())
    }

    /// Returns the names of the vars that the rule reads.
    pub fn reads_vars(&self) -> impl Iterator<Item = &VarName> {
        let names = if let VarReads::Named(names) = &self.reads { Some(names) } else { None };
        names.into_iter().flatten()
    }

    /// Sets or removes a var from `at` on. Vars that the rule does not read are ignored.
    ///
    /// # Errors
    /// As for [`event`](Self::event).
    pub fn var(&mut self, name: &VarName, value: Option<Bytes>, at: Timestamp) -> Result<(), RehearsalError> {
        if !self.reads_vars().any(|read| read == name) {
            return Ok(());
        }
        // Whatever is due before `at` sees the vars as they were before.
        self.pass_time(at)?;
        let (name, seen) = (name.clone(), SeenVar::Anyhow);
        match value {
            Some(value) => {
                let value = Body::json(value);
                self.world.values.insert(name.clone(), value.clone());
                self.ask(Ask::SetVar { name, value, seen })
            }
            None if self.sequencing.engine().vars().get(&name).is_none() => Ok(()),
            None => {
                self.world.values.remove(&name);
                self.ask(Ask::RemoveVar { name, seen })
            }
        }
    }

    /// Advances the clock to `until` and fires the timers of the rule's flow control that are due by then.
    ///
    /// # Errors
    /// As for [`event`](Self::event).
    pub fn pass_time(&mut self, until: Timestamp) -> Result<(), RehearsalError> {
        while let Some(due) = self.sequencing.engine().timers().next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.ask(Ask::FireTimers)?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// Returns the number of judged events.
    pub fn judged_count(&self) -> u64 {
        self.judged
    }

    /// Returns what the rule would have done with each event that it matches or errs on.
    pub fn would(&self) -> &BTreeMap<EventId, Would> {
        self.matches.came_to()
    }

    fn ask(&mut self, ask: Ask) -> Result<(), RehearsalError> {
        let command = Command { actor: Actor::Operator, trace: None, ask };
        let at = self.moment();
        let offered = self.sequencing.offer(&command, &at, &self.world.beside());
        match offered {
            OfferOutcome::Taken { .. } => self.take_in(),
            OfferOutcome::Refused(refusal) => return Err(RehearsalError::Refused(refusal.to_string())),
            OfferOutcome::Needs(_) => return Err(RehearsalError::PutAside("it needs a body that is not kept".to_owned())),
        }
        while let Some(owed) = self.sequencing.next_owed(None) {
            let Some(record) = self.world.recent.get(&owed.of).cloned() else {
                return Err(RehearsalError::PutAside("the record of an owed reaction is missing".to_owned()));
            };
            let at = self.moment();
            match self.sequencing.serve(&record, owed, &at, &self.world.beside()) {
                OfferOutcome::Taken { .. } => self.take_in(),
                OfferOutcome::Refused(refusal) => return Err(RehearsalError::Refused(refusal.to_string())),
                OfferOutcome::Needs(_) => return Err(RehearsalError::PutAside("it needs a body that is not kept".to_owned())),
            }
        }
        // Nothing is owed, so the recorded bodies are no longer needed, except the payloads of events.
        self.world.recent.clear();
        Ok(())
    }

    fn moment(&mut self) -> Moment {
        self.moments += 1;
        Moment { time: self.now, entropy: self.moments }
    }

    fn take_in(&mut self) {
        for record in self.sequencing.mark_committed().records {
            self.matches.note(&record);
            self.world.recent.insert(record.position, record);
        }
    }
}

/// Everything that the core needs besides its own state.
struct BacktestWorld {
    catalog: Arc<Catalog>,
    payloads: Arc<dyn Payloads>,
    /// The original position of each event, by its position here.
    past: BTreeMap<Position, Position>,
    /// The records since the last time that nothing was owed.
    recent: BTreeMap<Position, Record>,
    /// The values of the vars that the rule reads.
    values: BTreeMap<VarName, Body>,
    settings: Settings,
}

impl BacktestWorld {
    fn beside(&self) -> BatchInputs<'_> {
        BatchInputs { catalogs: self, bodies: self, seen: self, settings: &self.settings }
    }
}

impl Catalogs for BacktestWorld {
    fn at(&self, _: CatalogRevision) -> Option<Arc<Catalog>> {
        Some(self.catalog.clone())
    }
}

impl SeenKeys for BacktestWorld {
    fn find_key(&self, _: &DedupeKey) -> Option<DedupeEntry> {
        None
    }
}

impl Bodies for BacktestWorld {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        let recent = self.recent.get(&body.at).and_then(|record| record.body.as_ref()?.content.clone());
        let value = || self.values.values().find(|value| value.digest == body.digest)?.content.clone();
        recent.or_else(value).or_else(|| self.payloads.at(*self.past.get(&body.at)?))
    }
}
