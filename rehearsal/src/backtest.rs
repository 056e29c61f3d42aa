//! A rule over events that have come: what it would have done, its flow control included, beside what happened.
//!
//! The rule stands alone in a core in memory, where it only watches; the clock there goes by the times at which the events were taken in.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::batch::{Beside, Offered, Sequencing};
use ensue_engine::catalog::{Catalog, Catalogs, Definitions, Mode, Rule};
use ensue_engine::command::{Ask, Bodies, Command, DedupeKey, Moment, ObservedEvent, PackChange, Seen, SeenKeys, SeenVar, Settings};
use ensue_engine::engine::Engine;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EnforcementId, EventId, Id, LogId};
use ensue_engine::names::{RuleRef, TriggerRef, VarName};
use ensue_engine::record::{Actor, Body, BodyHandle, CatalogRevision, Epoch, Head, Position, Record, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::rules::flow::facts::Release;
use ensue_engine::rules::judge::{EventView, Plan, Verdict, judge, judge_rule};
use ensue_engine::time::Timestamp;
use ensue_engine::vars::reads::{RuleReads, VarReads};
use ensue_engine::vars::seen::NotSeen;
use ensue_expression::Document;

use crate::Stuck;

/// What a rule makes, or made, of an event that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Would {
    /// It acts on it.
    Act,
    /// Its flow control keeps it from that: its outcome.
    Not(&'static str),
    /// It would, and its action cannot be run so; why is known of the first [`REASONS_MAX`] alone.
    Rejected(Option<String>),
    /// Its condition cannot be worked out; why is known of the first [`REASONS_MAX`] alone.
    Erred(Option<String>),
}

/// Of how many errors the text is kept.
pub const REASONS_MAX: usize = 100;

/// What became of the matches of a rule, by the records that tell of it.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    came_to: BTreeMap<EventId, Would>,
    /// The events of those that are held.
    held: BTreeMap<EnforcementId, EventId>,
    reasons: usize,
}

impl Matches {
    /// Takes in a record of the rule; all others are passed over.
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

    /// Gives what became of each event that the rule matches, or errs on.
    pub fn came_to(&self) -> &BTreeMap<EventId, Would> {
        &self.came_to
    }

    fn let_go(&mut self, id: EnforcementId, would: Would) {
        if let Some(event) = self.held.remove(&id) {
            self.came_to.insert(event, would);
        }
    }

    /// Gives why something did not work out, as long as few are known.
    fn reason(&mut self, error: &str) -> Option<String> {
        self.reasons += 1;
        (self.reasons <= REASONS_MAX).then(|| error.to_owned())
    }

    fn of(&mut self, outcome: &Outcome) -> Would {
        match outcome {
            // Whether others are open then is not known of a rule that only watches: who is skipped for them counts as acted on.
            Outcome::Executed { .. } | Outcome::Shadowed | Outcome::Skipped { .. } => Would::Act,
            Outcome::Held { .. } => Would::Not("held"),
            Outcome::Deduplicated { .. } => Would::Not("deduplicated"),
            Outcome::Throttled => Would::Not("throttled"),
            Outcome::Rejected { error } => Would::Rejected(self.reason(error)),
        }
    }
}

impl Would {
    /// Gives the outcome's name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Act => "executed",
            Self::Not(outcome) => outcome,
            Self::Rejected(_) => "rejected",
            Self::Erred(_) => "erred",
        }
    }
}

/// The payloads of events that have come.
pub trait Payloads: Send + Sync {
    /// Gives the payload of the event at a position of the log that it stands in; none where it cannot be had.
    fn at(&self, position: Position) -> Option<Bytes>;
}

/// An event that has come.
#[derive(Clone, Debug)]
pub struct PastEvent<'a> {
    /// Its place in its log.
    pub position: Position,
    /// Its id.
    pub id: EventId,
    /// Its kind.
    pub trigger: &'a TriggerRef,
    /// Who observed it.
    pub source: &'a str,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was taken in.
    pub received_at: Timestamp,
    /// Its payload.
    pub payload: Document,
}

