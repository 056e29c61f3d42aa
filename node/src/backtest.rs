//! What a rule would have done with the events of the log, compared with what it did.

mod reading;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use ensue_api::ports::{
    BacktestResult, Backtests, Impatience, LogAccess, Patience, PortError, Progress, ToBacktest, ToldEvent, ToldEvents,
};
use ensue_engine::catalog::Catalog;
use ensue_engine::explain::Explain;
use ensue_engine::ids::EventId;
use ensue_engine::names::{RuleRef, VarName};
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_rehearsal::RehearsalError;
use ensue_rehearsal::backtest::{Backtest, Matches, PastEvent, Payloads, Would};
use thiserror::Error;

use crate::catalogs::{CatalogError, NodeCatalogs, WithFileError};
use crate::log_access::LogReaders;
use crate::plain_body::plain;
use reading::{AfterPart, BacktestInput, Division, EventJudgement, LogClock, ReaderThreads, RunPart, ToRead, What};

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
    /// The machine has no thread left.
    #[error("a thread for the backtest cannot be started: {0}")]
    #[explain(slug = "busy", fault = Busy, hint = "send it again in a second")]
    NoThread(#[source] std::io::Error),
    /// The core makes no progress.
    #[error("the rule cannot be tested: {0}")]
    #[explain(slug = "internal-error", fault = Bug)]
    Stuck(#[from] RehearsalError),
}

/// Tests rules over the log of a node.
pub struct NodeBacktests {
    /// The installed catalogs.
    pub catalogs: Arc<NodeCatalogs>,
    /// The log.
    pub readers: Arc<LogReaders>,
}

impl Backtests for NodeBacktests {
    fn backtest(&self, asked: &ToBacktest, patience: &Patience, progress: &Progress) -> Result<BacktestResult, PortError> {
        Ok(self.run_backtest(asked, patience, progress)?)
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

    fn run_backtest(&self, asked: &ToBacktest, patience: &Patience, progress: &Progress) -> Result<BacktestResult, BacktestError> {
        let catalog = match &asked.file {
            None => self.catalogs.current(),
            Some(file) => Arc::new(self.catalogs.with_file(&asked.rule, &file.path, &file.text)?),
        };
        over_log(&self.readers, &catalog, (asked, patience, progress), Division::of_this_machine())
    }
}

/// Tests a rule of a catalog over a log.
fn over_log(
    log: &Arc<LogReaders>,
    catalog: &Catalog,
    (asked, patience, progress): (&ToBacktest, &Patience, &Progress),
    division: Division,
) -> Result<BacktestResult, BacktestError> {
    let rule = catalog.rules().get(&asked.rule).ok_or_else(|| BacktestError::NoRule(asked.rule.clone()))?;
    if rule.schedule.is_some() {
        return Err(BacktestError::Scheduled(asked.rule.clone()));
    }
    let head = log.head()?.position;
    let after = match (asked.after, asked.since) {
        (Some(after), _) => after,
        (None, Some(since)) => before(log, since, head)?,
        (None, None) => Position(0),
    };
    let mut over = BacktestRun::new(Backtest::of(catalog, &asked.rule, log.clone())?);
    over.begin_at(after, log)?;
    // What comes after it is not read.
    let end = asked.until.map_or(Ok(head), |until| before(log, until, head))?;
    let what = ToRead { log, rule: &asked.rule, triggers: &rule.triggers, after, head, until: asked.until, patience };
    let is_over = AtomicBool::new(false);
    let at = std::thread::scope(|scope| {
        let mut reading = ReaderThreads::start(scope, (what, &over.backtest.judge()), division, &is_over)?;
        over.follow(&mut reading, &what, (end, progress))
    })?;
    over.finish((after, at), log)
}

/// Returns the last position before a moment, assuming that the log's clock only moves forward.
fn before(log: &LogReaders, since: Timestamp, head: Position) -> Result<Position, LogError> {
    let (mut low, mut high) = (0, head.0);
    // The record at `low` is older; the record after `high` is not.
    while low < high {
        let middle = low + (high - low) / 2;
        let record = log.read(Position(middle), ReadLimit { records: 1, ..ReadLimit::default() })?;
        match record.first() {
            Some(record) if record.time < since => low = middle + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(Position(low))
}

/// A rule while it is tested over the log.
struct BacktestRun {
    backtest: Backtest,
    happened: Matches,
    unreadable: u64,
    clock: LogClock,
}

impl BacktestRun {
    fn new(backtest: Backtest) -> Self {
        Self { backtest, happened: Matches::default(), unreadable: 0, clock: LogClock::new() }
    }

    /// Sets the vars that the rule reads to the values that they had at a position.
    fn begin_at(&mut self, at: Position, log: &LogReaders) -> Result<(), BacktestError> {
        let names: Vec<VarName> = self.backtest.reads_vars().cloned().collect();
        for name in names {
            let value = log.var_at(&name, at)?.and_then(|record| plain(record.body.as_ref()?).ok().flatten());
            self.backtest.var(&name, value, self.clock.now())?;
        }
        Ok(())
    }

    /// Takes everything that is read, and returns the position up to which it was read.
    fn follow(
        &mut self,
        reading: &mut ReaderThreads<'_>,
        what: &ToRead<'_>,
        (end, progress): (Position, &Progress),
    ) -> Result<Position, BacktestError> {
        let mut at = what.after;
        if at >= what.head {
            return Ok(at);
        }
        loop {
            let part = reading.next()?;
            let next = part.next;
            at = part.at.unwrap_or(at);
            self.take(part, what.patience)?;
            let (read, all) = (at.0.saturating_sub(what.after.0), end.0.saturating_sub(what.after.0));
            progress.report(read as f64 / all.max(1) as f64, || self.so_far((what.after, at), what.log))?;
            if next == AfterPart::Nothing {
                return Ok(at);
            }
        }
    }

    fn take(&mut self, part: RunPart, patience: &Patience) -> Result<(), BacktestError> {
        self.unreadable += part.unreadable;
        self.backtest.pass_over(part.passed_over);
        for BacktestInput { clock, what } in part.items {
            patience.demand()?;
            self.clock.pass(clock);
            let now = self.clock.now();
            match what {
                What::Event(judged) => self.event(*judged)?,
                What::Happened(record) => self.happened.note(&record),
                What::Var(name, value) => self.backtest.var(&name, value, now)?,
            }
        }
        if self.backtest.judged_count() > EVENTS_MAX {
            return Err(BacktestError::TooMany);
        }
        self.clock.pass(part.clock);
        if part.next == AfterPart::Run {
            self.clock.end_run(part.clock);
        }
        Ok(())
    }

    fn event(&mut self, judged: EventJudgement) -> Result<(), BacktestError> {
        let EventJudgement { position, id, fact, payload, judgement } = judged;
        let Some(payload) = payload.document() else {
            self.unreadable += 1;
            return Ok(());
        };
        let past = PastEvent {
            position,
            id,
            trigger: &fact.trigger,
            source: &fact.source,
            occurred_at: fact.occurred_at,
            received_at: self.clock.now(),
            version: fact.version,
            payload,
        };
        Ok(self.backtest.judged_event(&past, judgement)?)
    }

    fn finish(mut self, (after, until): (Position, Position), log: &LogReaders) -> Result<BacktestResult, BacktestError> {
        self.backtest.pass_time(self.clock.now())?;
        Ok(self.so_far((after, until), log)?)
    }

    /// Returns what is known up to a position. What flow control holds there is not decided yet.
    fn so_far(&self, (after, until): (Position, Position), log: &LogReaders) -> Result<BacktestResult, LogError> {
        let (would, happened) = (self.backtest.would(), self.happened.came_to());
        let mut told =
            BacktestResult { judged: self.backtest.judged_count(), unreadable: self.unreadable, after, until, ..BacktestResult::default() };
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
