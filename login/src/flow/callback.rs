//! The query with which an issuer sends the browser back.

use url::form_urlencoded;

use super::LoginRefusal;
use crate::discovery::ResponseIssuer;
use crate::issuers::BrowserLogin;
use crate::refusal::to_short_line;

/// The maximum length of the query, in bytes.
const QUERY_BYTES_MAX: usize = 8 * 1024;

/// The parameters that count.
#[derive(Default)]
pub(super) struct Callback {
    state: Option<String>,
    code: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

impl Callback {
    /// Reads a query. Returns `None` if it is too long, has no `state`, or has a parameter twice.
    pub(super) fn read(query: &str) -> Option<Self> {
        if query.len() > QUERY_BYTES_MAX {
            return None;
        }
        let mut callback = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut callback.state,
                "code" => &mut callback.code,
                "iss" => &mut callback.issuer,
                "error" => &mut callback.error,
                "error_description" => &mut callback.description,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        callback.state.is_some().then_some(callback)
    }

    /// Returns `state`.
    pub(super) fn state(&self) -> &str {
        self.state.as_deref().unwrap_or_default()
    }

    /// Returns the code, if the response is that of the issuer (RFC 9207) and not an error.
    pub(super) fn code(self, login: &BrowserLogin<'_>) -> Result<String, LoginRefusal> {
        let refused = |why: String| LoginRefusal::ByIssuer { issuer: login.settings.name.clone(), why };
        match (self.issuer, login.response_issuer) {
            (Some(named), _) if named != login.settings.issuer => {
                return Err(refused("the response is that of another issuer".to_owned()));
            }
            (None, ResponseIssuer::Always) => return Err(refused("the response does not name its issuer".to_owned())),
            _ => {}
        }
        match (self.error, self.code) {
            (Some(error), _) => {
                let description = self.description.map(|text| format!(": {}", to_short_line(&text))).unwrap_or_default();
                Err(refused(format!("{}{description}", to_short_line(&error))))
            }
            (None, Some(code)) if !code.is_empty() => Ok(code),
            (None, _) => Err(refused("the response has no code".to_owned())),
        }
    }
}
