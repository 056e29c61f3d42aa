//! Collects the records of executions in one pass over a log, starting at their beginnings.

use std::collections::BTreeMap;

use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::record::{Position, Record, StreamId};
use ensue_engine::rules::facts::EnforcementMade;
use ensue_engine::workflows::facts::PartOf;

use crate::replay::{RECORDS_MAX, RecordedDecision, RecordedExecution};

/// The records collected for some executions.
#[derive(Debug, Default)]
pub struct Collection {
    all: BTreeMap<ExecutionId, ExecutionRecords>,
    /// The collected execution that each execution is part of.
    roots: BTreeMap<ExecutionId, ExecutionId>,
    /// The collected execution to which each record belongs, by position; a reaction is owed to that record.
    owed: BTreeMap<Position, ExecutionId>,
    /// The deferrals of records that belong to none of the executions, by record, as long as they are owed.
    /// Such a record may be an event that a step consumes later.
    put_off: BTreeMap<Id, Vec<Record>>,
    /// The last of those records whose consequences were computed.
    resumed: Option<Id>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct ExecutionRecords {
    records: Vec<Record>,
    /// The events that its steps consumed.
    events: Vec<EventId>,
    bytes: usize,
}

impl Collection {
    /// Collects the records of these executions.
    pub fn of(executions: impl IntoIterator<Item = ExecutionId>) -> Self {
        let all: BTreeMap<ExecutionId, ExecutionRecords> = executions.into_iter().map(|id| (id, ExecutionRecords::default())).collect();
        let roots = all.keys().map(|id| (*id, *id)).collect();
        Self { all, roots, ..Self::default() }
    }

    /// Returns true if all executions have been returned, so that nothing more needs to be read.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns how many bytes of bodies it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if a record must be passed to [`take`](Self::take), with its body decoded.
    pub fn wants(&self, record: &Record) -> bool {
        self.is_for_all(&record.fact) || self.root_of(record).is_some() || is_put_off(&record.fact)
    }

    /// Takes the next record of the log. Returns the execution that ends with it, which is then no longer
    /// collected. `record_of` finds the record of an event or an enforcement, with its body decoded.
    ///
    /// # Errors
    /// As `record_of` does.
    pub fn take<E>(
        &mut self,
        record: Record,
        record_of: impl FnMut(Id) -> Result<Option<Record>, E>,
    ) -> Result<Option<RecordedExecution>, E> {
        if self.is_for_all(&record.fact) {
            self.all.values_mut().filter(|one| !one.records.is_empty()).for_each(|one| one.records.push(record.clone()));
            return Ok(None);
        }
        let Some(root) = self.root_of(&record) else {
            self.note_put_off(record);
            return Ok(None);
        };
        if let (Fact::ExecutionRequested(_), StreamId::Execution(id)) = (&record.fact, &record.stream) {
            self.roots.insert(*id, root);
        }
        let Some(one) = self.all.get_mut(&root) else { return Ok(None) };
        let event = match &record.fact {
            Fact::WaitMatched(fact) => Some(fact.event),
            Fact::WaitErred(fact) => Some(fact.event),
            _ => None,
        };
        if let Some(event) = event {
            one.events.push(event);
            one.records.extend(self.put_off.get(&event.0).into_iter().flatten().cloned());
        }
        let has_ended = record.fact.execution_end().is_some() && record.stream == StreamId::Execution(root);
        // Longer executions cannot be replayed, so only their end matters.
        if one.records.len() <= RECORDS_MAX {
            let bytes = record.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, bytes::Bytes::len);
            self.owed.insert(record.position, root);
            one.records.push(record);
            one.bytes += bytes;
            self.bytes += bytes;
        }
        if !has_ended {
            return Ok(None);
        }
        self.all.remove(&root).map(|one| self.given_out(root, one, record_of)).transpose()
    }

    /// Returns the executions that have not ended, with their records so far.
    ///
    /// # Errors
    /// As `record_of` does.
    pub fn open<E>(mut self, mut record_of: impl FnMut(Id) -> Result<Option<Record>, E>) -> Result<Vec<RecordedExecution>, E> {
        let all = std::mem::take(&mut self.all);
        all.into_iter().map(|(root, one)| self.given_out(root, one, &mut record_of)).collect()
    }

    fn given_out<E>(
        &mut self,
        execution: ExecutionId,
        one: ExecutionRecords,
        mut record_of: impl FnMut(Id) -> Result<Option<Record>, E>,
    ) -> Result<RecordedExecution, E> {
        let ExecutionRecords { mut records, mut events, bytes } = one;
        self.bytes -= bytes;
        events.sort_unstable();
        events.dedup();
        for event in events {
            records.extend(record_of(event.0)?);
        }
        records.sort_by_key(|record| record.position);
        records.dedup_by_key(|record| record.position);
        let asked = records.iter().find_map(|record| match &record.fact {
            Fact::ExecutionRequested(fact) if record.stream == StreamId::Execution(execution) => fact.event.zip(fact.enforcement),
            _ => None,
        });
        let enforced = match asked {
            Some((event, enforcement)) => {
                let (event, made) = (record_of(event.0)?, record_of(enforcement.0)?);
                event.zip(made.and_then(|made| made_of(&made))).map(|(event, made)| RecordedDecision { event, made })
            }
            None => None,
        };
        Ok(RecordedExecution { execution, records, enforced })
    }

    fn note_put_off(&mut self, record: Record) {
        let Some(of) = record.cause.parent.filter(|_| is_put_off(&record.fact)) else { return };
        let is_resumed = matches!(record.fact, Fact::ReactionResumed(_));
        // The previous one was computed and not deferred again, so it is no longer owed.
        if let Some(before) = self.resumed.take_if(|_| is_resumed)
            && self.put_off.get(&before).and_then(|all| all.last()).is_some_and(|last| matches!(last.fact, Fact::ReactionResumed(_)))
        {
            self.put_off.remove(&before);
        }
        self.resumed = if is_resumed { Some(of) } else { self.resumed };
        self.put_off.entry(of).or_default().push(record);
    }

    /// Steps of the clock matter to every execution that waits.
    fn is_for_all(&self, fact: &Fact) -> bool {
        matches!(fact, Fact::ClockStepped(_) | Fact::ClockAccepted(_) | Fact::LogRestored(_))
    }

    fn root_of(&self, record: &Record) -> Option<ExecutionId> {
        match (&record.fact, &record.stream) {
            (Fact::ReactionDeferred(fact), _) => self.owed.get(&fact.of).copied(),
            (Fact::ReactionResumed(fact), _) => self.owed.get(&fact.of).copied(),
            (Fact::ReactionParked(fact), _) => self.owed.get(&fact.of).copied(),
            (Fact::ExecutionRequested(fact), StreamId::Execution(id)) => {
                let above = fact.part_of.as_ref().map(|PartOf { workflow, .. }| workflow);
                self.roots.get(above.unwrap_or(id)).copied()
            }
            (_, StreamId::Execution(id)) => self.roots.get(id).copied(),
            _ => None,
        }
    }
}

fn is_put_off(fact: &Fact) -> bool {
    matches!(fact, Fact::ReactionDeferred(_) | Fact::ReactionResumed(_) | Fact::ReactionParked(_))
}

fn made_of(record: &Record) -> Option<EnforcementMade> {
    match &record.fact {
        Fact::EnforcementMade(made) => Some(made.clone()),
        _ => None,
    }
}
