//! Replays of recorded executions: by the definitions that they ran with, or by another version of a pack.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ensue_api::ports::{
    Impatience, LogAccess, PackFiles, Patience, PortError, ReplayDifference, ReplayResult, ReplayedExecution, ReplayedWhich, Replays,
    ToReplay,
};
use ensue_engine::catalog::Catalog;
use ensue_engine::explain::Explain;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::names::{ActionRef, PackName, VarName};
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Actor, Body, Encoding, Position, Record, Revision, StreamId};
use ensue_packs::PackSource;
use ensue_rehearsal::replay::{self, Collection, Definitions, Divergence, RecordedExecution, Unreplayable};
use thiserror::Error;

use crate::catalogs::{CatalogError, NodeCatalogs, WithPackError};
use crate::log_access::LogReaders;
use crate::plain_body::plain;

/// The most executions that are replayed at once.
pub(crate) const EXECUTIONS_MAX: u32 = 10_000;

/// How many executions are listed: the newest.
const TOLD_MAX: usize = 100;

/// How many records the backward search reads at once.
const WINDOW: u64 = 10_000;

/// The most bytes of bodies held for executions whose end has not been found yet.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why executions cannot be replayed.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub(crate) enum ReplayError {
    /// There is no such execution.
    #[error("there is no execution {0}")]
    #[explain(slug = "not-found", fault = Missing, hint = "list them with `ensue executions list`")]
    NoExecution(ExecutionId),
    /// It is a step of another execution.
    #[error("{0} is a step of {1}, and is replayed with it")]
    #[explain(slug = "replay-refused", fault = Invalid, hint = "run `ensue replay {1}`")]
    IsStep(ExecutionId, ExecutionId),
    /// The pack is not installed.
    #[error("the pack `{0}` is not installed, so it has run nothing")]
    #[explain(slug = "not-found", fault = Missing,
        hint = "name the folder of an installed pack; `ensue packs list` lists the installed packs")]
    NoPack(PackName),
    /// The pack has errors.
    #[error("{0}")]
    #[explain(slug = "replay-refused", fault = Invalid, hint = "see each error with its file and line with `ensue check`")]
    PackInvalid(String),
    /// The executions are too large.
    #[error("the executions have more than {BYTES_MAX} bytes of bodies at once")]
    #[explain(slug = "replay-refused", fault = Invalid, hint = "replay fewer executions, with `--last` or `--action`")]
    TooMuch,
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
}

impl From<WithPackError> for ReplayError {
    fn from(error: WithPackError) -> Self {
        match error {
            WithPackError::NoPack(name) => Self::NoPack(name),
            WithPackError::Mistakes(_) | WithPackError::Stopped => Self::PackInvalid(error.to_string()),
            WithPackError::Catalog(error) => Self::Catalog(error),
        }
    }
}

/// Replays executions from the log of a node.
pub struct NodeReplays {
    catalogs: Arc<NodeCatalogs>,
    readers: Arc<LogReaders>,
}

impl Replays for NodeReplays {
    fn replay(&self, asked: &ToReplay, patience: &Patience) -> Result<ReplayResult, PortError> {
        Ok(self.run_replay(asked, patience)?)
    }
}

/// An execution to replay.
struct ChosenExecution {
    execution: ExecutionId,
    action: ActionRef,
    at: Position,
}

impl NodeReplays {
    /// Creates replays of executions in a log, by the stored catalogs.
    pub fn new(catalogs: Arc<NodeCatalogs>, readers: Arc<LogReaders>) -> Self {
        Self { catalogs, readers }
    }

