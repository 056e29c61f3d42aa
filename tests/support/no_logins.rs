//! The ports of a node where nobody logs in through an issuer, and nobody vouches for callers. These ways in are tested
//! with the real node. Included by the tests of several crates.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ensue_api::ports::{AskedLogin, Credential, FinishedLogin, Logins, PortError, StartedLogin, TerminalLogin, VouchedCaller, Vouching};
use ensue_engine::command::Refusal;
use ensue_engine::names::IssuerName;
use ensue_engine::ports::Secret;

/// Nobody logs in this way.
pub(crate) struct NoLogins;

impl Vouching for NoLogins {
    fn by_proxy(&self, _: IpAddr, _: &HeaderMap) -> Result<Option<VouchedCaller>, PortError> {
        Ok(None)
    }

    fn by_certificate(&self, _: &[Vec<u8>]) -> Result<Option<VouchedCaller>, PortError> {
        Ok(None)
    }

    fn known_credential(&self, _: &VouchedCaller) -> Option<Credential> {
        None
    }

    fn admit(&self, _: &VouchedCaller) -> Result<Credential, PortError> {
        Err(Refusal::CredentialGone.into())
    }
}

impl Logins for NoLogins {
    fn issuers(&self) -> Vec<IssuerName> {
        Vec::new()
    }

    fn start(&self, _: AskedLogin) -> Result<StartedLogin, PortError> {
        Err(Refusal::CredentialGone.into())
    }

    fn finish(&self, _: &IssuerName, _: &Secret, _: &str) -> Result<FinishedLogin, PortError> {
        Err(Refusal::CredentialGone.into())
    }

    fn log_out(&self, _: &IssuerName, _: &Secret) -> Result<(), PortError> {
        Err(Refusal::CredentialGone.into())
    }

    fn ask_consent(&self, _: TerminalLogin) -> Result<Secret, PortError> {
        Err(Refusal::CredentialGone.into())
    }

    fn waiting(&self, _: &Secret) -> Option<TerminalLogin> {
        None
    }

    fn take_waiting(&self, _: &Secret) -> Option<TerminalLogin> {
        None
    }
}
