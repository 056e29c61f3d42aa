//! Retention: removes what ended long enough ago from the views, oldest first, in rounds. The log keeps it.
//!
//! An execution is removed with everything that belongs only to it: its artifacts, its inquiry, its dead
//! letter, the enforcement that requested it. The parts of a workflow are removed with the outermost
//! execution. An execution stays while somebody must still handle something of it, such as an open dead
//! letter or a parked reaction, and while a rerun of it exists. Time is the log's own: that of its newest
//! record, without the steps of the clock. Therefore the removed rows follow from the log alone, and rebuilt
//! views have the same result. There is no state that a kill could lose: a new walk simply starts from the
//! beginning.

use std::collections::BTreeSet;
use std::time::Duration;

use ensue_engine::executions::facts::Pace;
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::record::Position;

use crate::dead_letters::{DeadLetter, LetterStatus};
use crate::enforcements::Enforcement;
use crate::executions::Execution;
use crate::inquiries::{Inquiry, InquiryStatus};
use crate::parked_reactions::ParkedReaction;
use crate::reach::RowReach;
pub use crate::removal::{ElapsedTime, EndedExecution, Removal, RemovalCounts};
use crate::store::{LIST_ROWS_MAX, ListQuery, Order, Row, ViewError, ViewStore};
use crate::view::{Column, Life, Term, View, ViewName};

/// The maximum number of rows that a round removes.
pub const ROWS_AT_ONCE: usize = 1_000;
/// The maximum number of ended executions that a round looks at.
pub const ENDED_AT_ONCE: usize = 1_000;
/// The room reserved for rows that follow once everything beneath them is collected: a row for each enclosing
/// workflow, at most 16, and the rows of the outermost execution itself.
const ROWS_SPARED: usize = 24;
/// The number of parts or artifacts that are read at once.
const PAGE_ROWS: usize = 100;

/// How long ended things stay in the views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewRetention {
    /// For executions, from the end of the outermost one; `None` means forever.
    pub executions: Option<Duration>,
}

impl ViewRetention {
    /// Returns the latest end of executions that are due now, or `None` if none are.
    pub fn until(&self, now: ElapsedTime) -> Option<i64> {
        let keep = i64::try_from(self.executions?.as_micros()).unwrap_or(i64::MAX);
        Some(now.micros().saturating_sub(keep))
    }
}

/// Views from which old rows are removed, held by their one follower.
pub trait RetainedViews: ViewStore {
    /// Returns the rows of a query, at most [`LIST_ROWS_MAX`].
    fn list(&self, query: &ListQuery) -> Result<Vec<Row>, ViewError>;
    /// Returns the outermost executions that ended at `until` or earlier, after `after`, in the order of
    /// their ends.
    fn ended_executions(&self, until: i64, after: Option<EndedExecution>, limit: usize) -> Result<Vec<EndedExecution>, ViewError>;
    /// Removes rows, all or nothing. The position stays.
    fn take_out(&mut self, removal: &Removal) -> Result<(), ViewError>;
    /// Returns how much was removed since these views were created.
    fn removal_counts(&self) -> RemovalCounts;
}

/// A walk over what ended long enough ago, oldest first.
#[derive(Debug, Default)]
pub struct Walk {
    after: Option<EndedExecution>,
}

/// The state of a walk after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// There may be more to remove.
    More,
    /// Everything that may be removed has been removed.
    Over,
}

