//! What a rule would have done with the events of the log, compared with what it did.

use std::sync::Arc;

use bytes::Bytes;
use ensue_api::ports::{Backtested, Backtests, Declined, Impatience, LogAccess, Patience, ToBacktest, ToldEvent, ToldEvents};
use ensue_engine::events::facts::EventReceived;
use ensue_engine::events::internal::InternalTrigger;
use ensue_engine::explain::Explain;
use ensue_engine::fact::Fact;
use ensue_engine::ids::EventId;
use ensue_engine::names::{RuleRef, TriggerRef, VarName};
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Position, Record, StreamId};
use ensue_engine::rules::facts::EnforcementMade;
use ensue_engine::rules::flow::facts::{EnforcementReleased, EnforcementSuperseded};
use ensue_engine::rules::react::DEPTH_MAX;
use ensue_engine::time::Timestamp;
use ensue_engine::vars::facts::{VarRemoved, VarSet};
use ensue_expression::Document;
use ensue_rehearsal::Stuck;
use ensue_rehearsal::backtest::{Backtest, Matches, PastEvent, Payloads, Would};
use thiserror::Error;

use crate::catalogs::{CatalogError, NodeCatalogs, WithFileError};
use crate::log_access::LogReaders;
use crate::plain_body::plain;

/// How many events of each kind are listed: the first ones.
const TOLD_MAX: usize = 100;

/// The most events of its triggers over which a rule is tested.
const EVENTS_MAX: u64 = 5_000_000;

