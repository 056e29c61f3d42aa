//! Identities: the persons and services that hold tokens.
//!
//! Their names are in the vault. The log and the grants know only their ids.

use ensue_engine::access::people::GROUPS_MAX;
use ensue_engine::access::state::{self, Standing};
use ensue_engine::command::{Ask, NewAbsence};
use ensue_engine::explain::Explain;
use ensue_engine::ids::IdentityId;
use thiserror::Error;

use super::Routes;
use crate::auth::{AllowedCaller, Proof as _};
use crate::body;
use crate::call::{Call, Nothing};
use crate::listing;
use crate::operation::{Conditional, Content, MADE, Operation, Takes, WRITTEN};
use crate::paging::PageQuery;
use crate::permissions::{IdentitiesRead, IdentitiesWrite, InquiriesDelegate, Permission as _};
use crate::ports::{Access, AskedIdentity, AskedLink, Ports};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::Query;
use crate::respond::{self, WriteOutcome};
use crate::route::BASE;
use crate::wire::people::{WireAbsence, WireAskedAbsence, WireAskedIdentity, WireAskedLink, WireGroups, WireIdentity};

/// Too many groups.
#[derive(Debug, Error, Explain)]
#[error("an identity has at most {GROUPS_MAX} groups")]
#[explain(slug = "body-invalid", fault = Invalid, hint = "send only the groups that grants name")]
struct TooManyGroups;

