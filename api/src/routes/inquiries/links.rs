//! Links with which one person answers one inquiry, without a login.

use axum::http::StatusCode;
use ensue_engine::ids::InquiryId;

use super::{responses, visible};
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::cookies;
use crate::permissions::{IdentitiesRead, InquiriesLink, InquiriesRead, Permission as _};
use crate::ports::{AskedInquiryLink, SessionForm};
use crate::problem::{Missing, Outcome, Problem};
use crate::rates::{self, Class};
use crate::respond;
use crate::routes::login_attempts::{from, network, private};
use crate::routes::sessions::with_cookie;
use crate::wire::inquiries::{WireAskedInquiryLink, WireLinkCode};
use crate::wire::sessions::WireLoginLink;

/// Creates a link to an inquiry for a person that it asks.
pub(super) async fn mint(allowed: AllowedCaller<InquiriesLink>, mut call: Call) -> Outcome {
    cookies::demand_private(call.request())?;
    let id: InquiryId = call.parse_part("id", InquiriesRead::THING)?;
    let WireAskedInquiryLink { r#for: name } = call.json().await?;
    let inquiry = visible(&call, &allowed, id).await?;
    responses::demand_open(&inquiry)?;
    let identity = call.api().ports.access.identity_named(&name).ok_or_else(|| Missing::new(IdentitiesRead::THING, &name))?;
    let asked = AskedInquiryLink { inquiry: id, digest: inquiry.digest, expires_at: inquiry.expires_at, identity, name };
    let by = allowed.on_behalf(call.context());
    let (minted, committed) = call.api().threads.blocking(move |ports| ports.sessions.mint_link(&asked, &by)).await??;
    let code = std::str::from_utf8(minted.code.reveal()).map_err(|why| Problem::bug(&why))?;
    let shown = WireLoginLink { code, until: minted.until };
    let mut response = private(respond::answer_write(respond::WriteOutcome::Done, committed.position, &shown)?);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Opens the session of a link.
pub(super) async fn open(mut call: Call) -> Outcome {
    let api = call.api().clone();
    let standing = api.rates.count(Class::Logins, || network(&call));
    let asked = async {
        standing.map_or(Ok(()), |standing| standing.demand())?;
        cookies::demand_private(call.request())?;
        let WireLinkCode { code } = call.json().await?;
        let from = from(&call, SessionForm::Cookie);
        let opened = api.threads.blocking(move |ports| ports.sessions.open_link(&code.0, &from)).await??;
        with_cookie(&opened)
    };
    rates::standing(standing, asked.await)
}
