//! Retention: what ended long enough ago leaves the views, the oldest first, a round at a time. The log keeps it.
//!
//! An execution goes with all that belongs to it alone: its artifacts, its inquiry, its dead letter, the enforcement that asked for it. The
//! parts of a workflow go with the outermost one. What somebody has still to deal with keeps it: a dead letter that is open, a reaction
//! that is parked; and so does an execution that runs it again. Time is the log's own, of its newest record and without the steps of the clock: what goes follows from the log alone, and
//! views that are built anew come to the same. Nothing is remembered that a kill could lose: whoever begins anew walks once more.

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
pub use crate::removal::{Elapsed, Ended, Removal, Removed};
use crate::store::{LIST_ROWS_MAX, ListQuery, Order, Row, ViewError, ViewStore};
use crate::view::{Column, Life, Term, View, ViewName};

/// The most rows that a round takes out.
pub const ROWS_AT_ONCE: usize = 1_000;
/// The most ended executions that a round looks at.
pub const ENDED_AT_ONCE: usize = 1_000;
/// The room that is left for those whose turn comes once all beneath them is gathered: a row for each workflow around, of which there are
/// 16 at the most, and what is the outermost one's own.
const ROWS_SPARED: usize = 24;
/// How many parts or artifacts are read at once.
const PAGE_ROWS: usize = 100;

/// How long what has ended stays in the views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewRetention {
    /// Executions, from the end of the outermost one; none means for ever.
    pub executions: Option<Duration>,
}

impl ViewRetention {
    /// Gives until when an execution must have ended to go now; none where none goes.
    pub fn until(&self, now: Elapsed) -> Option<i64> {
        let keep = i64::try_from(self.executions?.as_micros()).unwrap_or(i64::MAX);
        Some(now.micros().saturating_sub(keep))
    }
}

/// Views from which what is old is taken out, as their one follower holds them.
pub trait RetainedViews: ViewStore {
    /// Gives the rows that a query asks for, at most [`LIST_ROWS_MAX`].
    fn list(&self, query: &ListQuery) -> Result<Vec<Row>, ViewError>;
    /// Gives the outermost executions that ended no later than `until`, those after `after`, the first that ended first.
    fn ended(&self, until: i64, after: Option<Ended>, limit: usize) -> Result<Vec<Ended>, ViewError>;
    /// Takes rows out, all or nothing; the position stays.
    fn take_out(&mut self, removal: &Removal) -> Result<(), ViewError>;
    /// Gives how much was taken out since these views were begun.
    fn removed(&self) -> Removed;
}

/// A walk over what ended long enough ago, from the oldest on.
#[derive(Debug, Default)]
pub struct Walk {
    after: Option<Ended>,
}

/// Where a walk stands after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// There may be more to take out.
    More,
    /// All that may go has gone.
    Over,
}

impl Walk {
    /// Takes out what comes next: at most [`ROWS_AT_ONCE`] rows. What belongs together goes together; only a workflow of more rows than that
    /// goes in several rounds, the outermost execution first, so that nobody who looks at it sees a part of its steps.
    ///
    /// `quiet` is how long ago the newest record was folded, as far as the caller knows: time passes also where nothing is recorded.
    pub fn round<V: RetainedViews + ?Sized>(
        &mut self,
        views: &mut V,
        retention: ViewRetention,
        quiet: Duration,
    ) -> Result<Round, ViewError> {
        let Some(until) = retention.until(views.elapsed().and(quiet)) else { return Ok(Round::Over) };
        let due = views.ended(until, self.after, ENDED_AT_ONCE)?;
        let mut round = if due.len() < ENDED_AT_ONCE { Round::Over } else { Round::More };
        let parked = if due.is_empty() { BTreeSet::new() } else { parked(views)? };
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
            // Nothing is taken out twice, even where a log should have ended an execution twice.
            removal.rows.sort_unstable();
            removal.rows.dedup();
            views.take_out(&removal)?;
        }
        self.after = if round == Round::Over { None } else { walked };
        Ok(round)
    }
}

