//! Enforcements: list them, and show one.

use ensue_engine::ids::EnforcementId;
use ensue_engine::record::StreamId;
use ensue_views::enforcements::{OutcomeName, ReleasedName};
use ensue_views::{Column, Enforcement, Execution, Filter};

use super::Routes;
use crate::as_of::{self, AsOfQuery};
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing::{self, IdQuery, SortQuery};
use crate::operation::Operation;
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::{EnforcementsRead, Permission as _};
use crate::problem::{Outcome, Problem};
use crate::query::{Query, words};
use crate::respond;
use crate::rows::read_row;
use crate::wire::embed_body;
use crate::wire::enforcements::WireEnforcement;

/// The parameters that select enforcements.
#[derive(Query)]
struct EnforcementQuery {
    /// Only those with one of these names.
    #[query(column)]
    rule: Vec<String>,
    /// Only those with this name or id.
    #[query(column)]
    event: Option<String>,
    /// Only those with one of these outcomes.
    #[query(column)]
    outcome: Vec<OutcomeName>,
    /// Only those that were held and became this. A request examines at most 500, so a page may hold fewer than `limit` and
    /// still have a `next`.
    became: Option<ReleasedName>,
}

words!(OutcomeName, ReleasedName);

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<EnforcementsRead>(
        "/enforcements",
        list,
        Operation::lists::<WireEnforcement>(
            "enforcement_list",
            "Lists enforcements, newest first",
            &[IdQuery::PARAMETERS, EnforcementQuery::PARAMETERS, PeriodQuery::PARAMETERS, SortQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views()
        .is_shared(),
    );
    routes.get::<EnforcementsRead>(
        "/enforcements/{id}",
        get,
        Operation::shows::<WireEnforcement>("enforcement_get", "Returns an enforcement with its rendered parameters")
            .with_query(&[AsOfQuery::PARAMETERS])
            .sees_views(),
    );
}

/// Lists enforcements, newest first.
pub(super) async fn list(allowed: AllowedCaller<EnforcementsRead>, call: Call) -> Outcome {
    let query: EnforcementQuery = call.parameters()?;
    let mut filters = query.filters();
    let listed = match query.became {
        None => listing::rows::<Enforcement, _>(&call, &allowed, filters).await?,
        Some(wanted) => {
            filters.push(Filter::is(Column::Outcome, OutcomeName::Held.as_str()));
            let keep = |enforcement: &Enforcement| enforcement.became.is_some_and(|became| became.outcome == wanted);
            listing::rows_picked(&call, &allowed, filters, allowed.rows(), keep).await?
        }
    };
    let items = listed.items.into_iter().map(WireEnforcement::for_list).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows an enforcement with the parameters that it requested.
pub(super) async fn get(allowed: AllowedCaller<EnforcementsRead>, call: Call) -> Outcome {
    let id: EnforcementId = call.parse_part("id", EnforcementsRead::THING)?;
    let enforcement: Enforcement = call.api().row(id.to_string(), EnforcementsRead::THING, allowed.rows()).await?;
    let enforcement =
        as_of::as_asked((call.api(), call.as_of()), (enforcement, id), EnforcementsRead::THING, StreamId::Enforcement(id)).await?;
    let (execution, as_of) = (enforcement.execution, call.as_of());
    let inputs = call
        .api()
        .threads
        .blocking(move |ports| {
            // The parameters are stored with the execution that they were rendered for.
            let Some(execution) = execution else { return Ok(None) };
            let execution = read_row::<Execution>(ports, &execution.to_string())?;
            let Some(execution) = execution.filter(|execution| as_of.is_none_or(|at| execution.position <= at)) else { return Ok(None) };
            let Some(params) = execution.params else { return Ok(None) };
            Ok::<_, Problem>(ports.log.body(params.position)?)
        })
        .await??;
    respond::json(&WireEnforcement::whole(enforcement, inputs.as_ref().map(embed_body)))
}