    fn run_replay(&self, asked: &ToReplay, patience: &Patience) -> Result<ReplayResult, ReplayError> {
        let other = asked.pack.as_ref().map(|pack| self.with_pack(pack, patience)).transpose()?;
        let head = self.readers.head()?.position;
        let chosen = match &asked.which {
            ReplayedWhich::One(execution) => vec![self.one(*execution)?],
            which @ ReplayedWhich::Last { .. } => self.last(which, head, patience)?,
        };
        let mut collection = Collection::of(chosen.iter().map(|one| one.execution));
        let mut told = ReplayResults { all: Vec::new(), replayed: ReplayResult::default() };
        let mut at = chosen.iter().map(|one| Position(one.at.0.saturating_sub(1))).min().unwrap_or(head);
        while at < head && !collection.is_empty() {
            let records = self.readers.read(at, ReadLimit::default())?;
            let Some(last) = records.last().map(|record| record.position) else { break };
            for record in records.into_iter().filter(|record| record.position <= head) {
                patience.demand()?;
                if collection.wants(&record)
                    && let Some(mut recorded) = collection.take(with_plain_body(record)?, |id| self.record_of(id))?
                {
                    let came = self.replay_one(&mut recorded, other.as_ref())?;
                    told.note(&recorded, came);
                }
            }
            if collection.bytes() > BYTES_MAX {
                return Err(ReplayError::TooMuch);
            }
            at = last;
        }
        for recorded in collection.open(|id| self.record_of(id))? {
            told.note(&recorded, Err(Unreplayable::NotEnded));
        }
        Ok(told.came_to(&chosen))
    }

    fn replay_one(
        &self,
        recorded: &mut RecordedExecution,
        other: Option<&Arc<Catalog>>,
    ) -> Result<Result<Vec<Divergence>, Unreplayable>, ReplayError> {
        let definitions = match other {
            Some(catalog) => Definitions::Other(catalog),
            None => Definitions::Recorded(&*self.catalogs),
        };
        match replay::vars_read(recorded, definitions) {
            Ok(names) => self.add_vars(recorded, names)?,
            Err(unreplayable) => return Ok(Err(unreplayable)),
        }
        Ok(replay::replay(recorded, definitions, &*self.readers))
    }

    /// Adds the changes of vars to the records of an execution: the last change of each var before it, and
    /// those up to its end.
    fn add_vars(&self, recorded: &mut RecordedExecution, names: BTreeSet<VarName>) -> Result<(), ReplayError> {
        let root = StreamId::Execution(recorded.execution);
        let positions = || recorded.records.iter().filter(|record| record.stream == root).map(|record| record.position);
        let (Some(begins), Some(end)) = (positions().min(), positions().max()) else { return Ok(()) };
        let mut bytes = 0;
        for name in names {
            let before = self.readers.var_at(&name, begins)?;
            let mut at = before.as_ref().map_or(Revision(0), |record| record.revision);
            recorded.records.extend(before.map(with_plain_body).transpose()?);
            'changes: while recorded.records.len() <= replay::RECORDS_MAX {
                let changes = self.readers.read_stream(&StreamId::Var(name.clone()), at, ReadLimit::default())?;
                let Some(last) = changes.last() else { break };
                at = last.revision;
                for change in changes {
                    if change.position > end {
                        break 'changes;
                    }
                    let change = with_plain_body(change)?;
                    bytes += change.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, Bytes::len);
                    if bytes > BYTES_MAX {
                        return Err(ReplayError::TooMuch);
                    }
                    recorded.records.push(change);
                }
            }
        }
        recorded.records.sort_by_key(|record| record.position);
        Ok(())
    }

    fn with_pack(&self, pack: &PackFiles, patience: &Patience) -> Result<Arc<Catalog>, ReplayError> {
        let plain = pack.files.iter().map(|(path, file)| (path.clone(), file.bytes.clone()));
        let source = PackSource::of(pack.name.to_string(), plain).map_err(|error| ReplayError::PackInvalid(error.to_string()))?;
        let source = PackSource { files: pack.files.clone(), ..source };
        let catalog = self.catalogs.with_pack(&pack.name, source, &patience.stop_check());
        patience.demand()?;
        Ok(Arc::new(catalog?))
    }

    fn one(&self, execution: ExecutionId) -> Result<ChosenExecution, ReplayError> {
        let record = self.readers.with_reader(|reader| reader.record_by_id(execution.0))?;
        let record = record.filter(|record| record.stream == StreamId::Execution(execution));
        match record.as_ref().map(|record| (&record.fact, record.position)) {
            Some((Fact::ExecutionRequested(fact), at)) => match &fact.part_of {
                Some(part_of) => Err(ReplayError::IsStep(execution, part_of.workflow)),
                None => Ok(ChosenExecution { execution, action: fact.action.clone(), at }),
            },
            Some(_) | None => Err(ReplayError::NoExecution(execution)),
        }
    }

    /// Searches the log from its end for the newest matching executions; returns the newest first.
    fn last(&self, which: &ReplayedWhich, head: Position, patience: &Patience) -> Result<Vec<ChosenExecution>, ReplayError> {
        let ReplayedWhich::Last { count, action, rule, since } = which else { return Ok(Vec::new()) };
        let count = (*count).min(EXECUTIONS_MAX) as usize;
        let mut chosen: Vec<ChosenExecution> = Vec::new();
        let mut end = head;
        while end > Position(0) && chosen.len() < count {
            let begin = Position(end.0.saturating_sub(WINDOW));
            let mut found = Vec::new();
            let (mut at, mut is_older) = (begin, false);
            while at < end {
                patience.demand()?;
                let records = self.readers.read(at, ReadLimit::default())?;
                let Some(last) = records.last().map(|record| record.position) else { break };
                for record in records.iter().filter(|record| record.position <= end) {
                    let (Fact::ExecutionRequested(fact), StreamId::Execution(execution)) = (&record.fact, &record.stream) else { continue };
                    if since.is_some_and(|since| record.time < since) {
                        is_older = true;
                        continue;
                    }
                    // Executions that notify people of an inquiry were requested by nobody.
                    let is_whole = fact.part_of.is_none() && (fact.rule.is_some() || record.actor != Actor::Engine);
                    let is_asked = action.as_ref().is_none_or(|action| *action == fact.action)
                        && rule.as_ref().is_none_or(|rule| fact.rule.as_ref() == Some(rule));
                    if is_whole && is_asked {
                        found.push(ChosenExecution { execution: *execution, action: fact.action.clone(), at: record.position });
                    }
                }
                at = last;
            }
            chosen.extend(found.into_iter().rev());
            end = begin;
            if is_older {
                break;
            }
        }
        chosen.truncate(count);
        Ok(chosen)
    }

    fn record_of(&self, id: Id) -> Result<Option<Record>, LogError> {
        self.readers.with_reader(|reader| reader.record_by_id(id))?.map(with_plain_body).transpose()
    }
}

