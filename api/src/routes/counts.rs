//! Counts: how many executions there are, in groups.

use std::collections::BTreeSet;

use ensue_views::store::{CountQuery, ListQuery};
use ensue_views::{Column, ViewName};

use super::{Routes, executions};
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing;
use crate::operation::Operation;
use crate::permissions::ExecutionsRead;
use crate::problem::Outcome;
use crate::query::bad;
use crate::respond;
use crate::wire::counts::WireCounts;

/// What can be counted.
pub(crate) const COUNTED: [(&str, ViewName); 1] = [("executions", ViewName::Executions)];

/// The values by which executions can be counted.
pub(crate) const BY: [(&str, Column); 3] = [("status", Column::Status), ("action", Column::Action), ("rule", Column::Rule)];

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ExecutionsRead>(
        "/counts",
        get,
        Operation::shows::<WireCounts>("count_get", "Counts executions in groups")
            .with_query(&["of", "by", "id", "status", "action", "rule", "label", "correlation", "parent", "rerun_of", "since", "until"])
            .sees_views(),
    );
}

/// Counts executions.
pub(super) async fn get(allowed: AllowedCaller<ExecutionsRead>, call: Call) -> Outcome {
    let query = call.query();
    let view = query.one_of("of", &COUNTED)?.ok_or_else(|| bad("of", "must be given: it names what is counted, `executions`"))?;
    let mut by = query.each_of("by", &BY)?;
    let mut seen = BTreeSet::new();
    by.retain(|column| seen.insert(*column));
    executions::check_status(query)?;
    let mut filters = executions::label_filters(query)?;
    let columns = [Column::Status, Column::Action, Column::Rule, Column::Correlation, Column::Parent, Column::RerunOf];
    filters.extend(listing::column_filters(query, &columns));
    let rows = ListQuery { filters, ..listing::list_query(query, view, allowed.rows())? };
    let count = CountQuery { rows, by: by.clone() };
    let counts = call.api().threads.blocking(move |ports| ports.views.count(&count)).await??;
    respond::json(&WireCounts::new(&by, counts))
}
