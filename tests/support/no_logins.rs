//! The ports of a node where nobody logs in through an issuer, and nobody vouches for callers. These ways in are tested
//! with the real node. Included by the tests of several crates.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ensue_api::ports::{AskedLogin, Credential, Declined, FinishedLogin, Logins, StartedLogin, TerminalLogin, Vouched, Vouching};
use ensue_engine::command::Refusal;
use ensue_engine::names::IssuerName;
use ensue_engine::ports::Secret;

/// Nobody logs in this way.
pub(crate) struct NoLogins;

impl Vouching for NoLogins {
    fn by_proxy(&self, _: IpAddr, _: &HeaderMap) -> Result<Option<Vouched>, Declined> {
        Ok(None)
    }

    fn by_certificate(&self, _: &[Vec<u8>]) -> Result<Option<Vouched>, Declined> {
        Ok(None)
    }

    fn known(&self, _: &Vouched) -> Option<Credential> {
        None
    }

    fn admit(&self, _: &Vouched) -> Result<Credential, Declined> {
        Err(Refusal::CredentialGone.into())
    }
}

impl Logins for NoLogins {
    fn issuers(&self) -> Vec<IssuerName> {
        Vec::new()
    }

    fn start(&self, _: AskedLogin) -> Result<StartedLogin, Declined> {
        Err(Refusal::CredentialGone.into())
    }

    fn finish(&self, _: &IssuerName, _: &Secret, _: &str) -> Result<FinishedLogin, Declined> {
        Err(Refusal::CredentialGone.into())
    }

    fn log_out(&self, _: &IssuerName, _: &Secret) -> Result<(), Declined> {
        Err(Refusal::CredentialGone.into())
    }

    fn ask_consent(&self, _: TerminalLogin) -> Result<Secret, Declined> {
        Err(Refusal::CredentialGone.into())
    }

    fn waiting(&self, _: &Secret) -> Option<TerminalLogin> {
        None
    }

    fn take_waiting(&self, _: &Secret) -> Option<TerminalLogin> {
        None
    }
}