/// The parameter that selects identities.
#[derive(Query)]
struct GroupQuery {
    /// Only identities of this group.
    group: Option<String>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<IdentitiesRead>(
        "/identities",
        list,
        Operation::lists::<WireIdentity>(
            "identity_list",
            "Lists identities by their names",
            &[GroupQuery::PARAMETERS, PageQuery::PARAMETERS],
        ),
    );
    routes.get::<IdentitiesRead>("/identities/{name}", get, Operation::shows::<WireIdentity>("identity_get", "Returns an identity"));
    routes.post::<IdentitiesWrite>(
        "/identities",
        add,
        Operation::new("identity_add", "Creates an identity")
            .takes_json::<WireAskedIdentity>(r#"{"name": "bo", "kind": "person", "groups": ["release"]}"#)
            .gives::<WireIdentity>(201, "The identity exists.", MADE)
            .refuses(&[(403, "beyond_own_rights"), (409, "name_taken"), (422, "name_invalid"), (409, "limit_reached")]),
    );
    routes.put::<IdentitiesWrite>(
        "/identities/{name}/groups",
        set_groups,
        Operation::new("identity_set_groups", "Sets all groups of an identity")
            .takes_json::<WireGroups>(r#"{"groups": ["release"]}"#)
            .gives::<WireIdentity>(200, "The identity is a member of these groups, and of no others.", WRITTEN)
            .refuses(&[(403, "beyond_own_rights"), (409, "last_admin")]),
    );
    routes.put::<IdentitiesWrite>(
        "/identities/{name}/absence",
        set_absence,
        Operation::new("identity_set_absence", "Sets when an identity is absent, and who answers inquiries in its place")
            .takes_json::<WireAskedAbsence>(r#"{"until": "2026-04-04T08:00:00Z", "deputy": "bo"}"#)
            .gives::<WireIdentity>(200, "The absence is set, or ended if the body has no field.", WRITTEN)
            .refuses(&[(403, "beyond_own_rights"), (422, "absence_invalid")]),
    );
    routes.put::<InquiriesDelegate>(
        "/me/absence",
        set_own_absence,
        Operation::new("me_set_absence", "Sets when the caller is absent, and who answers inquiries in its place")
            .takes_json::<WireAskedAbsence>(r#"{"until": "2026-04-04T08:00:00Z", "deputy": "bo"}"#)
            .gives::<WireIdentity>(200, "The absence is set, or ended if the body has no field.", WRITTEN)
            .refuses(&[(422, "absence_invalid")]),
    );
    routes.post::<IdentitiesWrite>(
        "/identities/{name}/issuers",
        link,
        Operation::new("identity_link", "Lets an issuer be a way in for an identity")
            .takes_json::<WireAskedLink>(r#"{"issuer": "corp", "subject": "4711"}"#)
            .gives::<WireIdentity>(200, "The issuer is a way in.", WRITTEN)
            .refuses(&[
                (403, "beyond_own_rights"),
                (409, "limit_reached"),
                (409, "name_taken"),
                (422, "issuer_unknown"),
                (422, "name_invalid"),
            ]),
    );
    routes.delete::<IdentitiesWrite>(
        "/identities/{name}/issuers/{issuer}",
        unlink,
        Operation::new("identity_unlink", "Removes an issuer as a way in for an identity").gives_content(
            204,
            "The identity cannot log in by the issuer anymore.",
            Content::Nothing,
            WRITTEN,
        ),
    );
    routes.post::<IdentitiesWrite>(
        "/identities/{name}/disable",
        disable,
        Operation::new("identity_disable", "Disables an identity: its tokens are not accepted")
            .takes(Takes::Empty)
            .gives::<WireIdentity>(200, "The identity is disabled.", WRITTEN)
            .refuses(&[(409, "last_admin")]),
    );
    routes.post::<IdentitiesWrite>(
        "/identities/{name}/enable",
        enable,
        Operation::new("identity_enable", "Enables a disabled identity")
            .takes(Takes::Empty)
            .gives::<WireIdentity>(200, "The identity is enabled.", WRITTEN)
            .refuses(&[(403, "beyond_own_rights")]),
    );
    routes.delete::<IdentitiesWrite>(
        "/identities/{name}",
        erase,
        Operation::new("identity_erase", "Erases an identity with its name, its tokens and the grants to it")
            .gives_content(204, "The identity no longer exists.", Content::Nothing, WRITTEN)
            .refuses(&[(409, "last_admin")])
            .honors_conditions(Conditional::Change),
    );
}

/// Lists identities by their names.
pub(super) async fn list(allowed: AllowedCaller<IdentitiesRead>, call: Call) -> Outcome {
    let access = &call.api().ports.access;
    let (directory, GroupQuery { group }) = (access.directory(), call.parameters()?);
    let in_group = directory
        .identities()
        .filter(|(_, identity)| group.as_ref().is_none_or(|group| identity.groups().any(|one| one.as_str() == group)));
    let mut named: Vec<(String, IdentityId)> = in_group.filter_map(|(id, _)| Some((access.name_of(*id)?, *id))).collect();
    named.sort();
    let listed = listing::of_catalog(&call, &allowed, named.into_iter(), |(name, _)| name.clone())?;
    let shown = listed.items.iter().filter_map(|(name, id)| to_wire(&**access, &directory, (*id, name)));
    call.answer_page(shown.collect(), listed.next.as_deref(), &listed.page)
}

/// Shows an identity.
pub(super) async fn get(_: AllowedCaller<IdentitiesRead>, call: Call) -> Outcome {
    let name = call.part("name");
    respond::json(&read(&call.api().ports, name)?.ok_or_else(|| Missing::new(IdentitiesRead::THING, name))?)
}

/// Reads what [`get`] shows.
fn read(ports: &Ports, name: &str) -> Result<Option<WireIdentity>, Problem> {
    let Some(id) = ports.access.identity_named(name) else { return Ok(None) };
    Ok(to_wire(&*ports.access, &ports.access.directory(), (id, name)))
}

fn to_wire(access: &dyn Access, directory: &state::Access, (id, name): (IdentityId, &str)) -> Option<WireIdentity> {
    let absence = directory.absence(&id).map(|absence| WireAbsence::new(absence, |deputy| access.name_of(deputy)));
    Some(WireIdentity::new(id, name.to_owned(), directory.identity(&id)?).with_absence(absence))
}

/// Creates an identity.
pub(super) async fn add(allowed: AllowedCaller<IdentitiesWrite>, mut call: Call) -> Outcome {
    if let Some((before, body)) = call.before().await? {
        let WireAskedIdentity { name, .. } = body::parse(&body)?;
        let made = read(&call.api().ports, &name)?.ok_or_else(|| Missing::new(IdentitiesRead::THING, &name))?;
        let response = respond::answer_write(WriteOutcome::Created, before.position, &made)?;
        return Ok(respond::with_location(response, &format!("{BASE}/identities/{name}")));
    }
    let WireAskedIdentity { name, kind, groups } = call.json().await?;
    if groups.len() > GROUPS_MAX {
        return Err(TooManyGroups.into());
    }
    let by = call.on_behalf(&allowed)?;
    let asked = AskedIdentity { name: name.clone(), kind: kind.into(), groups };
    let (_, committed) = call.api().threads.blocking(move |ports| ports.people.add(&asked, &by)).await??;
    let made = read(&call.api().ports, &name)?.ok_or_else(|| Missing::new(IdentitiesRead::THING, &name))?;
    let response = respond::answer_write(WriteOutcome::Created, committed.position, &made)?;
    Ok(respond::with_location(response, &format!("{BASE}/identities/{name}")))
}

/// Sets all groups of an identity.
pub(super) async fn set_groups(allowed: AllowedCaller<IdentitiesWrite>, mut call: Call) -> Outcome {
    let id = identity_of(&call)?;
    let WireGroups { groups } = call.json().await?;
    if groups.len() > GROUPS_MAX {
        return Err(TooManyGroups.into());
    }
    change(&allowed, &call, Ask::SetIdentityGroups { id, groups }).await
}

/// Sets when an identity is absent.
pub(super) async fn set_absence(allowed: AllowedCaller<IdentitiesWrite>, mut call: Call) -> Outcome {
    let id = identity_of(&call)?;
    let asked: WireAskedAbsence = call.json().await?;
    let absence = absence_of(&call, id, asked)?;
    change(&allowed, &call, Ask::SetAbsence(absence)).await
}

/// Sets when the caller is absent.
pub(super) async fn set_own_absence(allowed: AllowedCaller<InquiriesDelegate>, mut call: Call) -> Outcome {
    let asked: WireAskedAbsence = call.json().await?;
    let (id, name) = allowed.holder().identity.clone().ok_or_else(|| Missing::new(IdentitiesRead::THING, allowed.name()))?;
    let absence = absence_of(&call, id, asked)?;
    let committed = call.api().submit(call.on_behalf(&allowed)?, Ask::SetAbsence(absence)).await?;
    let now = read(&call.api().ports, &name)?.ok_or_else(|| Missing::new(IdentitiesRead::THING, &name))?;
    respond::answer_write(WriteOutcome::Done, committed.position, &now)
}

fn absence_of(call: &Call, id: IdentityId, asked: WireAskedAbsence) -> Result<NewAbsence, Problem> {
    let WireAskedAbsence { from, until, deputy } = asked;
    let named = |name: String| call.api().ports.access.identity_named(&name).ok_or_else(|| Missing::new(IdentitiesRead::THING, &name));
    Ok(NewAbsence { id, from, until, deputy: deputy.map(named).transpose()? })
}

/// Links an issuer to an identity.
pub(super) async fn link(allowed: AllowedCaller<IdentitiesWrite>, mut call: Call) -> Outcome {
    let id = identity_of(&call)?;
    let name = call.part("name").to_owned();
    if let Some((before, _)) = call.before().await? {
        let now = read(&call.api().ports, &name)?.ok_or_else(|| Missing::new(IdentitiesRead::THING, &name))?;
        return respond::answer_write(WriteOutcome::Done, before.position, &now);
    }
    let WireAskedLink { issuer, subject } = call.json().await?;
    let by = call.on_behalf(&allowed)?;
    let link = AskedLink { issuer, subject };
    let committed = call.api().threads.blocking(move |ports| ports.issuers.link(id, &link, &by)).await??;
    let now = read(&call.api().ports, &name)?.ok_or_else(|| Missing::new(IdentitiesRead::THING, &name))?;
    respond::answer_write(WriteOutcome::Done, committed.position, &now)
}

/// Unlinks an issuer from an identity.
pub(super) async fn unlink(allowed: AllowedCaller<IdentitiesWrite>, call: Call) -> Outcome {
    let id = identity_of(&call)?;
    let issuer = call.parse_part("issuer", "issuer of this identity")?;
    let by = allowed.on_behalf(call.context());
    let committed = call.api().threads.blocking(move |ports| ports.issuers.unlink(id, &issuer, &by)).await??;
    Ok(respond::no_content(committed.position))
}

/// Disables an identity.
pub(super) async fn disable(allowed: AllowedCaller<IdentitiesWrite>, call: Call) -> Outcome {
    set_standing(allowed, call, Standing::Disabled).await
}

/// Enables an identity.
pub(super) async fn enable(allowed: AllowedCaller<IdentitiesWrite>, call: Call) -> Outcome {
    set_standing(allowed, call, Standing::Enabled).await
}

async fn set_standing(allowed: AllowedCaller<IdentitiesWrite>, mut call: Call, standing: Standing) -> Outcome {
    let id = identity_of(&call)?;
    if let Some((before, _)) = call.before().await? {
        let name = call.part("name");
        let now = read(&call.api().ports, name)?.ok_or_else(|| Missing::new(IdentitiesRead::THING, name))?;
        return respond::answer_write(WriteOutcome::Done, before.position, &now);
    }
    let Nothing {} = call.json_or_nothing().await?;
    change(&allowed, &call, Ask::SetIdentityStanding { id, standing }).await
}

/// Erases an identity.
pub(super) async fn erase(allowed: AllowedCaller<IdentitiesWrite>, call: Call) -> Outcome {
    let name = call.part("name").to_owned();
    let by = allowed.on_behalf(call.context());
    let lock = call.lock::<IdentitiesRead, _>(&name, read).await?;
    let id = identity_of(&call)?;
    let erase = move |ports: &Ports| {
        let erased = ports.people.erase(id, &by);
        drop(lock);
        erased
    };
    let committed = call.api().threads.blocking(erase).await??;
    Ok(respond::no_content(committed.position))
}

fn identity_of(call: &Call) -> Result<IdentityId, Problem> {
    let name = call.part("name");
    Ok(call.api().ports.access.identity_named(name).ok_or_else(|| Missing::new(IdentitiesRead::THING, name))?)
}

/// Changes an identity, and shows it.
async fn change(allowed: &AllowedCaller<IdentitiesWrite>, call: &Call, ask: Ask) -> Outcome {
    let committed = call.api().submit(call.on_behalf(allowed)?, ask).await?;
    let name = call.part("name");
    let now = read(&call.api().ports, name)?.ok_or_else(|| Missing::new(IdentitiesRead::THING, name))?;
    respond::answer_write(WriteOutcome::Done, committed.position, &now)
}
