//! Tokens: list them, create them and revoke them. A secret is shown once, on creation.

use ensue_views::RowReach;
use std::time::Duration;

use axum::http::Method;
use ensue_engine::command::Refusal;
use ensue_engine::explain::Explain;
use ensue_engine::ids::IdentityId;
use ensue_engine::record::CredentialId;
use ensue_views::store::{Filter, ListQuery};
use ensue_views::tokens::TokenStatus;
use ensue_views::{Column, Token, View as _};
use thiserror::Error;

use super::Routes;
use crate::auth::{AllowedCaller, KnownCaller, Proof as _, Secrecy};
use crate::body;
use crate::call::Call;
use crate::listing::{self, SortQuery};
use crate::operation::{BodyPresence, Conditional, Content, MADE, Operation, Takes, WRITTEN, schema_of};
use crate::paging::PageQuery;
use crate::permissions::{IdentitiesRead, Permission as _, TokensRead, TokensWrite};
use crate::ports::{AskedToken, MadeToken, Ports};
use crate::problem::{FieldError, Missing, Outcome, Problem};
use crate::query::Query;
use crate::respond::{self, WriteOutcome};
use crate::wire::tokens::{WireAskedToken, WireNewToken, WireRotation, WireToken};

/// How long the old token stays valid if the request does not say.
const OVERLAP_DEFAULT: Duration = Duration::from_secs(3600);
/// The longest time that the old token can stay valid.
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A request that was carried out before, whose secret is no longer known.
#[derive(Debug, Error, Explain)]
#[error("this request already replaced the token `{0}`, and the secret of its successor was shown then")]
#[explain(slug = "secret-shown", fault = Conflict, hint = "if the answer was lost, replace the token again with another `Idempotency-Key`")]
struct SecretShown(String);

/// A token that would allow nothing.
#[derive(Debug, Error, Explain)]
#[error("the token would allow nothing: it has no roles, no identity and no scopes")]
#[explain(slug = "body-invalid", fault = Invalid, hint = r#"send `roles`, for example `["viewer"]`, or `identity`, or `scopes`"#)]
struct AllowsNothing;

/// An overlap that is too long.
#[derive(Debug, Error, Explain)]
#[error("`overlap` is over 30 days, the longest time that a replaced token can stay valid")]
#[explain(slug = "body-invalid", fault = Invalid, hint = "send a shorter one, such as `24h`")]
struct OverlapTooLong;

