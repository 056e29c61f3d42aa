//! Vars: list them, set them and remove them.

use ensue_engine::command::{Ask, SeenVar};
use ensue_engine::explain::Explain;
use ensue_engine::names::{NameError, VarName};
use ensue_engine::record::{Body, Position};
use ensue_views::RowReach;
use ensue_views::Var;
use thiserror::Error;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::conditions::Condition;
use crate::listing::{self, SortQuery};
use crate::operation::{Conditional, Content, Operation, SET, WRITTEN};
use crate::paging::PageQuery;
use crate::permissions::{Permission as _, VarsRead, VarsWrite};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::respond::{self, WriteOutcome};
use crate::rows::read_row;
use crate::wire::vars::{WireSetVar, WireVar, WireVarValue};

/// Why a var cannot be set.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "var-invalid", fault = Invalid)]
enum VarInvalid {
    /// The name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The value is invalid.
    #[error("the value is null, which a var cannot have")]
    #[explain(hint = "send another value, or remove the var with `DELETE`")]
    Null,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<VarsRead>(
        "/vars",
        list,
        Operation::lists::<WireVar>(
            "var_list",
            "Lists the vars that have a value, with their values",
            &[SortQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
    routes.get::<VarsRead>(
        "/vars/{name}",
        get,
        Operation::shows::<WireVar>("var_get", "Returns a var with its value, when it was set, and by whom").sees_views(),
    );
    routes.put::<VarsWrite>(
        "/vars/{name}",
        set,
        Operation::new("var_set", "Sets a var")
            .takes_json::<WireVarValue>(r#"{"value": {"page": 7}}"#)
            .gives::<WireSetVar>(201, "The var had no value before.", SET)
            .gives::<WireSetVar>(200, "The value of the var was replaced.", SET)
            .refuses(&[(409, "too_many_vars"), (413, "too_large_to_record"), (422, "var_invalid")])
            .honors_conditions(Conditional::MakingOrChange),
    );
    routes.delete::<VarsWrite>(
        "/vars/{name}",
        remove,
        Operation::new("var_remove", "Removes the value of a var")
            .gives_content(204, "The var no longer has a value.", Content::Nothing, WRITTEN)
            .honors_conditions(Conditional::Change),
    );
}

/// Lists the vars that have a value, most recently set first.
pub(super) async fn list(allowed: AllowedCaller<VarsRead>, call: Call) -> Outcome {
    let listed = listing::rows::<Var, _>(&call, &allowed, Vec::new()).await?;
    let (rows, next, page) = (listed.items, listed.next, listed.page);
    let items =
        call.api().threads.blocking(move |ports| rows.into_iter().map(|var| to_wire(ports, var)).collect::<Result<Vec<_>, _>>()).await??;
    call.answer_page(items, next.as_deref(), &page)
}

/// Shows a var with its value.
pub(super) async fn get(_: AllowedCaller<VarsRead>, call: Call) -> Outcome {
    let name: VarName = call.parse_part("name", VarsRead::THING)?;
    let var: Var = call.api().row(name.to_string(), VarsRead::THING, RowReach::Everything).await?;
    respond::json(&call.api().threads.blocking(move |ports| to_wire(ports, var)).await??)
}

/// Reads what [`get`] shows. Blocking.
fn read(ports: &Ports, name: &str) -> Result<Option<WireVar>, Problem> {
    read_row::<Var>(ports, name)?.map(|var| to_wire(ports, var)).transpose()
}

fn to_wire(ports: &Ports, var: Var) -> Result<WireVar, Problem> {
    let value = var.value.map(|value| ports.log.body(value.position)).transpose()?.flatten();
    Ok(WireVar::new(var, value.as_ref()))
}

/// Sets a var.
pub(super) async fn set(allowed: AllowedCaller<VarsWrite>, mut call: Call) -> Outcome {
    let name: VarName = call.part("name").parse().map_err(VarInvalid::from)?;
    let WireVarValue { value } = call.json().await?;
    if value.get() == "null" {
        return Err(VarInvalid::Null.into());
    }
    let (before, seen) = before(&call, &name).await?;
    let lock = call.lock::<VarsRead, _>(name.as_str(), read).await?;
    let by = allowed.on_behalf(call.context());
    let ask = Ask::SetVar { name: name.clone(), value: Body::json(value.get().to_owned()), seen };
    let position = call.api().submit_locked(lock, by, ask).await?.position;
    let how = if before.is_none() { WriteOutcome::Created } else { WriteOutcome::Done };
    let answer = respond::answer_write(how, position, &WireSetVar { name: name.clone(), position })?;
    let answer = respond::with_location(answer, &format!("{}/vars/{name}", crate::route::BASE));
    let as_set = move |ports: &Ports| {
        let var = read_row::<Var>(ports, name.as_str())?.filter(|var| var.position == position);
        var.map(|var| to_wire(ports, var)).transpose()
    };
    Ok(call.with_new_tag(answer, position, as_set).await)
}

/// Removes a var's value.
pub(super) async fn remove(allowed: AllowedCaller<VarsWrite>, call: Call) -> Outcome {
    let name: VarName = call.parse_part("name", VarsRead::THING)?;
    let (_, seen) = before(&call, &name).await?;
    let lock = call.lock::<VarsRead, _>(name.as_str(), read).await?;
    let by = allowed.on_behalf(call.context());
    let committed = call.api().submit_locked(lock, by, Ask::RemoveVar { name, seen }).await?;
    Ok(respond::no_content(committed.position))
}

/// Returns a var as it is read now, and, if the caller set a condition, the state that the log must still see:
/// executions change vars without holding the API's locks. The condition is checked after this read, so that
/// one of the two checks catches any change in between.
async fn before(call: &Call, name: &VarName) -> Result<(Option<Var>, SeenVar), Problem> {
    if *call.condition() != Condition::None {
        call.api().see_all().await?;
    }
    let of_name = name.to_string();
    let before = call.api().threads.blocking(move |ports| read_row::<Var>(ports, &of_name)).await??;
    let seen = seen_by(call.condition(), before.as_ref().map(|var| var.position));
    Ok((before, seen))
}

/// Returns the state that the log must find for a var that was last set at a position.
fn seen_by(condition: &Condition, at: Option<Position>) -> SeenVar {
    match (condition, at) {
        (Condition::None, _) => SeenVar::Anyhow,
        (Condition::There, Some(_)) => SeenVar::There,
        (Condition::Tagged(_) | Condition::NotThere, Some(at)) => SeenVar::At(at),
        (Condition::There | Condition::Tagged(_) | Condition::NotThere, None) => SeenVar::NotThere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_on_a_var_reaches_the_log() {
        let (at, tagged) = (Position(7), Condition::Tagged(vec!["\"a\"".to_owned()]));
        assert_eq!(seen_by(&Condition::None, Some(at)), SeenVar::Anyhow);
        assert_eq!(seen_by(&Condition::There, Some(at)), SeenVar::There);
        assert_eq!(seen_by(&tagged, Some(at)), SeenVar::At(at));
        for condition in [Condition::There, tagged, Condition::NotThere] {
            assert_eq!(seen_by(&condition, None), SeenVar::NotThere);
        }
    }
}
