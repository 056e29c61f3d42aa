//! Enforcements: list them, and show one.

use ensue_engine::ids::EnforcementId;
use ensue_engine::record::StreamId;
use ensue_views::enforcements::{OutcomeName, ReleasedName};
use ensue_views::{Column, Enforcement, Execution, Filter};

use super::Routes;
use crate::as_of::{self, AS_OF};
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing;
use crate::operation::Operation;
use crate::permissions::{EnforcementsRead, Permission as _};
use crate::problem::{Outcome, Problem};
use crate::respond;
use crate::rows::read_row;
use crate::wire::embed_body;
use crate::wire::enforcements::WireEnforcement;

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<EnforcementsRead>(
        "/enforcements",
        list,
        Operation::lists::<WireEnforcement>(
            "enforcement_list",
            "Lists enforcements, newest first",
            &["id", "rule", "event", "outcome", "became", "since", "until", "sort", "limit", "cursor"],
        )
        .sees_views()
        .is_shared(),
    );
    routes.get::<EnforcementsRead>(
        "/enforcements/{id}",
        get,
        Operation::shows::<WireEnforcement>("enforcement_get", "Returns an enforcement with its rendered parameters")
            .with_query(&[AS_OF])
            .sees_views(),
    );
}

/// Lists enforcements, newest first.
pub(super) async fn list(allowed: AllowedCaller<EnforcementsRead>, call: Call) -> Outcome {
    let query = call.query();
    query.each_of("outcome", &OutcomeName::ALL.map(|outcome| (outcome.as_str(), outcome)))?;
    let columns = [Column::Rule, Column::Event, Column::Outcome];
    let listed = match query.one_of("became", &ReleasedName::ALL.map(|name| (name.as_str(), name)))? {
        None => listing::rows::<Enforcement, _>(&call, &allowed, &columns).await?,
        Some(wanted) => {
            let held = Filter::is(Column::Outcome, OutcomeName::Held.as_str());
            let keep = |enforcement: &Enforcement| enforcement.became.is_some_and(|became| became.outcome == wanted);
            listing::rows_picked(&call, &allowed, &columns, vec![held], allowed.rows(), keep).await?
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
