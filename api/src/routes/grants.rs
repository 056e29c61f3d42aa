//! Grants: which subject has which role, for what, and until when.

use ensue_engine::access::limit::{Limit, LimitError};
use ensue_engine::access::subject::Subject;
use ensue_engine::command::{Ask, FirstAnswer, NewGrant};
use ensue_engine::explain::Explain;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{GrantId, Id};
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::Position;
use thiserror::Error;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::deliveries;
use crate::listing;
use crate::operation::{Conditional, Content, MADE, Operation, WRITTEN};
use crate::paging::PageQuery;
use crate::permissions::{GrantsRead, GrantsWrite, IdentitiesRead, Permission as _};
use crate::ports::{Access, Ports};
use crate::problem::{FieldError, Missing, Outcome, Problem, quote};
use crate::query::{Query, bad};
use crate::respond::{self, WriteOutcome};
use crate::route::BASE;
use crate::shapes::SUBJECT;
use crate::wire::people::{WireAskedGrant, WireGrant};
use serde_json::json;

/// A grant that cannot be made.
#[derive(Debug, Error, Explain)]
#[explain(fault = Invalid)]
enum GrantInvalid {
    /// The limit is invalid.
    #[error(transparent)]
    #[explain(slug = "limit-invalid", hint = "write, for example, {{\"packs\": [\"release\"]}}, or leave it out to cover everything")]
    Limit(#[from] LimitError),
    /// The subject has another form.
    #[error("`{0}` is not a subject; write `identity:<name>`, `group:<name>` or `everyone`")]
    #[explain(slug = "body-invalid", hint = "list the identities with `ensue identities list`")]
    Subject(String),
    /// The grant would have ended already.
    #[error("`until` is in the past")]
    #[explain(slug = "body-invalid", hint = "use a time in the future, or leave it out")]
    Past,
}

/// The parameters that select grants.
#[derive(Query)]
struct GrantQuery {
    /// Only grants to this subject: `identity:<name>`, `group:<name>` or `everyone`.
    #[query(schema = json!({ "type": "string", "pattern": SUBJECT }))]
    subject: Option<String>,
    /// Only grants of this role.
    role: Option<String>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<GrantsRead>(
        "/grants",
        list,
        Operation::lists::<WireGrant>("grant_list", "Lists grants, oldest first", &[GrantQuery::PARAMETERS, PageQuery::PARAMETERS]),
    );
    routes.get::<GrantsRead>("/grants/{id}", get, Operation::shows::<WireGrant>("grant_get", "Returns a grant"));
    routes.post::<GrantsWrite>(
        "/grants",
        add,
        Operation::new("grant_add", "Grants a role")
            .takes_json::<WireAskedGrant>(
                r#"{"subject": "group:release", "role": "author", "on": {"packs": ["release"]}, "until": "2100-01-01T00:00:00Z"}"#,
            )
            .gives::<WireGrant>(201, "The role is granted.", MADE)
            .refuses(&[(403, "beyond_own_rights"), (404, "not_found"), (409, "limit_reached"), (422, "limit_invalid")]),
    );
    routes.delete::<GrantsWrite>(
        "/grants/{id}",
        remove,
        Operation::new("grant_remove", "Removes a grant")
            .gives_content(204, "The grant was removed.", Content::Nothing, WRITTEN)
            .refuses(&[(409, "last_admin")])
            .honors_conditions(Conditional::Change),
    );
}

/// Lists grants.
pub(super) async fn list(allowed: AllowedCaller<GrantsRead>, call: Call) -> Outcome {
    let GrantQuery { subject, role } = call.parameters()?;
    let access = &call.api().ports.access;
    let subject = match subject.map(|text| subject_of(&**access, &text)).transpose() {
        Ok(subject) => subject,
        // There is no grant to an identity that does not exist.
        Err(problem) if problem.code() == "not_found" => {
            let listed = listing::of_catalog(&call, &allowed, std::iter::empty::<WireGrant>(), |grant| grant.id().to_string())?;
            return call.answer_page(listed.items, None, &listed.page);
        }
        Err(_) => return Err(bad("subject", "is not `identity:<name>`, `group:<name>` or `everyone`").into()),
    };
    let directory = access.directory();
    let fitting = directory.grants().filter(|(_, grant)| {
        subject.as_ref().is_none_or(|subject| grant.subject == *subject) && role.as_ref().is_none_or(|role| grant.role.as_str() == role)
    });
    let shown = fitting.map(|(id, grant)| WireGrant::new(*id, grant, |id| access.name_of(id)));
    let listed = listing::of_catalog(&call, &allowed, shown, |grant| grant.id().to_string())?;
    call.answer_page(listed.items, listed.next.as_deref(), &listed.page)
}

/// Shows a grant.
pub(super) async fn get(_: AllowedCaller<GrantsRead>, call: Call) -> Outcome {
    let name = call.part("id");
    respond::json(&read(&call.api().ports, name)?.ok_or_else(|| Missing::new(GrantsRead::THING, name))?)
}

/// Reads what [`get`] shows.
fn read(ports: &Ports, id: &str) -> Result<Option<WireGrant>, Problem> {
    let Ok(id) = id.parse::<GrantId>() else { return Ok(None) };
    let directory = ports.access.directory();
    Ok(directory.grant(&id).map(|grant| WireGrant::new(id, grant, |id| ports.access.name_of(id))))
}

/// Grants a role.
pub(super) async fn add(allowed: AllowedCaller<GrantsWrite>, mut call: Call) -> Outcome {
    if let Some((before, _)) = call.before().await? {
        let made = call.api().threads.blocking(move |ports| made_before(ports, &before)).await??;
        return answer(made.0, &made.1);
    }
    let WireAskedGrant { subject, role, on, until } = call.json().await?;
    let access = &call.api().ports.access;
    let subject = subject_of(&**access, &subject)?;
    let on: Option<Limit> = on.map(|on| on.into_limit()).transpose().map_err(|why| at("/on", why.into()))?;
    if until.is_some_and(|until| until <= access.now()) {
        return Err(at("/until", GrantInvalid::Past));
    }
    let id = GrantId(fresh_id()?);
    let ask = Ask::AddGrant(NewGrant { id, subject, role, on, until });
    let committed = call.api().submit(call.on_behalf(&allowed)?, ask).await?;
    let made = read(&call.api().ports, &id.to_string())?.ok_or_else(|| Missing::new(GrantsRead::THING, &id.to_string()))?;
    answer(committed.position, &made)
}

fn answer(position: Position, made: &WireGrant) -> Outcome {
    let response = respond::answer_write(WriteOutcome::Created, position, made)?;
    Ok(respond::with_location(response, &format!("{BASE}/grants/{}", made.id())))
}

/// Returns what the first request of a key granted. Blocking.
fn made_before(ports: &Ports, before: &FirstAnswer) -> Result<(Position, WireGrant), Problem> {
    let record = ports.log.read(Position(before.position.0.saturating_sub(1)), ReadLimit { records: 1, bytes: 1 })?.pop();
    match record.map(|record| record.fact) {
        Some(Fact::GrantAdded(fact)) => {
            let grant = ensue_engine::access::state::Grant { subject: fact.subject, role: fact.role, on: fact.on, until: fact.until };
            Ok((before.position, WireGrant::new(fact.id, &grant, |id| ports.access.name_of(id))))
        }
        _ => Err(Problem::bug(&format!("there is no grant at position {}", before.position))),
    }
}

/// Removes a grant.
pub(super) async fn remove(allowed: AllowedCaller<GrantsWrite>, call: Call) -> Outcome {
    let id: GrantId = call.parse_part("id", GrantsWrite::THING)?;
    let lock = call.lock::<GrantsRead, _>(&id.to_string(), read).await?;
    let committed = call.api().submit_locked(lock, allowed.on_behalf(call.context()), Ask::RemoveGrant(id)).await?;
    Ok(respond::no_content(committed.position))
}

/// Parses a subject as callers write it: an identity by its name.
fn subject_of(access: &dyn Access, text: &str) -> Result<Subject, Problem> {
    let invalid = || at("/subject", GrantInvalid::Subject(quote(text)));
    match text.split_once(':') {
        None if text == "everyone" => Ok(Subject::Everyone),
        Some(("group", name)) => name.parse().map(Subject::Group).map_err(|_| invalid()),
        Some(("identity", name)) => {
            let id = access.identity_named(name).ok_or_else(|| Missing::new(IdentitiesRead::THING, name))?;
            Ok(Subject::Identity(id))
        }
        None | Some(_) => Err(invalid()),
    }
}

fn at(pointer: &str, why: GrantInvalid) -> Problem {
    let message = why.to_string();
    Problem::from(why).with_errors([FieldError { pointer: pointer.to_owned(), message }])
}

fn fresh_id() -> Result<Id, Problem> {
    let mut entropy = [0; 16];
    getrandom::fill(&mut entropy).map_err(|why| Problem::bug(&why))?;
    Ok(Id::root(deliveries::now(), u128::from_le_bytes(entropy)))
}
