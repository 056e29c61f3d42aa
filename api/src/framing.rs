//! Requests whose end or whose target a proxy in front could read differently: they are rejected, and their
//! connection is closed, so that nobody smuggles a second request behind a first (RFC 9112 §11.2).
//!
//! The server's gate checks the raw bytes; requests that the parser cannot read at all are rejected by the
//! parser.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, Version, header};
use ensue_engine::explain::Explain;
use thiserror::Error;

/// How a request is ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[explain(slug = "request-ambiguous", fault = Malformed)]
pub(crate) enum Ambiguous {
    /// Its body has an unsupported transfer coding.
    #[error("the request's `transfer-encoding` is not `chunked`")]
    #[explain(hint = "send one `host`, and a body with either its `content-length` or `transfer-encoding: chunked`")]
    Coding,
    /// It names no host, or several (RFC 9112 §3.2).
    #[error("a request must have exactly one `host`")]
    #[explain(hint = "send one `host`, and a body with either its `content-length` or `transfer-encoding: chunked`")]
    Host,
    /// A line has an ending that other servers do not accept (RFC 9112 §2.2).
    #[error("a line of the request ends with a bare line feed")]
    #[explain(hint = "end each line of the head with a carriage return and a line feed")]
    BareLineFeed,
    /// It declares the length of its body in two ways (RFC 9112 §6.1).
    #[error("the request has both `content-length` and `transfer-encoding`")]
    #[explain(hint = "send one `host`, and a body with either its `content-length` or `transfer-encoding: chunked`")]
    TwoLengths,
    /// A chunk's length is not a hexadecimal number alone (RFC 9112 §7.1).
    #[error("the size of a chunk is not a hexadecimal number")]
    #[explain(hint = "send the size of each chunk in hexadecimal digits, with nothing before or after them")]
    ChunkSize,
}

/// The head of a request is not HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("the head of the request is not valid HTTP/1.1")]
#[explain(slug = "request-malformed", fault = Malformed,
    hint = "send a request line and header lines as RFC 9112 defines them, over plain HTTP unless the node or a proxy in front handles TLS")]
pub(crate) struct MalformedRequest;

/// A request without TLS on a connection that requires it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("this port accepts only TLS")]
#[explain(slug = "tls-required", fault = Malformed, hint = "use an address that begins with `https://`")]
pub(crate) struct TlsRequired;

/// An unsupported expectation that a request has before it sends its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("`Expect` has a value other than `100-continue`")]
#[explain(slug = "expectation-unknown", fault = Malformed, hint = "leave `Expect` out, or send `Expect: 100-continue`")]
pub(crate) struct UnknownExpectation;

/// Checks that a request has no unknown expectation (RFC 9110 §10.1.1).
pub(crate) fn demand_known_expectation(headers: &HeaderMap) -> Result<(), UnknownExpectation> {
    let is_known = headers.get_all(header::EXPECT).iter().all(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if is_known { Ok(()) } else { Err(UnknownExpectation) }
}

/// A request that is meant for another server.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[error("this node does not accept requests for the host `{host}`")]
#[explain(slug = "host-unknown", fault = Malformed,
    hint = "use the host of the setting `url`, an address or `localhost`, or add the name to `hosts` in ensue.yaml")]
pub(crate) struct MisdirectedRequest {
    host: String,
}

/// The host names that a node answers to. Another site's page whose own name resolves to this node sends that
/// name (DNS rebinding). No page has an IP address as its name, so requests to any IP address are answered.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Creates the names of a node from its URL, and those that its operator adds. Ports are ignored.
    pub fn of(url: &str, added: impl IntoIterator<Item = String>) -> Self {
        let of_url = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned));
        Self(of_url.into_iter().chain(added).map(|name| plain(&name).to_ascii_lowercase()).collect())
    }

    fn hold(&self, host: &str) -> bool {
        is_shared(host) || self.0.contains(&plain(host).to_ascii_lowercase())
    }

    /// Returns true if a request's `Host` is one of the node's own names.
    pub(crate) fn name(&self, host: &[u8]) -> bool {
        let authority = Authority::try_from(host).ok();
        let host = authority.as_ref().and_then(host_of);
        host.is_some_and(|host| self.0.contains(&plain(host).to_ascii_lowercase()) && !is_shared(host))
    }

    /// Checks that a request is meant for this node.
    pub(crate) fn demand(&self, target: &Uri, headers: &HeaderMap) -> Result<(), MisdirectedRequest> {
        let misdirected = |host: &str| MisdirectedRequest { host: crate::problem::quote(host) };
        let demand = |authority: &Authority| match host_of(authority) {
            Some(host) if self.hold(host) => Ok(()),
            Some(_) | None => Err(misdirected(authority.as_str())),
        };
        target.authority().map_or(Ok(()), demand)?;
        let Some(given) = headers.get(header::HOST) else { return Ok(()) };
        let host = Authority::try_from(given.as_bytes()).map_err(|_| misdirected(&String::from_utf8_lossy(given.as_bytes())))?;
        demand(&host)
    }
}