/// Gives the records that parked reactions are owed to.
fn parked<V: RetainedViews + ?Sized>(views: &V) -> Result<BTreeSet<Position>, ViewError> {
    let mut query = ListQuery { limit: LIST_ROWS_MAX, order: Order::OldestFirst, ..ListQuery::newest(ViewName::ParkedReactions) };
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

/// How much of what belongs to an execution was gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// All of it.
    Whole,
    /// As much as a round takes.
    Part,
    /// It may not go.
    Stays,
}

/// What goes with an execution, gathered such that nothing comes before what is found by it.
struct Belongings<'v, V: ?Sized> {
    views: &'v V,
    rows: Vec<(ViewName, Position)>,
    executions: u64,
}

impl<V: RetainedViews + ?Sized> Belongings<'_, V> {
    fn of(&mut self, ended: &Ended, parked: &BTreeSet<Position>) -> Result<Reach, ViewError> {
        let letter = self.read::<DeadLetter>(ended.execution.0)?;
        let is_open = letter.as_ref().is_some_and(|letter| letter.status == LetterStatus::Open);
        let Some(execution) = self.read::<Execution>(ended.execution.0)? else {
            // Its own row went with an earlier round, which had no room for the rest; or there never was one, for a bug of ours.
            return if is_open { Ok(Reach::Stays) } else { self.beneath(ended.execution, Beneath::UNKNOWN) };
        };
        let waits = is_open || parked.range(execution.position..=ended.at).next().is_some();
        if !execution.status.is_end() || waits || self.was_run_again(execution.id)? {
            return Ok(Reach::Stays);
        }
        self.take(&execution);
        self.rows.extend(letter.map(|letter| (ViewName::DeadLetters, letter.position)));
        // A rerun names the enforcement of the first, which stays as long as it.
        let own = execution.enforcement.filter(|_| execution.rerun_of.is_none());
        if let Some(enforcement) = own.map(|id| self.read::<Enforcement>(id.0)).transpose()?.flatten()
            && enforcement.life() == Life::Settled
        {
            self.rows.push((ViewName::Enforcements, enforcement.position));
        }
        self.beneath(execution.id, Beneath::of(&execution))
    }

    /// Says whether there is an execution that runs this one again: who looks at it looks at this one as well.
    fn was_run_again(&self, execution: ExecutionId) -> Result<bool, ViewError> {
        let query = ListQuery { limit: 1, ..ListQuery::newest(ViewName::Executions) };
        Ok(!self.views.list(&query.with(Column::RerunOf, execution.to_string()))?.is_empty())
    }

    /// Gathers what is found by an execution, then, of a part of a workflow, it itself.
    fn part(&mut self, execution: &Execution) -> Result<Reach, ViewError> {
        // The core ends a workflow last; what has not ended stays whatever else is wrong.
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

    /// Goes through the rows of a view that have an execution in a column, the oldest first, as long as there is room.
    fn each(
        &mut self,
        view: ViewName,
        column: Column,
        execution: ExecutionId,
        mut gather: impl FnMut(&mut Self, &Row) -> Result<Reach, ViewError>,
    ) -> Result<Reach, ViewError> {
        let mut query = ListQuery { order: Order::OldestFirst, limit: PAGE_ROWS, ..ListQuery::newest(view) };
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

/// What is looked for that belongs to an execution.
#[derive(Clone, Copy, Debug)]
struct Beneath {
    steps: bool,
    inquiry: bool,
    artifacts: bool,
}

impl Beneath {
    /// What may belong to one whose own row is gone.
    const UNKNOWN: Self = Self { steps: true, inquiry: true, artifacts: true };

    fn of(execution: &Execution) -> Self {
        Self { steps: execution.pace == Pace::InSteps, inquiry: execution.inquiry.is_some(), artifacts: execution.artifacts > 0 }
    }
}