impl Walk {
    /// Removes the next rows, at most [`ROWS_AT_ONCE`]. Rows that belong together are removed together. Only
    /// a workflow with more rows than that takes several rounds, the outermost execution first, so that
    /// nobody sees it with only some of its steps.
    ///
    /// `quiet` is how long ago the newest record was folded, as far as the caller knows, because time passes
    /// even if nothing is recorded.
    pub fn round<V: RetainedViews + ?Sized>(
        &mut self,
        views: &mut V,
        retention: ViewRetention,
        quiet: Duration,
    ) -> Result<Round, ViewError> {
        let Some(until) = retention.until(views.elapsed().and(quiet)) else { return Ok(Round::Over) };
        let due = views.ended_executions(until, self.after, ENDED_AT_ONCE)?;
        let mut round = if due.len() < ENDED_AT_ONCE { Round::Over } else { Round::More };
        let parked = if due.is_empty() { BTreeSet::new() } else { parked_positions(views)? };
        let mut removal = Removal::default();
        let mut walked = self.after;
        for ended in due {
            let mut all = Belongings { views, rows: Vec::new(), executions: 0 };
            let reach = all.of(&ended, &parked)?;
            let Belongings { rows, executions, .. } = all;
            if reach != Reach::Stays {
                if !removal.rows.is_empty() && removal.rows.len() + rows.len() > ROWS_AT_ONCE {
                    // The next round begins with it.
                    round = Round::More;
                    break;
                }
                removal.rows.extend(rows);
                removal.executions += executions;
            }
            match reach {
                Reach::Stays => {}
                Reach::Whole => removal.ended.push(ended),
                Reach::Part => {
                    round = Round::More;
                    break;
                }
            }
            walked = Some(ended);
        }
        if removal != Removal::default() {
            // No row is removed twice, even if a log ended an execution twice.
            removal.rows.sort_unstable();
            removal.rows.dedup();
            views.take_out(&removal)?;
        }
        self.after = if round == Round::Over { None } else { walked };
        Ok(round)
    }
}

/// Returns the records to which parked reactions are owed.
fn parked_positions<V: RetainedViews + ?Sized>(views: &V) -> Result<BTreeSet<Position>, ViewError> {
    let mut query =
        ListQuery { limit: LIST_ROWS_MAX, order: Order::OldestFirst, ..ListQuery::newest(ViewName::ParkedReactions, RowReach::Everything) };
    let mut parked = BTreeSet::new();
    loop {
        let page = views.list(&query)?;
        for row in &page {
            parked.insert(row.read::<ParkedReaction>()?.of);
        }
        let Some(last) = page.last() else { return Ok(parked) };
        query.after = Some(last.position);
    }
}

/// How much of an execution's rows was collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// All rows.
    Whole,
    /// As many as a round removes.
    Part,
    /// It must stay.
    Stays,
}

/// The rows that are removed with an execution, in an order in which no row comes before the rows that are
/// found through it.
struct Belongings<'v, V: ?Sized> {
    views: &'v V,
    rows: Vec<(ViewName, Position)>,
    executions: u64,
}

