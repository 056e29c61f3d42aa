//! The cookie of a session, and the checks that keep pages of other sites from using it.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use ensue_engine::explain::Explain;
use ensue_engine::ids::SessionId;
use ensue_engine::ports::Secret;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::addresses::{Scheme, Sender};
use crate::ports::Credential;

/// The name of the cookie. Browsers accept a cookie of this prefix only over TLS, for one host and all of its paths.
const NAME: &str = "__Host-ensue";
/// The name of the cookie that binds a login to its browser.
const LOGIN: &str = "__Host-ensue-login";
/// How long a browser keeps that cookie, in seconds: the longest time of a login.
const LOGIN_KEPT_SECONDS: u64 = 10 * 60;
/// The header that a page of the node sends. A form of another site cannot send it.
pub(crate) const ENSUE_PAGE: &str = "ensue-page";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How long a browser keeps the cookie, in seconds: the longest time of a session.
const KEPT_SECONDS: u64 = 30 * 24 * 3600;
/// The length of the secret, in hexadecimal digits.
const SECRET_CHARS: usize = 64;

/// Why a cookie is not considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
pub(crate) enum CookieRefusal {
    /// There are two credentials.
    #[error("the request has more than one credential, so the caller is ambiguous")]
    #[explain(slug = "doubled-authorization", fault = Malformed, hint = "send either the cookie of one session or one `Authorization` header")]
    Doubled,
    /// The cookie is malformed.
    #[error("the session has ended")]
    #[explain(slug = "session-unknown", fault = Unauthenticated, hint = "log in again")]
    Malformed,
    /// A page of another site may have sent the request.
    #[error("a request with the cookie of a session must come from a page of this node")]
    #[explain(slug = "origin-refused", fault = Forbidden,
        hint = "programs log in with `POST /api/v1/auth/login` and send `Authorization: Bearer …`")]
    OtherOrigin,
    /// Others could read the request on its way.
    #[error("the node accepts no login and no cookie over plain HTTP from another machine")]
    #[explain(slug = "insecure-transport", fault = Forbidden,
        hint = "use https, or forward the port: `ssh -L 8080:127.0.0.1:8080 <host>`")]
    Insecure,
}

/// Returns the session whose cookie a request has; `None` if it has none.
pub(crate) fn session(parts: &Parts) -> Result<Option<Credential>, CookieRefusal> {
    let Some(value) = value(&parts.headers, NAME)? else { return Ok(None) };
    if parts.headers.contains_key(AUTHORIZATION) {
        return Err(CookieRefusal::Doubled);
    }
    demand_private(parts)?;
    demand_own_page(parts)?;
    parse(value).map(Some).ok_or(CookieRefusal::Malformed)
}

/// Checks that a request whose caller is known already has no credential of its own.
pub(crate) fn demand_alone(parts: &Parts) -> Result<(), CookieRefusal> {
    let is_alone = !parts.headers.contains_key(AUTHORIZATION) && value(&parts.headers, NAME)?.is_none();
    if is_alone { Ok(()) } else { Err(CookieRefusal::Doubled) }
}

/// Checks a request that a proxy or a certificate vouches for: a browser sends these with the requests of every site, as it
/// does with cookies. A program sends neither `Origin` nor `Sec-Fetch-Site`.
pub(crate) fn demand_own_page_of_browser(parts: &Parts) -> Result<(), CookieRefusal> {
    let is_browser = parts.headers.contains_key(ORIGIN) || parts.headers.contains_key(SEC_FETCH_SITE);
    if is_browser { demand_own_page(parts) } else { Ok(()) }
}

/// Returns true if a request has the cookie of a session.
pub(crate) fn is_given(headers: &HeaderMap) -> bool {
    value(headers, NAME).is_ok_and(|value| value.is_some())
}

/// Returns the session whose cookie a login request has, with its secret. It shows that the device has logged in before, and
/// may have ended.
pub(crate) fn device(headers: &HeaderMap) -> Option<(SessionId, Secret)> {
    let (id, secret) = value(headers, NAME).ok()??.split_once('_')?;
    Some((id.parse().ok()?, Secret::new(secret.as_bytes().to_vec())))
}