/// Returns a record with its decoded body, however it is stored.
fn with_plain_body(mut record: Record) -> Result<Record, LogError> {
    if let Some(body) = &mut record.body {
        let content = plain(body)?;
        let encoding = match body.encoding {
            Encoding::Json | Encoding::JsonZstd | Encoding::JsonZstdD1 => Encoding::Json,
            Encoding::Raw => Encoding::Raw,
        };
        *body = Body { content, encoding, key: None, ..body.clone() };
    }
    Ok(record)
}

/// The results so far.
struct ReplayResults {
    all: Vec<(ExecutionId, Result<Vec<Divergence>, Unreplayable>)>,
    replayed: ReplayResult,
}

impl ReplayResults {
    fn note(&mut self, recorded: &RecordedExecution, came: Result<Vec<Divergence>, Unreplayable>) {
        let counted = match &came {
            Ok(differences) if differences.is_empty() => {
                self.replayed.same += 1;
                return;
            }
            Ok(_) => &mut self.replayed.differ,
            Err(_) => &mut self.replayed.unreplayable,
        };
        *counted += 1;
        self.all.push((recorded.execution, came));
    }

    fn came_to(mut self, chosen: &[ChosenExecution]) -> ReplayResult {
        let place = |id: &ExecutionId| chosen.iter().position(|one| one.execution == *id);
        self.all.sort_by_cached_key(|(id, came)| (came.is_err(), place(id)));
        self.all.truncate(TOLD_MAX);
        let told = self.all.into_iter().map(|(execution, came)| {
            let (differences, error) = match came {
                Ok(differences) => (differences.into_iter().map(to_difference).collect(), None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            let action = place(&execution).and_then(|place| chosen.get(place)).map(|one| one.action.clone());
            ReplayedExecution { execution, action, differences, error }
        });
        ReplayResult { executions: told.collect(), ..self.replayed }
    }
}

fn to_difference(divergence: Divergence) -> ReplayDifference {
    let Divergence { step, what, pointer, recorded, would } = divergence;
    ReplayDifference { step, what: what.as_str(), pointer, recorded, would }
}