/// Returns the host of a request, which has nothing beside it but a port (RFC 9110 §7.2).
fn host_of(authority: &Authority) -> Option<&str> {
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host)?;
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    is_port.then_some(host)
}

/// Returns true if a host is an address, or one of the names that always resolve to the caller's own machine (RFC 6761 §6.3).
fn is_shared(host: &str) -> bool {
    let host = plain(host).to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(&host);
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    is_address || host == "localhost" || host.ends_with(".localhost")
}

/// Removes the dot of the root at the end of a name.
fn plain(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Checks that the head of a request is unambiguous.
pub(crate) fn demand_clear(version: Version, target: &Uri, headers: &HeaderMap) -> Result<(), Ambiguous> {
    let count = |name| headers.get_all(name).iter().count();
    let hosts = count(header::HOST);
    // HTTP/2 names the host in its target, and may repeat it (RFC 9113 §8.3.1).
    if version == Version::HTTP_2
        && let (Some(authority), Some(host)) = (target.authority(), headers.get(header::HOST))
        && !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes())
    {
        return Err(Ambiguous::Host);
    }
    if hosts > 1 || (hosts == 0 && version >= Version::HTTP_11) {
        return Err(Ambiguous::Host);
    }
    let Some(coding) = headers.get(header::TRANSFER_ENCODING) else { return Ok(()) };
    let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && count(header::TRANSFER_ENCODING) == 1;
    if is_chunked { Ok(()) } else { Err(Ambiguous::Coding) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_served(hosts: &Hosts, target: &str, host: &str) -> bool {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        hosts.demand(&target.parse().unwrap(), &headers).is_ok()
    }

    #[test]
    fn node_answers_to_its_names_and_to_addresses_only() {
        let hosts = Hosts::of("https://Ensue.example.test:8443/", ["ensue".to_owned()]);
        for host in ["ensue.example.test", "ENSUE.example.test:8443", "ensue.example.test.", "ensue:3678", "localhost:3678", "a.localhost"]
        {
            assert!(is_served(&hosts, "/", host), "{host}");
        }
        for address in ["127.0.0.1:3678", "192.0.2.7", "[::1]:3678", "[2001:db8::1]"] {
            assert!(is_served(&hosts, "/", address), "{address}");
        }
        for host in
            ["attacker.test", "ensue.example.test.attacker.test", "example.test", "127.0.0.1.attacker.test", "", "a b", "localhost@x"]
        {
            assert!(!is_served(&hosts, "/", host), "{host}");
        }
        for host in
            ["[::1]evil", "[::1]evil:3678", "[::1].attacker.test", "[[::1]]", "user@localhost", "localhost:80@attacker.test", "[::1"]
        {
            assert!(!is_served(&hosts, "/", host), "{host}");
            if let Ok(target) = format!("http://{host}/").parse::<Uri>() {
                assert!(hosts.demand(&target, &HeaderMap::new()).is_err(), "{host}");
            }
        }
        assert!(hosts.name(b"Ensue.example.test:443") && hosts.name(b"ensue"));
        assert!(!hosts.name(b"localhost") && !hosts.name(b"127.0.0.1:443") && !Hosts::of("https://127.0.0.1", []).name(b"127.0.0.1"));
        assert!(!is_served(&hosts, "http://attacker.test/", "localhost"), "the target goes before the header");
        assert!(hosts.demand(&"/".parse().unwrap(), &HeaderMap::new()).is_ok(), "HTTP/1.0 needs none, and no browser speaks it");
    }
}