/// Why a rule cannot be tested.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub(crate) enum BacktestError {
    /// There is no such rule.
    #[error("there is no rule `{0}`")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the rules with `ensue rules list`")]
    NoRule(RuleRef),
    /// The text of the rule's file cannot be used.
    #[error(transparent)]
    #[explain(transparent)]
    File(#[from] WithFileError),
    /// The rule runs on a schedule.
    #[error("`{0}` is due by its schedule and not by events, so there is nothing to test it with")]
    #[explain(slug = "rule-invalid", fault = Invalid, hint = "see when a schedule is due with `ensue cron next`")]
    Scheduled(RuleRef),
    /// There are too many events.
    #[error("there are more than {EVENTS_MAX} events of its triggers")]
    #[explain(slug = "rule-invalid", fault = Invalid, hint = "use a shorter range")]
    TooMany,
    /// The caller no longer waits.
    #[error(transparent)]
    #[explain(transparent)]
    GaveUp(#[from] Impatience),
    /// The log cannot be read.
    #[error(transparent)]
    #[explain(slug = "log-unavailable", fault = World)]
    Log(#[from] LogError),
    /// The catalog cannot be built.
    #[error(transparent)]
    #[explain(slug = "catalog-unbuildable", fault = World)]
    Catalog(#[from] CatalogError),
    /// The core makes no progress.
    #[error("the rule cannot be tested: {0}")]
    #[explain(slug = "internal-error", fault = Bug)]
    Stuck(#[from] Stuck),
}

/// Tests rules over the log of a node.
pub struct NodeBacktests {
    /// The installed catalogs.
    pub catalogs: Arc<NodeCatalogs>,
    /// The log.
    pub readers: Arc<LogReaders>,
}

impl Backtests for NodeBacktests {
    fn backtest(&self, asked: &ToBacktest, patience: &Patience) -> Result<Backtested, Declined> {
        Ok(self.tried(asked, patience)?)
    }
}

impl Payloads for LogReaders {
    fn at(&self, position: Position) -> Option<Bytes> {
        self.body(position).ok().flatten()
    }
}

impl NodeBacktests {
    /// Creates backtests of the installed rules over a log.
    pub fn new(catalogs: Arc<NodeCatalogs>, readers: Arc<LogReaders>) -> Self {
        Self { catalogs, readers }
    }

    fn tried(&self, asked: &ToBacktest, patience: &Patience) -> Result<Backtested, BacktestError> {
        let catalog = match &asked.file {
            None => self.catalogs.current(),
            Some(file) => Arc::new(self.catalogs.with_file(&asked.rule, &file.path, &file.text)?),
        };
        let rule = catalog.rules().get(&asked.rule).ok_or_else(|| BacktestError::NoRule(asked.rule.clone()))?;
        if rule.schedule.is_some() {
            return Err(BacktestError::Scheduled(asked.rule.clone()));
        }
        let head = self.readers.head()?.position;
        let after = match (asked.after, asked.since) {
            (Some(after), _) => after,
            (None, Some(since)) => self.before(since, head)?,
            (None, None) => Position(0),
        };
        let mut over = Over::new(Backtest::of(&catalog, &asked.rule, self.readers.clone())?, asked, &rule.triggers);
        over.begin_at(after, &self.readers)?;
        let mut at = after;
        let is_asked = |record: &Record| record.position <= head && asked.until.is_none_or(|until| record.time < until);
        'log: while at < head {
            let records = self.readers.read(at, ReadLimit::default())?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                if !is_asked(record) {
                    break 'log;
                }
                patience.demand()?;
                over.take(record)?;
                at = record.position;
            }
        }
        over.told((after, at), &self.readers)
    }

    /// Returns the last position before a moment, assuming that the log's clock only moves forward.
    fn before(&self, since: Timestamp, head: Position) -> Result<Position, LogError> {
        let (mut low, mut high) = (0, head.0);
        // The record at `low` is older; the record after `high` is not.
        while low < high {
            let middle = low + (high - low) / 2;
            let record = self.readers.read(Position(middle), ReadLimit { records: 1, ..ReadLimit::default() })?;
            match record.first() {
                Some(record) if record.time < since => low = middle + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(Position(low))
    }
}

/// A rule while it is tested over the log.
struct Over<'a> {
    asked: &'a ToBacktest,
    triggers: &'a [TriggerRef],
    backtest: Backtest,
    happened: Matches,
    unreadable: u64,
    /// When the newest record was received, as if no step had moved the clock.
    now: Timestamp,
    /// How far clock steps have moved the clock, in microseconds: delays continue as if the steps had not
    /// happened.
    stepped: i64,
}

impl<'a> Over<'a> {
    fn new(backtest: Backtest, asked: &'a ToBacktest, triggers: &'a [TriggerRef]) -> Self {
        let (happened, now) = (Matches::default(), Timestamp::from_micros(0));
        Self { asked, triggers, backtest, happened, unreadable: 0, now, stepped: 0 }
    }

    /// Sets the vars that the rule reads to the values that they had at a position.
    fn begin_at(&mut self, at: Position, log: &LogReaders) -> Result<(), BacktestError> {
        let names: Vec<VarName> = self.backtest.reads_vars().cloned().collect();
        for name in names {
            let value = log.var_at(&name, at)?.and_then(|record| plain(record.body.as_ref()?).ok().flatten());
            self.backtest.var(&name, value, self.now)?;
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) -> Result<(), BacktestError> {
        if let Fact::ClockStepped(step) = &record.fact {
            self.stepped = self.stepped.saturating_add(step.to.micros().saturating_sub(step.from.micros()));
        }
        self.now = self.now.max(Timestamp::from_micros(record.time.micros().saturating_sub(self.stepped)));
        match (&record.fact, &record.stream) {
            (Fact::EventReceived(fact), StreamId::Event(id)) => {
                let is_too_deep = record.cause.depth > DEPTH_MAX && InternalTrigger::of(&fact.trigger).is_none();
                if self.triggers.contains(&fact.trigger) && fact.rule.is_none() && !is_too_deep {
                    return self.judge(record, *id, fact);
                }
            }
            (Fact::EnforcementMade(EnforcementMade { rule, .. }), _)
            | (Fact::EnforcementReleased(EnforcementReleased { rule, .. }), _)
            | (Fact::EnforcementSuperseded(EnforcementSuperseded { rule, .. }), _)
                if *rule == self.asked.rule =>
            {
                self.happened.note(record);
            }
            (Fact::VarSet(VarSet { name, .. }), _) => {
                let value = record.body.as_ref().and_then(|body| plain(body).ok().flatten());
                self.backtest.var(name, value, self.now)?;
            }
            (Fact::VarRemoved(VarRemoved { name, .. }), _) => self.backtest.var(name, None, self.now)?,
            _ => {}
        }
        Ok(())
    }

    fn judge(&mut self, record: &Record, id: EventId, fact: &EventReceived) -> Result<(), BacktestError> {
        if self.backtest.judged() >= EVENTS_MAX {
            return Err(BacktestError::TooMany);
        }
        let body = record.body.as_ref().and_then(|body| plain(body).ok().flatten());
        let Some(payload) = body.and_then(|body| Document::parse(body).ok()) else {
            self.unreadable += 1;
            return Ok(());
        };
        self.backtest.event(PastEvent {
            position: record.position,
            id,
            trigger: &fact.trigger,
            source: &fact.source,
            occurred_at: fact.occurred_at,
            received_at: self.now,
            payload,
        })?;
        Ok(())
    }

    fn told(mut self, (after, until): (Position, Position), log: &LogReaders) -> Result<Backtested, BacktestError> {
        self.backtest.pass_time(self.now)?;
        let (would, happened) = (self.backtest.would(), self.happened.came_to());
        let mut told = Backtested { judged: self.backtest.judged(), unreadable: self.unreadable, after, until, ..Backtested::default() };
        for would in would.values() {
            *told.would.entry(would.as_str()).or_default() += 1;
        }
        for happened in happened.values() {
            *told.happened.entry(happened.as_str()).or_default() += 1;
        }
        let position_of = |event: EventId| log.with_reader(|reader| reader.record_by_id(event.0));
        let one = |event: EventId| -> Result<ToldEvent, LogError> {
            let (would, happened) = (would.get(&event), happened.get(&event));
            Ok(ToldEvent {
                event,
                position: position_of(event)?.map(|record| record.position).unwrap_or_default(),
                would: would.map(Would::as_str),
                happened: happened.map(Would::as_str),
                error: match would {
                    Some(Would::Erred(error) | Would::Rejected(error)) => error.clone(),
                    Some(Would::Act | Would::Not(_)) | None => None,
                },
            })
        };
        // Ids are in time order.
        for (event, now) in would {
            match (now, happened.get(event)) {
                (Would::Erred(_), _) => put(&mut told.erred, || one(*event))?,
                (Would::Act, Some(Would::Act)) => told.matched += 1,
                (Would::Act, _) => put(&mut told.new, || one(*event))?,
                (Would::Not(_) | Would::Rejected(_), Some(Would::Act)) => put(&mut told.lost, || one(*event))?,
                (Would::Not(_) | Would::Rejected(_), _) => {}
            }
        }
        let only_then = happened.iter().filter(|(event, then)| **then == Would::Act && !would.contains_key(event));
        for (event, _) in only_then {
            put(&mut told.lost, || one(*event))?;
        }
        Ok(told)
    }
}

fn put(told: &mut ToldEvents, one: impl FnOnce() -> Result<ToldEvent, LogError>) -> Result<(), LogError> {
    told.count += 1;
    if told.events.len() < TOLD_MAX {
        told.events.push(one()?);
    }
    Ok(())
}