/// A rule that is tried over events, one after the other.
pub struct Backtest {
    catalog: Arc<Catalog>,
    rule: Arc<Rule>,
    reads: VarReads,
    sequencing: Sequencing,
    world: World,
    now: Timestamp,
    moments: u128,
    matches: Matches,
    judged: u64,
}

impl Backtest {
    /// Begins with a rule of a catalog.
    ///
    /// # Errors
    /// Where the catalog has no such rule, or the core does not take it.
    pub fn of(catalog: &Catalog, rule: &RuleRef, payloads: Arc<dyn Payloads>) -> Result<Self, Stuck> {
        let Some(found) = catalog.rules().get(rule) else { return Err(Stuck::Refused(format!("there is no rule `{rule}`"))) };
        let watching = Arc::new(Rule { mode: Mode::Shadow, ..Rule::clone(found) });
        let reads = RuleReads::of(&watching).map(|reads| reads.all).unwrap_or_default();
        if reads == VarReads::All {
            return Err(Stuck::Refused(format!(
                "`{rule}` reads all of `vars`: write out their names, such as `vars[\"sync.cursor\"]`, so that the rule can be tested with past events"
            )));
        }
        let definitions = Definitions {
            packs: catalog.packs().clone(),
            actions: catalog.actions().clone(),
            triggers: catalog.triggers().clone(),
            sensors: BTreeMap::new(),
            rules: BTreeMap::from([(rule.clone(), watching.clone())]),
        };
        let log = LogId(Id::root(Timestamp::from_micros(0), 1));
        let catalog = Arc::new(Catalog::new(CatalogRevision(1), definitions));
        let mut backtest = Self {
            catalog: catalog.clone(),
            rule: watching,
            reads,
            sequencing: Sequencing::new(Engine::new(log), Head::default(), Epoch(1)),
            world: World {
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
        let changes = backtest.catalog.packs().values().map(install).collect();
        backtest.ask(Ask::ChangePacks { base, changes })?;
        Ok(backtest)
    }

    /// Has the rule judge an event; those of other triggers are passed over. Events come in the order in which they were taken in.
    ///
    /// # Errors
    /// Where the core cannot work out what follows: a bug.
    pub fn event(&mut self, past: PastEvent<'_>) -> Result<(), Stuck> {
        let PastEvent { position, id, trigger, source, occurred_at, received_at, payload } = past;
        self.judged += 1;
        let view = EventView { id, trigger, source, time: occurred_at, payload: &payload, only: None };
        let judgement = judge(&self.catalog, &view);
        let verdict = match judgement.verdicts.first().map(|judged| &judged.verdict) {
            Some(Verdict::Undecided) => match self.sequencing.engine().vars().seen(&self.reads, &self.world) {
                Ok(vars) => judge_rule(&self.rule, &view, &vars),
                Err(NotSeen::TooLarge(message)) => Some(Verdict::Erred { message }),
                Err(NotSeen::Missing(_)) => return Err(Stuck::PutAside("it needs the value of a var that is no longer stored".to_owned())),
            },
            decided => decided.cloned(),
        };
        let would = match &verdict {
            None => return Ok(()),
            Some(Verdict::Erred { message }) => Some(Would::Erred(self.matches.reason(message))),
            Some(Verdict::Matched(Plan::Reject { error })) => Some(Would::Rejected(self.matches.reason(error))),
            Some(Verdict::Matched(_) | Verdict::Undecided) => None,
        };
        if let Some(would) = would {
            self.matches.came_to.insert(id, would);
            return Ok(());
        }
        self.pass_time(received_at)?;
        let event = ObservedEvent::judged(&view, judgement);
        let here = self.sequencing.committed_head().position.next();
        self.world.past.insert(here, position);
        self.ask(Ask::ReceiveEvents(vec![event]))?;
        if self.matches.came_to.get(&id) != Some(&Would::Not("held")) {
            // Nobody asks for its payload again.
            self.world.past.remove(&here);
        }
        Ok(())
    }

    /// Gives the vars that the rule reads.
    pub fn reads_vars(&self) -> impl Iterator<Item = &VarName> {
        let names = if let VarReads::Named(names) = &self.reads { Some(names) } else { None };
        names.into_iter().flatten()
    }

    /// Gives a var a value that the rule may read from `at` on, or takes it away; others are passed over.
    ///
    /// # Errors
    /// As for [`event`](Self::event).
    pub fn var(&mut self, name: &VarName, value: Option<Bytes>, at: Timestamp) -> Result<(), Stuck> {
        if !self.reads_vars().any(|read| read == name) {
            return Ok(());
        }
        // What was due before goes by the vars of before.
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

    /// Lets time pass until a moment: what the rule's flow control waits for comes.
    ///
    /// # Errors
    /// As for [`event`](Self::event).
    pub fn pass_time(&mut self, until: Timestamp) -> Result<(), Stuck> {
        while let Some(due) = self.sequencing.engine().timers().next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.ask(Ask::FireTimers)?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// Gives how many events were judged.
    pub fn judged(&self) -> u64 {
        self.judged
    }

    /// Gives what the rule would have made of each event that it matches, or errs on.
    pub fn would(&self) -> &BTreeMap<EventId, Would> {
        self.matches.came_to()
    }

    fn ask(&mut self, ask: Ask) -> Result<(), Stuck> {
        let command = Command { actor: Actor::Operator, trace: None, ask };
        let at = self.moment();
        let offered = self.sequencing.offer(&command, &at, &self.world.beside());
        match offered {
            Offered::Taken { .. } => self.take_in(),
            Offered::Refused(refusal) => return Err(Stuck::Refused(refusal.to_string())),
            Offered::Needs(_) => return Err(Stuck::PutAside("it needs a body that is not kept".to_owned())),
        }
        while let Some(owed) = self.sequencing.next_owed(None) {
            let Some(record) = self.world.recent.get(&owed.of).cloned() else {
                return Err(Stuck::PutAside("what is owed is owed to a record that is not kept".to_owned()));
            };
            let at = self.moment();
            match self.sequencing.serve(&record, owed, &at, &self.world.beside()) {
                Offered::Taken { .. } => self.take_in(),
                Offered::Refused(refusal) => return Err(Stuck::Refused(refusal.to_string())),
                Offered::Needs(_) => return Err(Stuck::PutAside("it needs a body that is not kept".to_owned())),
            }
        }
        // Nothing is owed: what was recorded is not asked for any more, but the payloads of events.
        self.world.recent.clear();
        Ok(())
    }

    fn moment(&mut self) -> Moment {
        self.moments += 1;
        Moment { time: self.now, entropy: self.moments }
    }

    fn take_in(&mut self) {
        for record in self.sequencing.committed().records {
            self.matches.note(&record);
            self.world.recent.insert(record.position, record);
        }
    }
}

/// What stands beside the core.
struct World {
    catalog: Arc<Catalog>,
    payloads: Arc<dyn Payloads>,
    /// Where an event stands in its own log.
    past: BTreeMap<Position, Position>,
    /// What was recorded since nothing was owed.
    recent: BTreeMap<Position, Record>,
    /// The values of the vars that the rule reads.
    values: BTreeMap<VarName, Body>,
    settings: Settings,
}

impl World {
    fn beside(&self) -> Beside<'_> {
        Beside { catalogs: self, bodies: self, seen: self, settings: &self.settings }
    }
}

impl Catalogs for World {
    fn at(&self, _: CatalogRevision) -> Option<Arc<Catalog>> {
        Some(self.catalog.clone())
    }
}

impl SeenKeys for World {
    fn seen(&self, _: &DedupeKey) -> Option<Seen> {
        None
    }
}

impl Bodies for World {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        let recent = self.recent.get(&body.at).and_then(|record| record.body.as_ref()?.content.clone());
        let value = || self.values.values().find(|value| value.digest == body.digest)?.content.clone();
        recent.or_else(value).or_else(|| self.payloads.at(*self.past.get(&body.at)?))
    }
}