impl<V: RetainedViews + ?Sized> Belongings<'_, V> {
    fn of(&mut self, ended: &EndedExecution, parked: &BTreeSet<Position>) -> Result<Reach, ViewError> {
        let letter = self.read::<DeadLetter>(ended.execution.0)?;
        let is_open = letter.as_ref().is_some_and(|letter| letter.status == LetterStatus::Open);
        let Some(execution) = self.read::<Execution>(ended.execution.0)? else {
            // An earlier round removed its row, without room for the rest; or it never existed because of an
            // internal error.
            return if is_open { Ok(Reach::Stays) } else { self.beneath(ended.execution, Beneath::UNKNOWN) };
        };
        let waits = is_open || parked.range(execution.position..=ended.at).next().is_some();
        if !execution.status.is_end() || waits || self.was_run_again(execution.id)? {
            return Ok(Reach::Stays);
        }
        self.take(&execution);
        self.rows.extend(letter.map(|letter| (ViewName::DeadLetters, letter.position)));
        // A rerun names the enforcement of the original execution, which stays as long as the original does.
        let own = execution.enforcement.filter(|_| execution.rerun_of.is_none());
        if let Some(enforcement) = own.map(|id| self.read::<Enforcement>(id.0)).transpose()?.flatten()
            && enforcement.life() == Life::Settled
        {
            self.rows.push((ViewName::Enforcements, enforcement.position));
        }
        self.beneath(execution.id, Beneath::of(&execution))
    }

    /// Returns true if a rerun of this execution exists: readers of the rerun also look at the original.
    fn was_run_again(&self, execution: ExecutionId) -> Result<bool, ViewError> {
        let query = ListQuery { limit: 1, ..ListQuery::newest(ViewName::Executions, RowReach::Everything) };
        Ok(!self.views.list(&query.with(Column::RerunOf, execution.to_string()))?.is_empty())
    }

    /// Collects what is found through a part of a workflow, and then the part itself.
    fn part(&mut self, execution: &Execution) -> Result<Reach, ViewError> {
        // The core ends a workflow last. Whatever has not ended stays, even after other errors.
        if !execution.status.is_end() {
            return Ok(Reach::Stays);
        }
        let reach = self.beneath(execution.id, Beneath::of(execution))?;
        if reach == Reach::Whole {
            self.take(execution);
        }
        Ok(reach)
    }

    fn take(&mut self, execution: &Execution) {
        self.rows.push((ViewName::Executions, execution.position));
        self.executions += 1;
    }

    fn beneath(&mut self, execution: ExecutionId, beneath: Beneath) -> Result<Reach, ViewError> {
        let mut reach = Reach::Whole;
        if beneath.steps {
            reach = self.each(ViewName::Executions, Column::Parent, execution, |all, row| all.part(&row.read()?))?;
        }
        if beneath.inquiry && reach == Reach::Whole {
            reach = self.each(ViewName::Inquiries, Column::Execution, execution, |all, row| {
                if row.read::<Inquiry>()?.status == InquiryStatus::Open {
                    return Ok(Reach::Stays);
                }
                all.rows.push((ViewName::Inquiries, row.position));
                Ok(Reach::Whole)
            })?;
        }
        if beneath.artifacts && reach == Reach::Whole {
            reach = self.each(ViewName::Artifacts, Column::Execution, execution, |all, row| {
                all.rows.push((ViewName::Artifacts, row.position));
                Ok(Reach::Whole)
            })?;
        }
        Ok(reach)
    }

    /// Visits the rows of a view with this execution in a column, oldest first, as long as there is room.
    fn each(
        &mut self,
        view: ViewName,
        column: Column,
        execution: ExecutionId,
        mut gather: impl FnMut(&mut Self, &Row) -> Result<Reach, ViewError>,
    ) -> Result<Reach, ViewError> {
        let mut query = ListQuery { order: Order::OldestFirst, limit: PAGE_ROWS, ..ListQuery::newest(view, RowReach::Everything) };
        query = query.with(column, execution.to_string());
        loop {
            let page = self.views.list(&query)?;
            for row in &page {
                if self.rows.len() + ROWS_SPARED > ROWS_AT_ONCE {
                    return Ok(Reach::Part);
                }
                let reach = gather(self, row)?;
                if reach != Reach::Whole {
                    return Ok(reach);
                }
            }
            let Some(last) = page.last().filter(|_| page.len() == PAGE_ROWS) else { return Ok(Reach::Whole) };
            query.after = Some(last.position);
        }
    }

    fn read<W: View>(&self, id: Id) -> Result<Option<W>, ViewError> {
        self.views.load(W::NAME, &[Term::Id(id)])?.first().map(Row::read).transpose()
    }
}

/// The kinds of rows to look for beneath an execution.
#[derive(Clone, Copy, Debug)]
struct Beneath {
    steps: bool,
    inquiry: bool,
    artifacts: bool,
}

impl Beneath {
    /// All kinds, for an execution whose own row is gone.
    const UNKNOWN: Self = Self { steps: true, inquiry: true, artifacts: true };

    fn of(execution: &Execution) -> Self {
        Self { steps: execution.pace == Pace::InSteps, inquiry: execution.inquiry.is_some(), artifacts: execution.artifacts > 0 }
    }
}
