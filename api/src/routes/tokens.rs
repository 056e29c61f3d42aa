//! Tokens: list them, create them and revoke them. A secret is shown once, on creation.

use ensue_engine::command::Refusal;
use ensue_views::store::{Filter, ListQuery};
use ensue_views::tokens::TokenStatus;
use ensue_views::{Column, Token, View as _};

use super::Routes;
use crate::auth::Allowed;
use crate::body;
use crate::call::Call;
use crate::listing;
use crate::operation::{Conditional, Content, MADE, Operation, WRITTEN};
use crate::permissions::{Permission as _, TokensRead, TokensWrite};
use crate::ports::Ports;
use crate::problem::{Missing, Outcome, Problem};
use crate::respond::{self, Written};
use crate::wire::tokens::{WireAskedToken, WireNewToken, WireToken};

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<TokensRead>(
        "/tokens",
        list,
        Operation::lists::<WireToken>("token_list", "Lists tokens, without their secrets", &["name", "sort", "limit", "cursor"])
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
            .refuses(&[(409, "token_name_taken"), (422, "token_name_invalid"), (422, "token_roles_invalid")]),
    );
    routes.delete::<TokensWrite>(
        "/tokens/{name}",
        revoke,
        Operation::new("token_revoke", "Revokes a token")
            .gives_content(204, "The token is revoked.", Content::Nothing, WRITTEN)
            .refuses(&[(409, "last_admin")])
            .heeds_conditions(Conditional::Change),
    );
}

/// Lists the tokens that are in force, newest first.
pub(super) async fn list(allowed: Allowed<TokensRead>, call: Call) -> Outcome {
    let active = vec![Filter::is(Column::Status, TokenStatus::Active.as_str())];
    let listed = listing::rows_where::<Token, _>(&call, &allowed, &[Column::Name], active).await?;
    let items = listed.items.into_iter().map(WireToken::from).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a token that is in force.
pub(super) async fn get(_: Allowed<TokensRead>, call: Call) -> Outcome {
    let name = call.part("name").to_owned();
    let missing = Missing::new(TokensRead::THING, &name);
    let token = call.api().threads.blocking(move |ports| read(ports, &name)).await??;
    respond::json(&token.ok_or(missing)?)
}

/// Reads the one token of a name that is in force. Blocking.
fn read(ports: &Ports, name: &str) -> Result<Option<WireToken>, Problem> {
    let active = ListQuery::newest(Token::NAME).with(Column::Status, TokenStatus::Active.as_str()).with(Column::Name, name);
    let rows = ports.views.list(&ListQuery { limit: 1, ..active })?;
    Ok(rows.first().map(|row| row.read::<Token>()).transpose()?.map(WireToken::from))
}

/// Creates a token.
pub(super) async fn add(allowed: Allowed<TokensWrite>, mut call: Call) -> Outcome {
    if let Some((_, body)) = call.before().await? {
        // The secret was shown once and is no longer available; the name stays used under this key, whatever
        // became of the token.
        let WireAskedToken { name, .. } = body::parse(&body)?;
        return Err(Refusal::TokenNameTaken(name).into());
    }
    let WireAskedToken { name, roles } = call.json().await?;
    let by = call.on_behalf(&allowed)?;
    let (asked_name, asked_roles) = (name.clone(), roles.0.clone());
    let made = call.api().threads.blocking(move |ports| ports.tokens.add(&asked_name, &asked_roles, &by)).await??;
    let token = std::str::from_utf8(made.token.reveal()).map_err(|why| Problem::bug(&why))?;
    let wire = WireNewToken { id: made.id, name: &name, roles: &roles.0, token };
    let response = respond::written(Written::Created, made.committed.position, &wire)?;
    Ok(respond::located(response, &format!("{}/tokens/{name}", crate::route::BASE)))
}

/// Revokes a token, so that its holder no longer has access.
pub(super) async fn revoke(allowed: Allowed<TokensWrite>, call: Call) -> Outcome {
    let name = call.part("name").to_owned();
    let by = allowed.on_behalf(call.context());
    let lock = call.lock::<TokensRead, _>(&name, read).await?;
    let revoke = move |ports: &Ports| {
        let revoked = ports.tokens.revoke(&name, &by);
        drop(lock);
        revoked
    };
    let committed = call.api().threads.blocking(revoke).await??;
    Ok(respond::gone(committed.position))
}