/// The parameter that selects tokens.
#[derive(Query)]
struct NameQuery {
    /// Only those with this name or id.
    #[query(column)]
    name: Option<String>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<TokensRead>(
        "/tokens",
        list,
        Operation::lists::<WireToken>(
            "token_list",
            "Lists tokens, without their secrets",
            &[NameQuery::PARAMETERS, SortQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
    routes.get::<TokensRead>(
        "/tokens/{name}",
        get,
        Operation::shows::<WireToken>("token_get", "Returns a valid token, without its secret").sees_views(),
    );
    routes.post::<TokensWrite>(
        "/tokens",
        add,
        Operation::new("token_add", "Creates a token, and shows its secret once")
            .takes_json::<WireAskedToken>(r#"{"name": "ana", "roles": ["viewer"]}"#)
            .gives::<WireNewToken<'static>>(201, "The token is valid.", MADE)
            .refuses(&[
                (403, "beyond_own_rights"),
                (404, "not_found"),
                (409, "limit_reached"),
                (409, "token_name_taken"),
                (422, "token_name_invalid"),
                (422, "token_roles_invalid"),
            ]),
    );
    routes.for_any_caller(
        Method::POST,
        "/tokens/{name}/rotate",
        rotate,
        Operation::new("token_rotate", "Replaces a token with a successor of the same name, and shows its secret once")
            .takes(Takes::Json { schema: schema_of::<WireRotation>, example: r#"{"overlap": "1h"}"#, presence: BodyPresence::Optional })
            .gives::<WireNewToken<'static>>(201, "The successor is valid. The old token stays valid for the overlap.", MADE)
            .refuses(&[
                (403, "forbidden"),
                (403, "beyond_own_rights"),
                (404, "not_found"),
                (409, "limit_reached"),
                (409, "secret_shown"),
                (422, "body_invalid"),
            ]),
    );
    routes.delete::<TokensWrite>(
        "/tokens/{name}",
        revoke,
        Operation::new("token_revoke", "Revokes a token")
            .gives_content(204, "The token is revoked.", Content::Nothing, WRITTEN)
            .refuses(&[(409, "last_admin")])
            .honors_conditions(Conditional::Change),
    );
}

/// Lists the tokens that are in force, newest first.
pub(super) async fn list(allowed: AllowedCaller<TokensRead>, call: Call) -> Outcome {
    let mut filters = call.parameters::<NameQuery>()?.filters();
    filters.push(Filter::is(Column::Status, TokenStatus::Active.as_str()));
    let listed = listing::rows::<Token, _>(&call, &allowed, filters).await?;
    let items = listed.items.into_iter().map(|token| to_wire(&call.api().ports, token)).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a token that is in force.
pub(super) async fn get(_: AllowedCaller<TokensRead>, call: Call) -> Outcome {
    let name = call.part("name").to_owned();
    let missing = Missing::new(TokensRead::THING, &name);
    let token = call.api().threads.blocking(move |ports| read(ports, &name)).await??;
    respond::json(&token.ok_or(missing)?)
}

/// Reads the one token of a name that is in force. Blocking.
fn read(ports: &Ports, name: &str) -> Result<Option<WireToken>, Problem> {
    let active =
        ListQuery::newest(Token::NAME, RowReach::Everything).with(Column::Status, TokenStatus::Active.as_str()).with(Column::Name, name);
    let rows = ports.views.list(&ListQuery { limit: 1, ..active })?;
    Ok(rows.first().map(|row| row.read::<Token>()).transpose()?.map(|token| to_wire(ports, token)))
}

fn to_wire(ports: &Ports, token: Token) -> WireToken {
    let identity = token.identity.and_then(|id| ports.access.name_of(id));
    let used_at = ports.access.last_use(token.id);
    WireToken::new(token, identity, used_at)
}

/// Creates a token.
pub(super) async fn add(allowed: AllowedCaller<TokensWrite>, mut call: Call) -> Outcome {
    if let Some((_, body)) = call.before().await? {
        // The secret was shown once and is no longer available; the name stays used under this key, whatever
        // became of the token.
        let WireAskedToken { name, .. } = body::parse(&body)?;
        return Err(Refusal::TokenNameTaken(name).into());
    }
    let WireAskedToken { name, roles, identity, scopes, expires_in } = call.json().await?;
    if roles.0.is_empty() && identity.is_none() && scopes.is_none() {
        let message = "a token has roles, an identity or scopes".to_owned();
        return Err(Problem::from(AllowsNothing).with_errors([FieldError { pointer: "/roles".to_owned(), message }]));
    }
    let identity = identity.map(|name| identity_of(&call, &name)).transpose()?;
    let by = call.on_behalf(&allowed)?;
    let asked =
        AskedToken { name, roles: roles.0, identity, scopes: scopes.map(|scopes| scopes.0), expires_in: expires_in.map(|period| period.0) };
    let (made, asked) = call.api().threads.blocking(move |ports| ports.tokens.add(&asked, &by).map(|made| (made, asked))).await??;
    answer(&asked.name, &asked.roles, &made)
}

fn identity_of(call: &Call, name: &str) -> Result<IdentityId, Problem> {
    Ok(call.api().ports.access.identity_named(name).ok_or_else(|| Missing::new(IdentitiesRead::THING, name))?)
}

fn answer(name: &str, roles: &[String], made: &MadeToken) -> Outcome {
    let token = std::str::from_utf8(made.token.reveal()).map_err(|why| Problem::bug(&why))?;
    let wire = WireNewToken { id: made.id, name, roles, token, expires_at: made.expires_at };
    let response = respond::answer_write(WriteOutcome::Created, made.committed.position, &wire)?;
    Ok(respond::with_location(response, &format!("{}/tokens/{name}", crate::route::BASE)))
}

/// Replaces a token. A token may replace itself, but not once it was replaced: otherwise a leaked one would live on. For
/// any other, the caller must be allowed to change tokens.
pub(super) async fn rotate(known: KnownCaller, mut call: Call) -> Outcome {
    let name = call.part("name").to_owned();
    if call.before().await?.is_some() {
        return Err(SecretShown(name).into());
    }
    let current = call.api().ports.access.directory().token_named(&name).map(|(id, _)| id);
    if current.map(CredentialId::Token).as_ref() != Some(&known.holder().by) {
        AllowedCaller::<TokensWrite>::demand(&*call.api().ports.access, call.request(), &Secrecy::ThingNamed(name.clone()))?;
    }
    let WireRotation { overlap } = call.json_or_nothing().await?;
    let overlap = overlap.map_or(OVERLAP_DEFAULT, |period| period.0);
    if overlap > OVERLAP_MAX {
        return Err(OverlapTooLong.into());
    }
    let by = call.on_behalf(&known)?;
    let (made, name) =
        call.api().threads.blocking(move |ports| ports.tokens.rotate(&name, overlap, &by).map(|made| (made, name))).await??;
    let directory = call.api().ports.access.directory();
    let roles = directory.token(&made.id).map_or(&[][..], |token| &token.roles);
    answer(&name, roles, &made)
}

/// Revokes a token, so that its holder no longer has access.
pub(super) async fn revoke(allowed: AllowedCaller<TokensWrite>, call: Call) -> Outcome {
    let name = call.part("name").to_owned();
    let by = allowed.on_behalf(call.context());
    let lock = call.lock::<TokensRead, _>(&name, read).await?;
    let revoke = move |ports: &Ports| {
        let revoked = ports.tokens.revoke(&name, &by);
        drop(lock);
        revoked
    };
    let committed = call.api().threads.blocking(revoke).await??;
    Ok(respond::no_content(committed.position))
}
