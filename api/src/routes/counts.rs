//! Counts: how many executions there are, in groups.

use std::collections::BTreeSet;

use ensue_views::store::{CountQuery, ListQuery};
use ensue_views::{Column, ViewName};

use super::Routes;
use super::executions::ExecutionQuery;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing::{self, IdQuery};
use crate::operation::Operation;
use crate::period::PeriodQuery;
use crate::permissions::ExecutionsRead;
use crate::problem::Outcome;
use crate::query::{Query, Word, words};
use crate::respond;
use crate::wire::counts::WireCounts;

/// The parameters that say what is counted.
#[derive(Query)]
struct CountedQuery {
    /// What is counted. Required.
    #[query(required = "must be given: it names what is counted, `executions`")]
    of: CountedView,
    /// The values that make a group. Without it, all are one group.
    by: Vec<GroupColumn>,
}

/// What can be counted.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CountedView(ViewName);

words!(CountedView ["executions" => Self(ViewName::Executions)]);

/// A column by which executions can be counted.
#[derive(Clone, Copy, PartialEq, Eq)]
struct GroupColumn(Column);

impl Word for GroupColumn {
    fn words() -> Vec<(&'static str, Self)> {
        [Column::Status, Column::Action, Column::Rule].map(|column| (column.as_str(), Self(column))).to_vec()
    }
}

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ExecutionsRead>(
        "/counts",
        get,
        Operation::shows::<WireCounts>("count_get", "Counts executions in groups")
            .with_query(&[CountedQuery::PARAMETERS, IdQuery::PARAMETERS, ExecutionQuery::PARAMETERS, PeriodQuery::PARAMETERS])
            .sees_views(),
    );
}

/// Counts executions.
pub(super) async fn get(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let CountedQuery { of, by } = call.parameters()?;
    let mut by: Vec<Column> = by.into_iter().map(|GroupColumn(column)| column).collect();
    let mut seen = BTreeSet::new();
    by.retain(|column| seen.insert(*column));
    let filters = call.parameters::<ExecutionQuery>()?.filters();
    let rows = ListQuery { filters, ..listing::list_query(call.query(), of.0, allowed.rows())? };
    let count = CountQuery { rows, by: by.clone() };
    let counts = call.api().threads.blocking(move |ports| ports.views.count(&count)).await??;
    respond::json(&WireCounts::new(&by, counts))
}