/// Checks that nobody can read a request on its way: it came over TLS, or from this machine.
pub(crate) fn demand_private(parts: &Parts) -> Result<(), CookieRefusal> {
    let sender = parts.extensions.get::<Sender>();
    let is_local = |address: IpAddr| address.to_canonical().is_loopback();
    let is_private = sender.is_none_or(|sender| sender.scheme == Scheme::Https || is_local(sender.address));
    if is_private { Ok(()) } else { Err(CookieRefusal::Insecure) }
}

/// Returns the header that sets the cookie of a new session.
pub(crate) fn set(id: SessionId, secret: &Secret) -> Option<HeaderValue> {
    let secret = std::str::from_utf8(secret.reveal()).ok()?;
    let cookie = format!("{NAME}={id}_{secret}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={KEPT_SECONDS}");
    let mut value = HeaderValue::from_str(&cookie).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the header that removes the cookie.
pub(crate) fn remove() -> HeaderValue {
    HeaderValue::from_static("__Host-ensue=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Returns the header that binds a login to the browser. The cookie is `Lax`, because the browser comes back from another
/// site.
pub(crate) fn set_login(secret: &Secret) -> Option<HeaderValue> {
    let secret = std::str::from_utf8(secret.reveal()).ok()?;
    let cookie = format!("{LOGIN}={secret}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={LOGIN_KEPT_SECONDS}");
    let mut value = HeaderValue::from_str(&cookie).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the header that ends the binding of a login.
pub(crate) fn login_removed() -> HeaderValue {
    HeaderValue::from_static("__Host-ensue-login=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// Returns the secret of the login that the browser began; `None` if it has none, or several.
pub(crate) fn login(headers: &HeaderMap) -> Option<Secret> {
    let value = value(headers, LOGIN).ok().flatten()?;
    is_secret(value).then(|| Secret::new(value.as_bytes().to_vec()))
}

/// Returns the session whose cookie came with a form of this node's own page, and the secret from which tokens of its
/// forms follow.
pub(crate) fn session_of_form(parts: &Parts) -> Result<Option<(Credential, Secret)>, CookieRefusal> {
    let Some(value) = value(&parts.headers, NAME)? else { return Ok(None) };
    if parts.headers.contains_key(AUTHORIZATION) {
        return Err(CookieRefusal::Doubled);
    }
    demand_own_form(parts)?;
    let credential = parse(value).ok_or(CookieRefusal::Malformed)?;
    Ok(Some((credential, Secret::new(value.as_bytes().to_vec()))))
}

/// Checks that a form comes from a page of this node, and that nobody can read it on its way.
pub(crate) fn demand_own_form(parts: &Parts) -> Result<(), CookieRefusal> {
    demand_private(parts)?;
    // A browser that was told to send no referrer sends the origin `null`.
    let is_hidden = parts.headers.get(ORIGIN).is_some_and(|origin| origin == "null");
    let is_own = is_same_origin(parts) || (is_hidden && parts.headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin"));
    if is_own { Ok(()) } else { Err(CookieRefusal::OtherOrigin) }
}

fn value<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, CookieRefusal> {
    let mut found = None;
    for header in headers.get_all(COOKIE) {
        // Other cookies may have any bytes.
        let pairs = header.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        for pair in pairs {
            let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) else { continue };
            if found.replace(std::str::from_utf8(value).unwrap_or_default()).is_some() {
                return Err(CookieRefusal::Doubled);
            }
        }
    }
    Ok(found)
}

fn parse(value: &str) -> Option<Credential> {
    let (id, secret) = value.split_once('_')?;
    let id = id.parse().ok().filter(|_| is_secret(secret))?;
    Some(Credential::Session { id, secret_sha256: Sha256::digest(secret.as_bytes()).into() })
}

fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARS && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Returns true if the browser reports that a page of this node sent the request.
fn is_same_origin(parts: &Parts) -> bool {
    let origin = parts.headers.get(ORIGIN).map(|origin| is_own(origin, parts));
    match parts.headers.get(SEC_FETCH_SITE) {
        Some(site) => site == "same-origin" && origin != Some(false),
        None => origin == Some(true),
    }
}

/// Checks that no page of another site sent the request. Browsers send `Sec-Fetch-Site`; older ones only `Origin`.
fn demand_own_page(parts: &Parts) -> Result<(), CookieRefusal> {
    let headers = &parts.headers;
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let origin = headers.get(ORIGIN).map(|origin| is_own(origin, parts));
    let is_fine = if parts.method == Method::GET || parts.method == Method::HEAD {
        site != Some(b"cross-site") && origin != Some(false)
    } else {
        let is_json = headers.get(CONTENT_TYPE).is_some_and(|media| {
            let media = media.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            media.trim_ascii().eq_ignore_ascii_case(b"application/json")
        });
        let is_marked = headers.get(ENSUE_PAGE).is_some_and(|page| page == "1");
        is_json && is_marked && is_same_origin(parts)
    };
    if is_fine { Ok(()) } else { Err(CookieRefusal::OtherOrigin) }
}

/// Returns true if an origin is that of the request itself. The host of a request is checked before.
fn is_own(origin: &HeaderValue, parts: &Parts) -> bool {
    let own = parts.uri.authority().map(Authority::as_str).or_else(|| parts.headers.get(HOST)?.to_str().ok());
    let scheme = parts.extensions.get::<Sender>().map(|sender| sender.scheme.as_str());
    let Some((given_scheme, given)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    own.is_some_and(|own| own.eq_ignore_ascii_case(given)) && scheme.is_none_or(|scheme| scheme == given_scheme)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::addresses::Addresses;

    const ID: &str = "01980000-0000-7000-8000-00000000000a";

    fn parts(method: Method, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/api/v1/events").header("host", "ensue.example.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn cookie() -> String {
        format!("__Host-ensue={ID}_{}", "a1".repeat(32))
    }

    fn with_cookie(method: Method, headers: &[(&str, &str)]) -> Result<Option<Credential>, CookieRefusal> {
        let cookie = format!("theme=dark; {}", cookie());
        session(&parts(method, &[headers, &[("cookie", &cookie)]].concat()))
    }

    #[test]
    fn cookie_is_found_among_others_and_has_one_form() {
        assert!(matches!(with_cookie(Method::GET, &[]), Ok(Some(Credential::Session { id, .. })) if id.to_string() == ID));
        assert!(matches!(session(&parts(Method::GET, &[("cookie", "theme=dark")])), Ok(None)));
        for bad in ["", "x", &format!("{ID}_"), &format!("{ID}_{}", "A1".repeat(32)), &format!("{ID}_{}x", "a1".repeat(32))] {
            let cookie = format!("__Host-ensue={bad}");
            assert_eq!(session(&parts(Method::GET, &[("cookie", &cookie)])).err(), Some(CookieRefusal::Malformed), "{bad}");
        }
    }

    #[test]
    fn second_credential_is_rejected() {
        let doubled = |name: &str, value: &str| with_cookie(Method::GET, &[(name, value)]).err();
        assert_eq!(doubled("authorization", "Bearer x"), Some(CookieRefusal::Doubled));
        assert_eq!(doubled("cookie", &cookie()), Some(CookieRefusal::Doubled));
    }

    #[test]
    fn write_with_the_cookie_must_come_from_a_page_of_the_node() {
        let own: [(&str, &str); 3] = [("ensue-page", "1"), ("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
        assert!(with_cookie(Method::POST, &own).is_ok());
        for left_out in 0..own.len() {
            let rest: Vec<_> = own.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, header)| *header).collect();
            assert_eq!(with_cookie(Method::DELETE, &rest).err(), Some(CookieRefusal::OtherOrigin), "without {}", own[left_out].0);
        }
        let from = |origin: &str| with_cookie(Method::POST, &[own[0], own[1], ("origin", origin)]).is_ok();
        assert!(from("https://ensue.example.test"));
        for other in ["https://evil.example.test", "null", "https://ensue.example.test:8443", "https://ensue.example.test.evil.test"] {
            assert!(!from(other), "{other}");
        }
        for site in ["cross-site", "same-site", "none"] {
            assert!(with_cookie(Method::POST, &[own[0], own[1], ("sec-fetch-site", site)]).is_err(), "{site}");
        }
        assert!(with_cookie(Method::POST, &[own[0], ("content-type", "text/plain"), own[2]]).is_err());
    }

    #[test]
    fn read_with_the_cookie_is_rejected_from_another_site() {
        let read = |headers: &[(&str, &str)]| with_cookie(Method::GET, headers).err();
        assert_eq!(read(&[("sec-fetch-site", "cross-site")]), Some(CookieRefusal::OtherOrigin));
        assert_eq!(read(&[("origin", "https://evil.example.test")]), Some(CookieRefusal::OtherOrigin), "a WebSocket has an origin");
        assert_eq!(read(&[("sec-fetch-site", "none")]), None);
    }

    #[test]
    fn cookie_over_plain_http_is_accepted_from_this_machine_only() {
        let from = |address: &str, scheme| {
            let mut parts = parts(Method::GET, &[("cookie", &cookie())]);
            parts.extensions.insert(Addresses::default().sender(address.parse().unwrap(), scheme, &HeaderMap::new()));
            session(&parts).err()
        };
        assert_eq!(from("192.0.2.7", Scheme::Http), Some(CookieRefusal::Insecure));
        assert_eq!((from("192.0.2.7", Scheme::Https), from("127.0.0.1", Scheme::Http), from("::1", Scheme::Http)), (None, None, None));
    }

    #[test]
    fn cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let set = set(ID.parse().unwrap(), &Secret::new(b"s".to_vec())).unwrap();
        let expected = format!("__Host-ensue={ID}_s; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=2592000");
        assert_eq!((set.to_str().unwrap(), set.is_sensitive()), (expected.as_str(), true));
    }

    #[test]
    fn cookie_of_a_login_comes_back_from_another_site_and_counts_once() {
        let secret = "a1".repeat(32);
        let set = set_login(&Secret::new(secret.clone().into_bytes())).unwrap();
        let expected = format!("__Host-ensue-login={secret}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600");
        assert_eq!((set.to_str().unwrap(), set.is_sensitive()), (expected.as_str(), true));
        let found = |cookies: &str| login(&parts(Method::GET, &[("cookie", cookies)]).headers).is_some();
        let own = format!("__Host-ensue-login={secret}");
        assert!(found(&own) && found(&format!("{}; {own}", cookie())), "the cookie of a session is another one");
        for bad in [format!("{own}; {own}"), format!("{own}x"), "__Host-ensue-login=".to_owned(), own.to_uppercase(), cookie()] {
            assert!(!found(&bad), "{bad}");
        }
    }

    #[test]
    fn form_must_come_from_a_page_of_the_node() {
        let form = |headers: &[(&str, &str)]| demand_own_form(&parts(Method::POST, headers)).is_ok();
        let own = ("origin", "https://ensue.example.test");
        assert!(form(&[own]) && form(&[own, ("sec-fetch-site", "same-origin")]));
        assert!(form(&[("origin", "null"), ("sec-fetch-site", "same-origin")]), "the browser hides the origin of the node's page");
        for site in ["cross-site", "same-site", "none"] {
            assert!(!form(&[own, ("sec-fetch-site", site)]) && !form(&[("origin", "null"), ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!form(&[]) && !form(&[("origin", "null")]) && !form(&[("origin", "https://evil.example.test")]));
        assert!(!form(&[("origin", "https://evil.example.test"), ("sec-fetch-site", "same-origin")]));
        let (value, other) = (cookie(), [own, ("authorization", "Bearer x")]);
        let session = |headers: &[(&str, &str)]| session_of_form(&parts(Method::POST, &[headers, &[("cookie", &value)]].concat()));
        assert!(matches!(session(&[own]), Ok(Some((Credential::Session { .. }, _)))));
        assert_eq!(session(&other).err(), Some(CookieRefusal::Doubled));
        assert_eq!(session(&[("origin", "https://evil.example.test")]).err(), Some(CookieRefusal::OtherOrigin));
    }
}
